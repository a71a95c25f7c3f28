"""An engine on a real store, with doubles for the two things beyond it: the agents and the balancer.

Environment `shop-dev` serves release 1 (version v1) on two instances; release 2 (version v2) is there to be brought.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec

from beanpole.fleet.agent_client import JobFailed
from beanpole.operations import release as releases
from beanpole.operations.board import Board
from beanpole.operations.engine import Engine
from beanpole.operations.release import Content, Process
from beanpole.operations.work import Parts
from beanpole.options import catalogue
from beanpole.options.precedence import Context, resolve
from beanpole.policies import plan as plans
from beanpole.policies.plan import AnyStep, Drain, Launch, Plan
from beanpole.store import environments, events, instances, operations
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.events import Filter
from beanpole.store.instances import Endpoint, Instance
from beanpole.store.operations import Draft, Operation
from beanpole.store.schema import operation

REGISTRY = catalogue.load()
FLEET = ("i-1", "i-2")
OLD, NEW = "digest-1", "digest-2"
LIMIT = 20.0
"""Seconds for an operation; they take some tenths."""


class Fleet:
    """Every instance runs both releases, and has passed with those that are `kept`.

    `on_job` may raise what an agent's refusal raises, or wait.
    """

    def __init__(self) -> None:
        self.jobs: list[tuple[str, str, str]] = []
        self.launched: list[str] = []
        self.cancelled: list[tuple[str, str]] = []
        """Jobs that their caller ended."""
        self.memory: int | None = None
        self.kept: list[str] = []
        self.on_job: Callable[[str, str], Any] = lambda instance, kind: None

    async def state(self, _instance: str) -> dict[str, Any]:
        return {"processes": [{"release": digest, "name": "web"} for digest in (OLD, NEW)]}

    async def job(
        self,
        instance: str,
        _key: str,
        kind: str,
        arguments: dict[str, Any],
        *,
        goes_on: Callable[[], bool] = lambda: False,
        **_: Any,
    ) -> dict[str, Any]:
        what = " ".join(filter(None, (kind, arguments.get("of"), arguments.get("stage"))))
        self.jobs.append((instance, what, arguments.get("release", "")))
        answer = self.on_job(instance, kind)
        try:
            if asyncio.iscoroutine(answer):
                await answer
        except asyncio.CancelledError:
            if not goes_on():
                self.cancelled.append((instance, kind))
            raise
        if kind == "preflight":
            return {"kept": self.kept}
        return {"address": f"127.0.1.{self.launched.index(instance) + 1}", "port": 1} if kind == "start" else {}

    def place(self, _instance: str) -> Any:
        return SimpleNamespace(layer_folder=lambda *_: "/layer")

    def newcomer(self, taken: set[str]) -> tuple[str, str]:
        number = len(taken)
        return f"i-{number + 1}", f"127.0.0.{number + 2}"

    def memory_available(self) -> int | None:
        return self.memory

    async def launch(self, instance: str) -> None:
        self.launched.append(instance)

    async def terminate(self, instance: str) -> None:
        self.launched.remove(instance)

    def let_go(self) -> None:
        pass


class Edge:
    """A balancer without a request. `waits` are the limits, in seconds, within which endpoints were to become idle.

    `counts`: what it counts in each second, by endpoint, if anything.
    """

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.counts: Callable[[], dict[str, Any]] = dict

    async def apply(self, _instance: str | None = None) -> None:
        pass

    async def apply_everywhere(self) -> None:
        pass

    def cname(self, prefix: str) -> str:
        return f"{prefix}.localhost"

    async def idle(self, _environment: str, _endpoint: Endpoint, seconds: float) -> int:
        self.waits.append(seconds)
        return 0

    async def totals(self, _environment: str) -> dict[str, int]:
        return {"requests": 0, "failed": 0}

    def leads_to(self, _environment: str) -> bool:
        return True

    async def settle(self, _seconds: float) -> None:
        pass

    async def healthy(self, _environment: str, _endpoint: Endpoint, _seconds: float) -> bool:
        return True

    async def canary(self, _environment: str) -> list[dict[str, Any]]:
        return [{"127.0.1.1:1": {"healthy": True, "active": 0}}]

    async def view(self) -> dict[str, Any]:
        return {}

    async def requests(self, after: int) -> dict[str, Any]:
        return {"now": after + 1, "seconds": {str(after + 1): {"e-1": self.counts()}}}


class EngineSite:
    def __init__(self, database: Database) -> None:
        self.database = database
        self.fleet = Fleet()
        self.edge = Edge()
        now = database.now_ms()
        names = {"id": "e-1", "name": "shop-dev", "application": "shop", "description": None, "cname_prefix": "shop"}
        state = {"tier": "WebServer", "status": "Ready", "health": "Ok", "causes": "[]", "desired": 2}
        release = {"platform": "Old Python", "version_label": "v1", "release": 1}
        with database.write() as db:
            environments.add(db, Environment(**names, **state, **release, created_at=now, updated_at=now))
            for label, digest, platform in (("v1", OLD, "Old Python"), ("v2", NEW, "New Python")):
                texts = {"content": releases.encode(content(platform)), "settings": "[]"}
                environments.add_release(db, "e-1", version_label=label, digest=digest, created_at=now, **texts)
            environments.update_release(db, "e-1", 1, passed_at=now)
            for number, name in enumerate(FLEET, 2):
                instances.add(db, Instance(name, "e-1", "running", f"127.0.0.{number}", 1, now))
        for name in FLEET:
            self.serve(name, OLD)

    @classmethod
    def again(cls, database: Database, fleet: Fleet, edge: Edge) -> EngineSite:
        """What another control plane finds that has the same store."""
        site = cls.__new__(cls)
        site.database, site.fleet, site.edge = database, fleet, edge
        return site

    @classmethod
    def at(cls, folder: Path) -> EngineSite:
        return cls(Database.at(folder / "beanpole.db"))

    def serve(self, instance: str, digest: str) -> None:
        """That release gets the instance's requests, and all others only end those that they have."""
        with self.database.write() as db:
            instances.drain(db, self.database.now_ms(), instance, keep=digest)
            address = f"127.0.0.{2 + FLEET.index(instance)}"
            new = Endpoint(instance, digest, address, 1, "serving", self.database.now_ms(), "{}")
            instances.put_endpoint(db, new)

    def submit(self, *steps: AnyStep, environment: str = "e-1", policy: str = "AllAtOnce", kind: str = "update") -> int:
        """An update to release 2 with these steps; the operation's id."""
        now = self.database.now_ms()
        draft = Draft(
            environment_id=environment,
            kind=kind,
            origin="user",
            actor="ada",
            request_id="R",
            release=2,
            previous=1,
            desired=2,
            plan=plans.encode(Plan(policy=policy, steps=steps)),
            deadline_at=now + 600_000,
        )
        with self.database.write() as db:
            environments.update(db, environment, status="Updating")
            return operations.submit(db, now, draft)

    def returning(self, number: int, *steps: AnyStep, attempts: int) -> None:
        """The operation has failed and is on its way back, which was begun so many times already."""
        back = plans.encode(Plan(policy="Rollback", steps=steps))
        columns = {"phase": "return", "return_plan": back, "outcome": "failed", "attempts": attempts}
        with self.database.write() as db:
            db.execute(operation.update().where(operation.c.id == number).values(**columns))

    @asynccontextmanager
    async def engine(self) -> AsyncIterator[asyncio.Event]:
        """The engine runs; the event is set whenever an operation is no longer its own."""
        ended = asyncio.Event()
        blobs: Any = SimpleNamespace()
        layers: Any = SimpleNamespace()
        fleet: Any = self.fleet
        edge: Any = self.edge
        parts = Parts(self.database, blobs, fleet, edge, layers, REGISTRY, Board())
        running = asyncio.create_task(Engine(parts, "test", ended.set).run())
        try:
            yield ended
            assert not running.done(), "the engine stopped"
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    def carry_out(self, number: int) -> Operation:
        """Run the engine until it has let the operation go."""

        async def run() -> None:
            async with self.engine() as ended, asyncio.timeout(LIMIT):
                await ended.wait()

        asyncio.run(run())
        return self.operation(number)

    def endpoints(self) -> dict[str, tuple[str, str, int]]:
        """Digest, state and weight of what each instance that there is serves with."""
        with self.database.read() as db:
            found = {each.id: ("", "", 0) for each in instances.listed(db, "e-1")}
            for each in instances.endpoints(db, "e-1"):
                found[each.instance_id] = (each.digest, each.state, each.weight)
        return found

    def operation(self, number: int) -> Operation:
        with self.database.read() as db:
            found = operations.find(db, number)
        assert found is not None
        return found

    def environment(self) -> Environment:
        with self.database.read() as db:
            found = environments.find(db, "e-1")
        assert found is not None
        return found

    def told(self) -> list[tuple[str, str]]:
        """Severity and message of every event, oldest first."""
        with self.database.read() as db:
            return [(event.severity, event.message) for event in events.listed(db, Filter())[::-1]]


def content(platform: str) -> Content:
    return Content(
        manifest="m",
        files="f",
        python="3.11",
        processes=(Process("web", "run"),),
        layer="l",
        platform=platform,
        settings=tuple(resolve(REGISTRY, Context()).rows()),
    )


def drain(*slots: str) -> Drain:
    return Drain(key="drain", slots=slots or FLEET, words="Let the old release end its requests")


def launch(*slots: str) -> Launch:
    return Launch(key="launch", slots=slots, words="Launch")


def job_failed(message: str, remedy: str) -> JobFailed:
    error = {"stage": "Stop", "command": None, "exit_status": None, "last_lines": [], "message": message}
    return JobFailed("key", error | {"remedy": remedy})


def blame(of: Operation) -> dict[str, Any]:
    assert of.error is not None
    return dict(msgspec.json.decode(of.error))
