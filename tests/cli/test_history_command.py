"""The deployment log as a person sees it: a table that fits, details, JSON."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from toy_api import T0, Done, Run, Served, Toy

from beanpole.cli import history

LATER = T0 + dt.timedelta(hours=1)
PROPERTIES = "aws:elasticbeanstalk:application:environment"


def entry(number: int, **more: Any) -> dict[str, Any]:
    return {
        "Number": number,
        "EnvironmentName": "shop-dev",
        "Kind": "update",
        "Origin": "user",
        "Actor": "admin",
        "RequestId": "r-1",
        "Outcome": "succeeded",
        "Policy": "Rolling",
        "Release": 7,
        "PreviousRelease": 6,
        "VersionLabel": "v2",
        "PreviousVersionLabel": "v1",
        "CreatedAt": T0,
        "FinishedAt": T0 + dt.timedelta(seconds=4.2),
        "Requests": {"Served": 1204, "Failed": 0},
    } | more


ENTRIES = [
    entry(13, Outcome=None, FinishedAt=None, Requests=None),
    entry(
        12,
        Kind="align",
        Origin="system",
        Policy="AllAtOnce",
        VersionLabel="v1",
        Behind=[{"InstanceId": "i-3", "Reason": "start: the disk is full"}],
        Outcome="failed",
    ),
    entry(11, Kind="rollback", Policy="Rollback", VersionLabel="v0"),
    entry(10, Outcome="failed", Cause="[Instance: i-1] start failed: web ended. Add it.", LastLines=["Traceback", "x"]),
    entry(9, Outcome="aborted", Cause="Update failed: it was aborted by request.", FinishedAt=LATER),
    entry(
        8,
        Dependencies=[
            {"What": "tensorflow", "From": "2.14.0", "To": "2.15.0"},
            {"What": "keras", "From": "(none)", "To": "3.0"},
        ],
        Changes=[
            {"What": "version", "From": "v1", "To": "v2"},
            {"What": f"{PROPERTIES} DATABASE_URL", "From": "(set)", "To": "(set)"},
            {"What": f"{PROPERTIES} OLD", "From": "(set)", "To": "(none)"},
            {"What": "aws:autoscaling:asg MinSize", "From": "1", "To": "2"},
        ],
    ),
    entry(7, VersionLabel="v1"),
    entry(1, Kind="create", PreviousVersionLabel=None, VersionLabel="v1", Policy="AllAtOnce"),
]  # fmt: skip

TABLE = """\
NO  WHEN              WHO       WHAT                      TOOK    OUTCOME           SERVED  FAILED
13  2026-11-02 12:00  admin     deploy v1 → v2 (Rolling)          under way
12  2026-11-02 12:00  (system)  align v1                  4.2 s   failed, 1 behind  1,204   0
    i-3 left behind (start: the disk is full)
11  2026-11-02 12:00  admin     rollback v1 → v0          4.2 s   succeeded         1,204   0
10  2026-11-02 12:00  admin     deploy v1 → v2 (Rolling)  4.2 s   failed, returned  1,204   0
    [Instance: i-1] start failed: web ended. Add it.
9   2026-11-02 12:00  admin     deploy v1 → v2 (Rolling)  60 min  aborted, returned  1,204   0
    Update failed: it was aborted by request.
8   2026-11-02 12:00  admin     deploy v1 → v2 (Rolling)  4.2 s   succeeded         1,204   0
    tensorflow 2.14.0 → 2.15.0; keras (none) → 3.0; DATABASE_URL changed; OLD removed; MinSize 1 → 2
7   2026-11-02 12:00  admin     update of v1 (Rolling)    4.2 s   succeeded         1,204   0
1   2026-11-02 12:00  admin     create v1                 4.2 s   succeeded         1,204   0
""".replace("OUTCOME           SERVED", "OUTCOME            SERVED").splitlines()  # fmt: skip


@pytest.fixture
def asked(toy: Toy, served: Served, run: Run) -> Run:
    toy.add_environment("shop-dev")
    toy.history = ENTRIES
    return run


def words(lines: list[str]) -> list[list[str]]:
    return [line.split() for line in lines]


def test_the_table(asked: Run) -> None:
    done: Done = asked("history", "shop-dev")
    assert done.status == 0, done.err
    assert words(done.out.splitlines()) == words(TABLE)
    assert max(map(len, done.out.splitlines())) <= history.WIDTH


def test_it_fits_whatever_things_are_called(asked: Run, toy: Toy) -> None:
    long = "x" * 80
    reason = [{"InstanceId": "i-3", "Reason": long}]
    toy.history = [entry(1, Actor=long, VersionLabel=long, PreviousVersionLabel=long[:50], Cause=long, Behind=reason)]
    lines = asked("history", "shop-dev").out.splitlines()
    assert len(lines) == 3
    assert max(map(len, lines)) <= history.WIDTH
    assert lines[1].endswith("0"), "the last columns are there"


def test_one_entry_with_everything(asked: Run, toy: Toy) -> None:
    out = asked("history", "10").out
    assert [params for name, params in toy.calls if name == "DescribeHistory"] == [{"Number": 10}]
    assert out.splitlines() == [
        "10  deploy v1 → v2 (Rolling) of shop-dev: failed, returned",
        "  When       2026-11-02 12:00:00 to 2026-11-02 12:00:04  4.2 s",
        "  Who        admin, request r-1",
        "  Policy     Rolling",
        "  Release    7, before it 6",
        "  Requests   1,204 served, 0 failed meanwhile",
        "  Cause      [Instance: i-1] start failed: web ended. Add it.",
        "             | Traceback",
        "             | x",
    ]


def test_verbose_and_json(asked: Run) -> None:
    out = asked("history", "shop-dev", "--verbose", "--limit", "5").out
    assert out.count("request r-1") == len(ENTRIES)
    assert "  Changed    tensorflow 2.14.0 → 2.15.0\n             keras (none) → 3.0\n" in out
    found = asked("history", "shop-dev", "--json").json
    assert found["environment"] == "shop-dev"
    newest = {each["number"]: each for each in found["history"]}
    assert newest[8]["dependencies"][0] == {"what": "tensorflow", "from": "2.14.0", "to": "2.15.0"}
    assert newest[12]["origin"] == "system"
    assert newest[12]["behind"] == [{"instance": "i-3", "reason": "start: the disk is full"}]
    assert newest[10]["requests"] == {"served": 1204, "failed": 0}
    assert newest[10]["seconds"] == 4.2


def test_an_environment_that_there_never_was(asked: Run) -> None:
    done = asked("history", "shop-prod")
    assert (done.status, done.out) == (3, "")
    assert "There is no environment shop-prod." in done.err


def test_smoke_tests_become_an_option(asked: Run) -> None:
    done = asked("deploy", "--smoke", "health 200")
    assert done.status == 2
    assert "--smoke: line 1, 'health 200': a test is written as" in done.err
