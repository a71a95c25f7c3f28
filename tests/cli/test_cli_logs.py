"""The last lines of an environment's logs, and those that come."""

from __future__ import annotations

import os
import signal

import pytest
from toy_api import Run, Served, Toy

from beanpole.cli.logs import lines_after

pytestmark = pytest.mark.usefixtures("shop_dev")


def test_logs(served: Served, toy: Toy, run: Run) -> None:
    toy.logs = [[{"InstanceId": "i-1", "Name": "web.stdout.log", "Text": "one\ntwo\x1b[2J\n"}]]
    assert run("logs").out == "==== i-1  web.stdout.log ====\none\ntwo�[2J\n"
    assert run("logs", "--json").json["files"][0]["lines"][0] == "one"
    assert run("logs", "--instance", "i-1", "--lines", "5").status == 0
    assert toy.called("TailLogs")[-1] == {"EnvironmentName": "shop-dev", "InstanceId": "i-1", "Lines": 5}


def test_logs_of_an_unknown_instance(served: Served, toy: Toy, run: Run) -> None:
    toy.logs = [[]]
    done = run("logs", "--instance", "i-9")
    assert done.status == 3
    assert "shop-dev has no instance i-9." in done.err


def test_following_logs(served: Served, toy: Toy, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def file(*lines: str) -> list[dict[str, str]]:
        return [{"InstanceId": "i-1", "Name": "web", "Text": "\n".join(lines)}]

    toy.logs = [file("a", "b"), file("a", "b"), file("a", "b", "c"), file("b", "c", "d")]
    looks = iter(range(100))
    original = toy.handlers

    def handlers() -> dict[str, dict[str, object]]:
        found = original()
        tail = found["beanpole"]["TailLogs"]

        def looked(call: object) -> object:
            if next(looks) == 5:
                os.kill(os.getpid(), signal.SIGINT)
            return tail(call)

        found["beanpole"]["TailLogs"] = looked
        return found

    monkeypatch.setattr(toy, "handlers", handlers)
    served.stop()
    served.start()
    done = run("logs", "--follow")
    assert done.status == 130
    assert done.out.splitlines() == ["i-1 web | a", "i-1 web | b", "i-1 web | c", "i-1 web | d"]


@pytest.mark.parametrize(
    ("known", "lines", "new"),
    [
        ("", "ab", "ab"),
        ("ab", "ab", ""),
        ("ab", "abc", "c"),
        ("abc", "bcd", "d"),
        ("aaa", "aaaa", ""),  # all alike: nothing tells that there is one more
        ("ab", "xy", "…xy"),
        ("ab", "", "…"),
    ],
)
def test_lines_after(known: str, lines: str, new: str) -> None:
    found = lines_after(list(known), list(lines))
    assert "".join(line if len(line) == 1 else "…" for line in found) == new
