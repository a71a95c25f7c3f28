"""Preflight: all that is in the way, on every instance, in one sentence."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.operations.blame import StepFailed
from beanpole.operations.board import Board
from beanpole.operations.rehearsal import findings
from beanpole.operations.work import Work
from beanpole.policies.plan import Plan, Preflight

step = importlib.import_module("beanpole.operations.steps.preflight")  # the package has the function of that name

FINE = {"disk_free": 10**12, "memory_available": 10**12, "rss": 0}
FULL = FINE | {"disk_free": 3 * 2**20}


class Fleet:
    """Instances that say of themselves what they are given; an exception is no answer."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.asked: list[str] = []

    async def job(self, instance: str, *_: object, **__: object) -> Any:
        self.asked.append(instance)
        await asyncio.sleep(0)
        found = self.facts[instance]
        if isinstance(found, Exception):
            raise found
        return found

    def place(self, _instance: str) -> Any:
        return SimpleNamespace(shared_machine=False)


class Nothing:
    @contextmanager
    def read(self) -> Iterator[Any]:
        yield SimpleNamespace(execute=lambda query: [])


def blamed(monkeypatch: pytest.MonkeyPatch, **facts: Any) -> str:
    """What preflight of the first instance says."""
    monkeypatch.setattr(step, "manifest_of", lambda work: SimpleNamespace(size=0))
    names = tuple(facts)
    parts: Any = SimpleNamespace(fleet=Fleet(facts), database=Nothing(), board=Board())
    operation: Any = SimpleNamespace(id=1, created_at=0, epoch=1)
    release: Any = SimpleNamespace(content=SimpleNamespace(stop_first=None))
    what = Preflight(key="preflight", slots=names, words="")
    work = Work(parts, operation, SimpleNamespace(), "forward", what, names[0], names[0], release)  # type: ignore[arg-type]
    with pytest.raises(StepFailed) as failed:
        asyncio.run(step.preflight(work))
    return failed.value.blame.line()


def test_each_instance_is_named_with_its_own_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    line = blamed(monkeypatch, a=FULL, b=FINE, c=FINE | {"memory_available": 0}, d=FULL, e=AgentUnreachable("gone"))
    assert line == (
        "Preflight failed: on 4 of 5 instances. "
        "a, d: the disk has 3 MB free and the release needs 200 MB; "
        "c: 0 MB of memory are available and starting the new release beside the running one needs 64 MB; "
        "e: the agent of the instance does not answer: gone. "
        "Free some space, or lower beanpole:deployment KeepReleases. "
        "Free some memory, or deploy in smaller batches. "
        "Whether the work was done is unknown. Look at the instance, then deploy again."
    )


def test_a_single_one_is_blamed_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    line = blamed(monkeypatch, a=FULL, b=FINE)
    assert line.startswith("[Instance: a] Preflight failed: the disk has 3 MB free")


class Looked:
    """A fleet that can be looked at; None: the agent does not run."""

    def __init__(self, states: dict[str, Any]) -> None:
        self.states = states

    async def running(self, instance: str) -> Any:
        found = self.states[instance]
        if isinstance(found, Exception):
            raise found

        async def state() -> Any:
            return found

        return None if found is None else SimpleNamespace(state=state)

    def place(self, _instance: str) -> Any:
        return SimpleNamespace(shared_machine=False)


def state(disk: int, *rss: int) -> dict[str, Any]:
    processes = [{"name": "web", "pid": 1, "rss": each} for each in rss]
    return {"instance": {"disk_free": disk, "memory_available": 2**30}, "processes": processes}


def test_a_rehearsal_says_what_preflight_would_find() -> None:
    states = {
        "a": state(10**12),
        "b": state(0),
        "c": state(10**12, 2**20, 2**30),
        "d": None,
        "e": AgentUnreachable("x"),
    }
    steps = (Preflight(key="p", slots=tuple(states), words=""), Preflight(key="j", slots=("new-1",), words=""))
    fleet: Any = Looked(states)
    found = asyncio.run(findings(fleet, Plan(policy="Rolling", steps=steps), 0, stop_first=False))
    assert found == [
        "b: the disk has 0 MB free and the release needs 200 MB",
        "c: 1024 MB of memory are available and starting the new release beside the running one needs 1088 MB",
        "d: the agent of the instance does not run; a deployment starts it first",
        "e: the agent of the instance does not answer: x",
    ]
