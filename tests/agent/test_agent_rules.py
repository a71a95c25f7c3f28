"""The agent's rules that need no agent: what is exec'd, what is advised, how long a pause is."""

from __future__ import annotations

import subprocess

import pytest

from beanpole.agent.entry import Entry
from beanpole.agent.environment import variables
from beanpole.agent.failure import JobFailure, last_lines
from beanpole.agent.kernel import CpuTimes
from beanpole.agent.probe import Health
from beanpole.agent.process import Exit
from beanpole.agent.remedy import remedy_for
from beanpole.agent.shell import shell_line

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    "command",
    [
        "gunicorn --bind 127.0.0.1:$PORT app:app",
        "python -c 'import os; os.abort()'",
        "./run 2>&1",
        'node server.js --name "a b"',
        "sleep 1 > out",
        "env A=1 ./run",
    ],
)
def test_a_simple_command_replaces_the_shell(command: str) -> None:
    assert shell_line(command) == f"exec {command}"


@pytest.mark.parametrize(
    "command",
    [
        "cd sub && ./run",
        "a; b",
        "a | b",
        "sleep 1 & wait",
        "A=1 ./run",
        "(a)",
        "{ a; }",
        "if true; then a; fi",
        "exec a",
        "a\nb",
        "a `b`",
        "a $(b)",
        "echo 'it",
        "./run --x='a;b'",
        "echo it's; ./run",
        "",
        "   ",
    ],
)
def test_what_only_a_shell_can_do_stays_with_it(command: str) -> None:
    assert shell_line(command) == command


@pytest.mark.parametrize(
    "command",
    ["echo 'a;b' c", 'echo "x && y"', "echo a > /dev/null 2>&1", "echo $((1+1))", "echo a && echo b", "echo '#'"],
)
def test_either_way_the_outcome_is_the_same(command: str) -> None:
    plain = subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True).stdout
    assert subprocess.run(["/bin/sh", "-c", shell_line(command)], capture_output=True, check=True).stdout == plain


@pytest.mark.parametrize(
    ("lines", "advice"),
    [
        (["Traceback", "ModuleNotFoundError: No module named 'flask'"], "No module named 'flask': add it to requ"),
        (["ModuleNotFoundError: No module named 'a.b'"], "No module named 'a'"),
        (["ImportError: cannot import name 'x' from 'y'"], "cannot import name 'x' from 'y': check the versions"),
        (["KeyError: 'DATABASE_URL'"], "eb setenv DATABASE_URL=VALUE"),
        (["OSError: [Errno 98] Address already in use"], "environment variable PORT"),
        (["PermissionError: [Errno 13] Permission denied: ('0.0.0.0', 80)"], "Ports below 1024 need root"),
        (["/bin/sh: 1: exec: gunicorn: not found"], "gunicorn is not installed here"),
        (["  File x", "SyntaxError: invalid syntax"], "SyntaxError: invalid syntax: correct the file"),
        (["Error: Cannot find module 'express'"], "Add express to the dependencies"),
        (["No space left on device"], "The disk is full"),
        (["KeyError: 'ONE'", "ModuleNotFoundError: No module named 'two'"], "'two'"),
        (["all is well"], ""),
    ],
)
def test_the_advice_fits_the_last_lines(lines: list[str], advice: str) -> None:
    assert advice in remedy_for(lines)
    assert bool(advice) == bool(remedy_for(lines))


def test_exit_statuses_of_the_shell_are_explained() -> None:
    assert "did not find the command" in remedy_for([], 127)
    assert "executable bit" in remedy_for([], 126)


def test_pauses_double_to_a_minute_and_begin_anew_after_a_steady_run() -> None:
    entry = Entry("r1", "web")

    assert [entry.next_delay(0) for _ in range(8)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert entry.next_delay(60) == 1
    assert entry.next_delay(59) == 2


def test_an_entry_survives_being_written_down() -> None:
    entry = Entry("r1", "web", mark="m", wanted=True, proven=True, port=20000, restarts=3)

    assert Entry.of(entry.record()) == Entry("r1", "web", mark="m", wanted=True, proven=True, port=20000, restarts=3)


def test_properties_win_over_the_agents_variables_and_the_layer_over_all() -> None:
    own = {"PATH": "/bin", "LANG": "de_DE.UTF-8", "AWS_SECRET_ACCESS_KEY": "x", "HOME": "/root"}

    assert variables(own, {"A": "1"}, None, None) == {
        "A": "1", "PATH": "/bin", "LANG": "de_DE.UTF-8", "HOME": "/root", "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    mine = variables(own, {"PATH": "/x", "VIRTUAL_ENV": "/y", "PORT": "1", "HOME": "/h"}, "/layer", 5)
    assert (mine["PATH"], mine["VIRTUAL_ENV"], mine["PORT"], mine["HOME"]) == ("/layer/bin:/x", "/layer", "5", "/h")


@pytest.mark.parametrize(
    ("code", "words"), [(0, "exit status 0"), (3, "exit status 3"), (-9, "signal SIGKILL"), (None, "unknown")]
)
def test_ends_have_words(code: int | None, words: str) -> None:
    assert Exit.of(code).words == words


def test_last_lines_are_readable() -> None:
    assert last_lines(b"a\r\n\xff\n" + b"x" * 900 + b"\n\n\n") == ("a", "�", "x" * 500)
    assert len(last_lines(b"l\n" * 100)) == 40


def test_processor_shares_are_of_the_time_between_two_samples() -> None:
    earlier, now = CpuTimes(100, 0, 50, 1000, 5, 0), CpuTimes(125, 5, 60, 1050, 10, 5)

    assert now.shares(earlier) == {"user": 25.0, "nice": 5.0, "system": 10.0, "idle": 50.0, "iowait": 5.0}
    assert CpuTimes().shares(CpuTimes())["idle"] == 100.0


@pytest.mark.parametrize(
    "values",
    [{"path": "no-slash"}, {"path": "/a b"}, {"path": "/\r\nX: y"}, {"codes": [[1]]}, {"timeout": "soon"}, {"path": 5}],
)
def test_health_settings_that_make_no_sense_are_refused(values: dict[str, object]) -> None:
    with pytest.raises(JobFailure):
        Health.read(values)


def test_health_accepts_its_codes() -> None:
    health = Health.read({"path": "/ok", "codes": [[200, 299], [404, 404]]})

    assert [health.accepts(code) for code in (200, 299, 300, 404, 500)] == [True, True, False, True, False]
