"""Every prefix of a journal resumes to the same end: whatever the control plane had written when it was killed.

Each path is gone once undisturbed. Then the world begins anew as often as the journal has entries, and the control
plane dies at one of them: before the entry is there, when what it tells of is done already, and right after it. Another
one follows, and all has to end as it did the first time.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import pytest

from beanpole.simulation.run import History, run
from beanpole.simulation.scenario import Command, Fault, Scenario
from beanpole.simulation.version import Version

SOME = 9
"""One entry of so many is tried in every run, another one on each path; all of them in the long tests."""

PATIENT = Version(boot=6.0)
"""There is time to abort it."""


@dataclass(frozen=True)
class Path:
    name: str
    outcome: str
    """Of its last operation."""
    scenario: Scenario


def to(version: Version, **more: object) -> Scenario:
    return msgspec.structs.replace(Scenario(versions=(Version(), version)), **more)


def told(*commands: Command, **more: object) -> Scenario:
    return to(Version(leader=True), commands=commands, **more)


def of_policy(policy: str) -> list[Path]:
    watched = {"policy": policy, "rate": 60.0, "percent": 50, "evaluation": 6}
    abort = (Command("deploy", 1.0, 2), Command("abort", 5.0))
    return [
        Path(f"{policy} forward", "update: succeeded", to(Version(leader=True), **watched)),
        Path(f"{policy} back from a start", "update: failed", to(Version(flaw="start", boot=0.3), **watched)),
        Path(f"{policy} back from its gate", "update: failed", to(Version(flaw="gate"), checks=4, **watched)),
        Path(f"{policy} aborted", "update: aborted", to(PATIENT, commands=abort, **watched)),
    ]


def alone(kind: str, outcome: str = "succeeded", number: int = 2, size: int = 0, **more: object) -> Path:
    words = "update" if kind in ("configure", "check", "replace", "scale", "both") else kind
    name = " ".join([kind, str(number), *map(str, more.values())])
    return Path(name, f"{words}: {outcome}", told(Command(kind, 1.0, number, size), **more))  # type: ignore[arg-type]


POLICIES = ("AllAtOnce", "Rolling", "RollingWithAdditionalBatch", "Immutable", "TrafficSplitting")

PATHS = [
    *(path for policy in POLICIES for path in of_policy(policy)),
    Path("a bad canary", "update: failed", to(Version(errors=0.5), policy="TrafficSplitting", rate=90.0, percent=50)),
    Path("leader-only commands fail", "update: failed", to(Version(flaw="once", leader=True))),
    Path("container commands fail", "update: failed", to(Version(flaw="prepare", leader=True))),
    Path("stop-first", "update: succeeded", to(Version(port=8000))),
    Path("stop-first, back", "update: failed", to(Version(port=8000, flaw="start", boot=0.3))),
    Path("in turns", "update: succeeded", to(Version(), memory=80 << 20, policy="AllAtOnce")),
    *(alone("replace", update=update) for update in ("", "Health", "Time", "Immutable")),
    *(alone(kind) for kind in ("configure", "check", "restart", "rebuild", "swap", "terminate")),
    *(alone("scale", number=number) for number in (1, 4)),
    alone("both", size=3),
    alone("both", size=1, policy="Immutable"),
    Path("a rollback", "rollback: succeeded", told(Command("deploy", 1.0, 2), Command("rollback", None))),
]


def ended(path: Path) -> History:
    history = run(path.scenario)
    assert history.broken == [], history.text()
    assert history.outcomes[-1] == path.outcome, history.text()
    return history


def cut(path: Path, entry: int, moment: str) -> History:
    """Killed there; half a second later another one comes."""
    faults = (Fault("cut", 0.0, 0.5, 0, entry, moment),)
    history = run(msgspec.structs.replace(path.scenario, faults=faults))
    assert history.felt["cut"] == 1, f"nobody wrote entry {entry}"
    return history


def resumes(path: Path, step: int = 1, first: int = 0) -> None:
    whole = ended(path)
    for at in range(first, 2 * whole.entries, step):
        entry, moment = at // 2 + 1, ("before", "after")[at % 2]
        history = cut(path, entry, moment)
        where = f"killed {moment} entry {entry} of {whole.entries}\n{history.text()}"
        assert history.broken == [], where
        assert history.end == whole.end, where


@pytest.mark.parametrize("at", range(len(PATHS)), ids=lambda at: PATHS[at].name)
def test_some_prefixes_of_every_path_resume_to_the_same_end(at: int) -> None:
    resumes(PATHS[at], SOME, at % SOME)


@pytest.mark.long
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
def test_every_prefix_resumes_to_the_same_end(path: Path) -> None:
    resumes(path)
