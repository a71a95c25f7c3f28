"""A store with environments in it, and doubles for the two things that tests must control: the time and the agents."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.health.collector import Collector
from beanpole.policies import deployment
from beanpole.policies import plan as plans
from beanpole.policies.change import Target
from beanpole.policies.plan import Plan
from beanpole.store import environments, events, instances, operations
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.events import Event, Filter
from beanpole.store.instances import Endpoint, Instance
from beanpole.store.operations import Draft
from beanpole.store.schema import journal, operation

START = 1_800_000_000.0


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Agent:
    """What an agent answers. `hangs`: it takes the connection and says nothing. `broken`: it says what it pleases."""

    state_of: dict[str, Any] = field(default_factory=dict)
    told: list[dict[str, Any]] = field(default_factory=list)
    pools: dict[str, Any] = field(default_factory=dict)
    requests: dict[str, Any] = field(default_factory=dict)
    dead: bool = False
    hangs: bool = False
    problem: Exception | None = None
    asked: asyncio.Event = field(default_factory=asyncio.Event)
    asked_after: list[int] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    starts: int = 0

    async def running(self) -> Agent | None:
        if self.hangs:
            await asyncio.Event().wait()
        return None if self.dead else self

    async def client(self) -> Agent:
        self.starts += 1
        return self

    async def state(self) -> dict[str, Any]:
        if self.problem is not None:
            raise self.problem
        return self.state_of

    async def events(self, after: int = 0) -> list[dict[str, Any]]:
        return [event for event in self.told if event["seq"] > after]

    async def call(self, _method: str, path: str) -> dict[str, Any]:
        if path == "/endpoints":
            return {"pools": self.pools}
        after = int(path.partition("?after=")[2])
        self.asked_after.append(after)
        seconds = {second: of for second, of in self.requests.items() if int(second) > after}
        self.asked.set()
        return {"now": int(self.clock.now) - 1, "seconds": seconds, "totals": {}}

    def dies(
        self, seq: int, at: float, message: str = "Process web of release d1 ended after 3 s (exit status 3)"
    ) -> None:
        detail = {"name": "web", "last_lines": ["Traceback", "ImportError: no\tmodule\nnamed tensorflow"]}
        self.told.append({"seq": seq, "at": at, "severity": "WARN", "message": message, "detail": detail})


class Fleet:
    def __init__(self) -> None:
        self.agents: dict[str, Agent] = {}

    async def running(self, instance_id: str) -> Agent | None:
        if instance_id not in self.agents:
            raise AgentUnreachable(f"there is no instance {instance_id!r}")
        return await self.agents[instance_id].running()


class Edge:
    def __init__(self) -> None:
        self.agent = Agent()

    async def view(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self._call("/endpoints"))["pools"]
        return found

    async def requests(self, after: int) -> dict[str, Any]:
        return await self._call(f"/requests?after={after}")

    async def _call(self, path: str) -> dict[str, Any]:
        agent = await self.agent.running()
        if agent is None:
            raise AgentUnreachable("the balancer is not there")
        return await agent.call("GET", path)


class World:
    """One application. Each environment has release 1 (version v1, digest d1), which passed."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.database = Database.at(folder / "beanpole.db")
        self.database.clock = self.clock
        self.fleet = Fleet()
        self.edge = Edge()
        self.balancer.clock = self.clock
        self.ports = 20000

    def collector(self, **options: Any) -> Collector:
        return Collector(self.database, self.fleet, self.edge, clock=self.clock, **options)

    @property
    def balancer(self) -> Agent:
        return self.edge.agent

    @property
    def ms(self) -> int:
        return int(self.clock.now * 1000)

    def environment(self, name: str = "pets-env", instances_: int = 1, *, tier: str = "WebServer") -> str:
        id_ = f"e-{name}"
        new = Environment(
            id_,
            name,
            "pets",
            None,
            name,
            tier,
            "Python 3.11",
            "Ready",
            "Ok",
            "[]",
            instances_,
            "v1",
            1,
            self.ms,
            self.ms,
        )
        with self.database.write() as db:
            environments.add(db, new)
        self.release(id_, "v1", "d1")
        for _ in range(instances_):
            self.instance(id_)
        return id_

    def release(self, environment_id: str, label: str, digest: str) -> int:
        with self.database.write() as db:
            return environments.add_release(
                db, environment_id, version_label=label, digest=digest, content="{}", settings="[]", created_at=self.ms
            )

    def instance(self, environment_id: str, digest: str = "d1", *, state: Any = "running") -> str:
        number = len(self.fleet.agents) + 1
        id_ = f"i-{number:017x}"
        with self.database.write() as db:
            instances.add(db, Instance(id_, environment_id, state, f"127.0.0.{number % 250 + 2}", 1, self.ms))
        self.fleet.agents[id_] = Agent()
        if state == "running":
            self.serve(environment_id, id_, digest)
        return id_

    def serve(self, environment_id: str, instance_id: str, digest: str) -> str:
        """A healthy process of that release gets the requests; its name with the balancer."""
        self.ports += 1
        with self.database.write() as db:
            instances.drain(db, self.ms, instance_id, keep=digest)
            new = Endpoint(instance_id, digest, "127.0.0.1", self.ports, "serving", self.ms, "{}")
            instances.put_endpoint(db, new)
        self.balancer.pools.setdefault(environment_id, {})[f"127.0.0.1:{self.ports}"] = {"healthy": True, "active": 0}
        cpu = {"user": 2.0, "nice": 0.0, "system": 1.0, "idle": 96.0, "iowait": 1.0}
        web = {"release": digest, "name": "web", "pid": 1, "state": "running", "restarts": 0, "last_exit": None}
        self.fleet.agents[instance_id].state_of = {
            "instance": {"cpu": cpu, "load": [0.1, 0.2, 0.3], "memory_available": 1, "disk_free": 1},
            "boot": digest,
            "releases": [digest],
            "processes": [web],
        }
        return f"127.0.0.1:{self.ports}"

    def operate(
        self, environment_id: str, *slots: str, kind: str = "update", release: int = 2, origin: Any = "user"
    ) -> int:
        """An operation that brings that release, with no step begun."""
        plan = Plan(policy="AllAtOnce", steps=tuple(deployment.batch(1, 1, slots, Target("d2"))))
        draft = Draft(
            environment_id=environment_id,
            kind=kind,
            origin=origin,
            actor="me",
            request_id="r-1",
            release=release,
            previous=1,
            desired=None,
            plan=plans.encode(plan),
            deadline_at=self.ms + 600_000,
        )
        with self.database.write() as db:
            status = "Launching" if kind == "create" else "Updating"
            environments.update(db, environment_id, status=status)
            return operations.submit(db, self.ms, draft)

    def journal(self, operation_id: int, *keys: str, **result: str) -> None:
        text = msgspec.json.encode(result).decode()
        with self.database.write() as db:
            for key in keys:
                db.execute(
                    journal.insert().values(operation_id=operation_id, key=key, epoch=1, at=self.ms, result=text)
                )

    def close(self, operation_id: int, environment_id: str, release: int | None = None) -> None:
        """It has succeeded."""
        with self.database.write() as db:
            done = operation.update().where(operation.c.id == operation_id)
            db.execute(done.values(phase="done", outcome="succeeded", finished_at=self.ms))
            columns = {"release": release} if release is not None else {}
            environments.update(db, environment_id, status="Ready", **columns)

    def told(self, environment_id: str) -> list[Event]:
        """Oldest first."""
        with self.database.read() as db:
            return events.listed(db, Filter(environment_id=environment_id))[::-1]

    def stored(self, environment_id: str) -> tuple[str, list[str]]:
        with self.database.read() as db:
            found = environments.find(db, environment_id)
        assert found is not None
        return found.health, msgspec.json.decode(found.causes)

    def look(self, collector: Collector, times: int = 1) -> None:
        """So many cycles, ten seconds apart."""
        for _ in range(times):
            self.clock.now += 10
            asyncio.run(collector.cycle())
