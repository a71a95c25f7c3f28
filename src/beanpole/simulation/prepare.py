"""How a simulation begins: environment `shop`, whose instances serve the first version."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from beanpole.control import compose, submit
from beanpole.operations.health_check import health_check
from beanpole.simulation.library import library
from beanpole.store import applications, environments, instances, schema
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


def prepare(world: World, plane: ControlPlane) -> None:
    scenario, control = world.scenario, plane.control
    now = plane.database.now_ms() - 1000
    branch = next(iter(control.platforms)).branch
    stored = settings(scenario)
    names = [f"i-{at + 1:04}" for at in range(scenario.instances)]
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
        environments.add(db, new)
        environments.put_options(db, new.id, stored)
        submit.add_release(db, control, new.id, composed, stored)
        environments.update_release(db, new.id, 1, passed_at=now - 3_600_000)
        health = msgspec.json.encode(health_check(composed.settings)).decode()
        there, endpoints = [], []
        digest = composed.content.digest()
        port = scenario.versions[0].port or 20000
        for at, name in enumerate(names):
            address = f"127.0.{2 + at // 250}.{1 + at % 250}"
            host = f"h-{at:04}" if scenario.on_servers else None
            there.append(Instance(name, new.id, "running", address, 1, now + at, host=host))
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
            _add(db, schema.host, [_host(at, now) for at in range(scenario.instances + SPARE)])
    with plane.database.read() as db:
        world.edge.tell(1, instances.endpoints(db))
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
        ("aws:autoscaling:asg", "MinSize", ""): count,
        ("aws:autoscaling:asg", "MaxSize", ""): count,
        (command, "DeploymentPolicy", ""): scenario.policy,
        (command, "BatchSize", ""): size,
        (command, "BatchSizeType", ""): kind,
        (process, "DeregistrationDelay", ""): str(scenario.drain),
        (ours, "GateChecks", ""): str(scenario.checks),
        (ours, "StartTimeout", ""): "20",
        (ours, "StopGrace", ""): "1",
        (ours, "WatchMinutes", ""): "1",
        (ours, "AllowDowntime", ""): "true",
        ("aws:elasticbeanstalk:trafficsplitting", "EvaluationTime", ""): "3",
        ("beanpole:fleet", "Location", ""): "ssh" if scenario.on_servers else "local",
    }
    return found | {(namespace, name, ""): value for namespace, name, value in scenario.settings}
