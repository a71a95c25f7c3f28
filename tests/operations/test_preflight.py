"""Preflight: all that is in the way, on every instance, in one sentence; who is silent is asked once."""

from __future__ import annotations

import asyncio
import importlib
from types import SimpleNamespace
from typing import Any

import pytest
from engine_site import EngineSite, Fleet, blame

from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.operations.rehearsal import findings
from beanpole.policies.plan import Plan, Preflight
from beanpole.store import instances
from beanpole.store.instances import Instance
from beanpole.store.operations import Operation

FINE = {"disk_free": 10**12, "memory_available": 10**12, "rss": 0}
FULL = FINE | {"disk_free": 3 * 2**20}
NARROW = FINE | {"memory_available": 0}
GONE = AgentUnreachable("gone")

DISK = "the disk has 3 MB free and the release needs 200 MB"
MEMORY = "0 MB of memory are available and starting the new release beside the running one needs 64 MB"
SILENT = "the agent of the instance does not answer: gone"


class Telling(Fleet):
    """Instances of this machine that say of themselves what they are given; an exception is no answer."""

    def __init__(self, facts: dict[str, Any], *, shared: bool) -> None:
        super().__init__()
        self.facts = facts
        self.shared = shared

    async def job(self, instance: str, key: str, kind: str, arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
        await super().job(instance, key, kind, arguments, **more)
        await asyncio.sleep(0)
        found = self.facts[instance]
        if isinstance(found, Exception):
            raise found
        return dict(found)

    def place(self, _instance: str) -> Any:
        return SimpleNamespace(shared_machine=self.shared)

    @property
    def asked(self) -> list[str]:
        return sorted(instance for instance, kind, _ in self.jobs if kind == "preflight")


def looked(
    site: EngineSite, monkeypatch: pytest.MonkeyPatch, *facts: dict[str, Any] | Exception, shared: bool = True
) -> Operation:
    """An operation that is nothing but preflight, on i-1, i-2 and so on, which say this."""
    module = importlib.import_module("beanpole.operations.steps.preflight")  # its package has a function of that name
    monkeypatch.setattr(module, "manifest_of", lambda work: SimpleNamespace(size=0))
    names = [f"i-{number}" for number, _ in enumerate(facts, 1)]
    with site.database.write() as db:
        for number, name in enumerate(names[2:], 4):
            instances.add(db, Instance(name, "e-1", "running", f"127.0.0.{number}", 1, 0))
    fleet = site.fleet = Telling(dict(zip(names, facts, strict=True)), shared=shared)
    done = site.carry_out(site.submit(Preflight(key="preflight", slots=tuple(names), words="")))
    assert fleet.asked == names  # each of them, once
    return done


def test_each_instance_is_named_with_its_own_cause(site: EngineSite, monkeypatch: pytest.MonkeyPatch) -> None:
    done = looked(site, monkeypatch, FULL, FINE, NARROW, FULL, GONE)
    assert done.outcome == "failed"
    assert blame(done)["cause"] == f"on 4 of 5 instances. i-1, i-4: {DISK}; i-3: {MEMORY}; i-5: {SILENT}"
    assert blame(done)["remedy"].startswith(
        "Free some space, or lower beanpole:deployment KeepReleases. Free some memory, or deploy in smaller batches. "
        "Whether the work was done is unknown."
    )


def test_a_single_one_is_blamed_as_ever(site: EngineSite, monkeypatch: pytest.MonkeyPatch) -> None:
    done = looked(site, monkeypatch, FINE, FULL, FINE)
    assert (blame(done)["instance"], blame(done)["cause"]) == ("i-2", DISK)


def test_one_that_does_not_answer_is_left_behind(site: EngineSite, monkeypatch: pytest.MonkeyPatch) -> None:
    done = looked(site, monkeypatch, FINE, FINE, GONE)
    assert done.outcome == "succeeded"
    (told,) = [message for severity, message in site.told() if severity == "ERROR"]
    assert told.startswith(f"[Instance: i-3] Preflight failed: {SILENT}.")
    assert told.endswith("It is out of rotation until it can follow.")


def test_too_many_that_do_not_answer_are_all_named(site: EngineSite, monkeypatch: pytest.MonkeyPatch) -> None:
    done = looked(site, monkeypatch, GONE, FINE, GONE, GONE)
    assert done.outcome == "failed"
    assert SILENT in blame(done)["cause"]


def test_a_server_without_memory_for_both_stops_the_old_one_first(
    site: EngineSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = looked(site, monkeypatch, FINE, NARROW, shared=False)
    assert done.outcome == "succeeded"
    assert ("WARN", f"[Instance: i-2] Stop-first: {MEMORY}.") in site.told()


class Looked:
    """A fleet that can be looked at; None: the agent does not run."""

    def __init__(self, states: dict[str, Any], *, shared: bool = True) -> None:
        self.states = states
        self.shared = shared

    async def running(self, instance: str) -> Any:
        found = self.states[instance]
        if isinstance(found, Exception):
            raise found

        async def state() -> Any:
            return found

        return None if found is None else SimpleNamespace(state=state)

    def place(self, instance: str) -> Any:
        if instance not in self.states:
            raise AgentUnreachable("there is no such instance")
        return SimpleNamespace(shared_machine=self.shared)


def state(disk: int, *rss: int) -> dict[str, Any]:
    processes = [{"name": "web", "pid": 1, "rss": each} for each in rss]
    return {"instance": {"disk_free": disk, "memory_available": 2**30}, "processes": processes}


def rehearsed(states: dict[str, Any], *more: str, shared: bool = True, may_pause: bool = True) -> list[str]:
    steps = (Preflight(key="p", slots=(*states, *more), words=""), Preflight(key="j", slots=("new-1",), words=""))
    fleet: Any = Looked(states, shared=shared)
    plan = Plan(policy="Rolling", steps=steps)
    return asyncio.run(findings(fleet, plan, 0, stop_first=False, may_pause=may_pause))


def test_a_rehearsal_says_what_preflight_would_find() -> None:
    states = {"a": state(10**12), "b": state(0), "c": state(10**12, 2**30), "d": None, "e": GONE}
    assert rehearsed(states, "f") == [
        "b: the disk has 0 MB free and the release needs 200 MB",
        "c: 1024 MB of memory are available and starting the new release beside the running one needs 6208 MB",
        "d: the agent of the instance does not run; a deployment starts it first",
        "e: the agent of the instance does not answer: gone",
        "f: the agent of the instance does not answer: there is no such instance",
    ]


@pytest.mark.parametrize(("may_pause", "stop_first"), [(True, "Stop-first: "), (False, "")])
def test_a_rehearsal_on_servers_of_which_one_is_away(may_pause: bool, stop_first: str) -> None:
    states = {"a": state(10**12), "b": None, "c": state(10**12, 2**20, 2**30)}
    assert rehearsed(states, shared=False, may_pause=may_pause) == [
        "b: the agent of the instance does not answer",
        f"c: {stop_first}1024 MB of memory are available and starting the new release beside the running one needs "
        "1088 MB",
    ]


def test_this_machine_takes_turns_on_the_way_back(site: EngineSite, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can free memory or wait then: those that did not fit were taken out of rotation."""
    module = importlib.import_module("beanpole.operations.steps.preflight")
    monkeypatch.setattr(module, "manifest_of", lambda work: SimpleNamespace(size=0))
    site.fleet = Telling({"i-1": NARROW, "i-2": NARROW}, shared=True)
    number = site.submit()
    site.returning(number, Preflight(key="preflight", slots=("i-1", "i-2"), words=""), attempts=0)
    site.carry_out(number)
    told = [message for severity, message in site.told() if severity == "WARN"]
    assert told == [f"[Instance: {name}] Stop-first: {MEMORY}." for name in ("i-1", "i-2")]
