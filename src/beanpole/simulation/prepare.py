"""How a simulation begins: environment `shop`, whose instances serve the first version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from beanpole.control import compose, submit
from beanpole.operations.health_check import health_check
from beanpole.options.precedence import GROUP, ROLLING_UPDATE
from beanpole.simulation.balancer import Snapshot
from beanpole.simulation.library import library
from beanpole.store import applications, environments, schema
from beanpole.store.applications import Application, Version
from beanpole.store.environments import Environment
from beanpole.store.hosts import Host
from beanpole.store.instances import Endpoint, Instance

if TYPE_CHECKING:
    from collections.abc import Sequence

    import sqlalchemy as sa

    from beanpole.simulation.plane import ControlPlane
    from beanpole.simulation.scenario import Scenario
    from beanpole.simulation.world import World

SPARE = 6
"""Servers beside those that have an instance."""

BESIDE, NEIGHBOUR = "blue", "i-blue"
"""The environment with which names are exchanged, where somebody wants that, and its instance."""


def prepare(world: World, plane: ControlPlane) -> None:
    scenario, control = world.scenario, plane.control
    now = plane.database.now_ms() - 1000
    branch = next(iter(control.platforms)).branch
    stored = settings(scenario)
    swaps = any(command.kind == "swap" for command in scenario.commands)
    names = [f"i-{at + 1:04}" for at in range(scenario.instances)] + [NEIGHBOUR] * swaps
    with plane.database.write() as db:
        applications.add(db, Application("shop", None, now, now))
        versions = []
        for at, each in enumerate(scenario.versions):
            label = f"v{at + 1}"
            manifest = library().manifest(label, each)
            versions.append(Version("shop", label, None, None, None, None, manifest, "UNPROCESSED", now, now))
        _add(db, schema.version, versions)
        version = applications.find_version(db, "shop", "v1")
        if version is None:
            raise LookupError("v1")
        composed = compose.compose(control, version, branch, stored, [], None)
        new = Environment(
            world.environment, "shop", "shop", None, "shop", "WebServer", branch, "Ready", "Ok", "[]",
            scenario.instances, "v1", 1, now, now,
        )  # fmt: skip
        beside = msgspec.structs.replace(new, id="e-2", name=BESIDE, cname_prefix=BESIDE, desired=1)
        for one in (new, beside) if swaps else (new,):
            environments.add(db, one)
            own = stored | {(GROUP, size, ""): str(one.desired) for size in ("MinSize", "MaxSize")}
            environments.put_options(db, one.id, own)
            submit.add_release(db, control, one.id, composed, own)
            environments.update_release(db, one.id, 1, passed_at=now - 3_600_000)
        health = msgspec.json.encode(health_check(composed.settings)).decode()
        there, endpoints = [], []
        digest = composed.content.digest()
        port = scenario.versions[0].port or 20000
        for at, name in enumerate(names):
            home = beside.id if name == NEIGHBOUR else new.id
            address = f"127.0.{2 + at // 250}.{1 + at % 250}"
            host = f"h-{at:04}" if scenario.on_servers else None
            there.append(Instance(name, home, "running", address, 1, now + at, host=host))
            endpoints.append(Endpoint(name, digest, address, port, "serving", now, health))
            machine = world.make(name, address)
            machine.fetched.add(digest)
            machine.ready.add(digest)
            machine.boot = digest
            machine.serves(digest, port)
            if at in scenario.refuses:
                world.refusing.add(name)
        _add(db, schema.instance, there)
        _add(db, schema.endpoint, endpoints)
        if scenario.on_servers:
            _add(db, schema.host, [_host(at, now) for at in range(len(names) + SPARE)])
    with plane.database.read() as db:
        world.edge.tell(Snapshot.read(db, world.store, 1))
    world.edge.begin()


def _add(db: sa.Connection, table: sa.Table, rows: Sequence[msgspec.Struct]) -> None:
    db.execute(table.insert(), [msgspec.structs.asdict(row) for row in rows])


def _host(at: int, now: int) -> Host:
    address = json.dumps({"host": f"10.0.{at // 250}.{1 + at % 250}"})
    return Host(
        id=f"h-{at:04}",
        name=f"server-{at}",
        address=address,
        host_key="key",
        app_port=8080,
        labels="[]",
        state="ready",
        added_at=now + at,
    )


def settings(scenario: Scenario) -> dict[environments.OptionKey, str]:
    size = str(scenario.percentage if scenario.percentage is not None else scenario.batch)
    kind = "Percentage" if scenario.percentage is not None else "Fixed"
    count = str(scenario.instances)
    command, ours = "aws:elasticbeanstalk:command", "beanpole:deployment"
    process = "aws:elasticbeanstalk:environment:process:default"
    found = {
        (GROUP, "MinSize", ""): count,
        (GROUP, "MaxSize", ""): count,
        (command, "DeploymentPolicy", ""): scenario.policy,
        (command, "BatchSize", ""): size,
        (command, "BatchSizeType", ""): kind,
        (process, "DeregistrationDelay", ""): str(scenario.drain),
        (ours, "GateChecks", ""): str(scenario.checks),
        (ours, "StartTimeout", ""): "20",
        (ours, "StopGrace", ""): "1",
        (ours, "WatchMinutes", ""): "1",
        (ours, "AllowDowntime", ""): "true",
        ("aws:elasticbeanstalk:trafficsplitting", "NewVersionPercent", ""): str(scenario.percent),
        ("beanpole:canary", "EvaluationSeconds", ""): str(scenario.evaluation),
        ("beanpole:fleet", "Location", ""): "ssh" if scenario.on_servers else "local",
    }
    if scenario.update:
        rolling = {"RollingUpdateEnabled": "true", "RollingUpdateType": scenario.update, "PauseTime": "PT3S"}
        rolling |= {"MaxBatchSize": str(scenario.batch), "MinInstancesInService": str(scenario.instances - 1)}
        found |= {(ROLLING_UPDATE, name, ""): value for name, value in (rolling | {"Timeout": "PT5M"}).items()}
    return found | {(namespace, name, ""): value for namespace, name, value in scenario.settings}
