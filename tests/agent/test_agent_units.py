"""What systemd is given for a process: units and environments hold what was asked for, or say what they cannot hold."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import pytest

from beanpole.agent.failure import JobFailure
from beanpole.agent.runner import Order
from beanpole.agent.systemd import Facts, Systemd
from beanpole.agent.unit_text import Site, environment_text, staged, unit_name, unit_text

SITE = Site("i-1", "bp-i-1", "/usr/bin/python3")
ORDER = Order("r1", "web", "serve --on $PORT", Path("/home/app"), {}, "m-p-1", Path("/log/web.log"), False, True)


def lines_of(text: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}=")]


def text_of(**changed: object) -> str:
    return unit_text(SITE, replace(ORDER, **changed), Path("/home/units/web.env"))  # type: ignore[arg-type]


def test_a_unit_is_not_restarted_before_it_is_proven_nor_calm_before_it_is_committed() -> None:
    fresh = text_of()
    proven = staged(fresh, proven=True)
    committed = staged(proven, raised=False)

    restarts = [lines_of(text, "Restart") for text in (fresh, proven, committed)]
    assert restarts == [["no"], ["always"], ["always"]]
    assert [lines_of(text, "OOMScoreAdjust") for text in (fresh, proven, committed)] == [["200"], ["200"], [""]]
    assert committed == text_of(proven=True, raised=False)
    assert lines_of(staged(fresh, stop=600.0), "TimeoutStopSec") == ["600"]


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("serve --on $PORT", '"exec serve --on $$PORT"'),
        ("date +%s", '"exec date +%%s"'),
        ('say "a b"', r'"exec say \"a b\""'),
        ("a\\tb", '"a\\\\tb"'),
        ("one\ntwo\r\x7f", r'"one\x0atwo\x0d\x7f"'),
        ("exec ünï ;", '"exec ünï ;"'),
    ],
)
def test_a_command_stands_for_itself(command: str, word: str) -> None:
    assert lines_of(text_of(command=command), "ExecStart") == [f'"/bin/sh" "-c" {word}']


def test_a_command_that_is_no_text_is_refused() -> None:
    with pytest.raises(JobFailure, match="the command of process web is no text"):
        text_of(command="serve \udcff")


def test_nothing_of_the_environment_is_in_the_unit() -> None:
    assert "s3cret" not in text_of(environment={"KEY": "s3cret", "odd.name": "s3cret"})


@pytest.mark.parametrize(
    ("value", "line"),
    [
        ("", 'V=""'),
        (" a  b ", 'V=" a  b "'),
        ("it's # no; comment", 'V="it\'s # no; comment"'),
        ('"$HOME" `id` \\n %i', 'V="\\"\\$HOME\\" \\`id\\` \\\\n %i"'),
        ("one\n\ttwo\\\n", 'V="one\n\ttwo\\\\\n"'),
        ("ünï ✓ 🫘", 'V="ünï ✓ 🫘"'),
    ],
)
def test_a_plain_variable_is_quoted(value: str, line: str) -> None:
    assert environment_text({"V": value}, "m") == f'{line}\nBEANPOLE_PROCESS="m"\n'


@pytest.mark.parametrize(
    ("name", "value"), [("a.b-c", "x"), ("1ST", "x"), ("V", "\x1b[0m\r"), ("V", "\udcff"), ("V", "\ufffe")]
)
def test_a_variable_that_systemd_would_drop_is_encoded(name: str, value: str) -> None:
    text = environment_text({name: value}, "m")

    assert text.startswith('BEANPOLE_PROCESS="m"\nBEANPOLE_ENCODED_0="')
    assert "BEANPOLE_ENCODED_" in text_of(environment={name: value})


@pytest.mark.parametrize(("value", "why"), [("\ud800", "is no text"), ("x" * 128 * 1024, "is longer than")])
def test_a_variable_that_no_process_can_be_given_is_refused_by_name(value: str, why: str) -> None:
    with pytest.raises(JobFailure, match=f"environment variable '?SECRET'? {why}") as failure:
        environment_text({"SECRET": value}, "m")

    assert value not in f"{failure.value.message} {failure.value.remedy}"


def test_a_unit_is_named_after_instance_process_and_release() -> None:
    assert unit_name("i-1", "web", "0a1b") == "beanpole-i-1-web-0a1b.service"


@pytest.mark.parametrize("part", ["", "../x", "a b", "a/b", "a@b", "a\nb", ".hidden", "ü", "x" * 200])
def test_what_cannot_be_part_of_a_name_is_refused(part: str) -> None:
    with pytest.raises(JobFailure, match="cannot name a unit"):
        unit_name("i-1", part, "r1")


def test_a_systemd_that_hangs_is_said_to() -> None:
    systemd = Systemd(["/bin/sh", "-c", "exec sleep 100"], seconds=0.1)
    began = time.monotonic()

    with pytest.raises(JobFailure, match=r"systemd did not answer `systemctl daemon-reload` within"):
        asyncio.run(systemd.reload())

    assert time.monotonic() - began < 50


def test_a_systemd_that_refuses_is_quoted() -> None:
    systemd = Systemd(["/bin/sh", "-c", "echo Access denied >&2; exit 4"])

    with pytest.raises(JobFailure, match="failed with status 4: Access denied"):
        asyncio.run(systemd.reload())


@pytest.mark.parametrize(
    ("code", "status", "words"),
    [("1", "3", "exit status 3"), ("2", "9", "signal SIGKILL"), ("3", "11", "signal SIGSEGV")],
)
def test_how_a_main_process_ended(code: str, status: str, words: str) -> None:
    facts = Facts({"MainPID": "0", "ExecMainPID": "7", "ExecMainCode": code, "ExecMainStatus": status})

    end = facts.end_of(7)
    assert end is not None
    assert end.words == words
    other = facts.end_of(8)
    assert other is not None
    assert other.words == "unknown"
    assert Facts({"MainPID": "7", "ExecMainPID": "7", "ExecMainCode": "0"}).end_of(7) is None
