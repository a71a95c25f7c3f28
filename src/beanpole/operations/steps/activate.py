"""Activate, Gate and Finish: one instance goes over to the release without losing a request.

Start-first: the new release is started beside the old one and proven, the balancer learns of it and finds it healthy,
then the old one gets no new requests. Only then is the switch done; the old one lives on until Drain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from beanpole.operations.health_check import health_check
from beanpole.operations.steps.leave import leave, stop_others
from beanpole.store import environments, instances
from beanpole.store.instances import Endpoint

if TYPE_CHECKING:
    from beanpole.operations.work import Work

EDGE_TIMEOUT = 20.0
"""Seconds for the balancer to find a release healthy that just answered the agent."""

SWITCH_TIMEOUT = 120.0
"""Seconds for the processes beside `web` to go over, and for a release to become the boot target."""

DEPLOYMENT = "beanpole:deployment"


async def activate(work: Work) -> dict[str, Any]:
    digest = work.release.digest
    if getattr(work.step, "stop_first", False):
        await leave(work, keep=digest)
        await stop_others(work, ["web"])
    work.progress("starting")
    started = await work.job("start", start_arguments(work), work.settings.seconds(DEPLOYMENT, "StartTimeout") + 15)
    health = msgspec.json.encode(health_check(work.settings)).decode()
    with work.writing() as db:
        instances.put_endpoint(
            db, Endpoint(work.instance, digest, started["address"], started["port"], "serving", work.now(), health)
        )
    await work.parts.edge.apply()
    work.progress("waiting for the balancer to find it healthy")
    if not await work.parts.edge.healthy(work.environment.id, started["address"], started["port"], EDGE_TIMEOUT):
        raise work.failed(
            f"the release answers on {started['address']}:{started['port']} but the balancer's health check does not "
            f"pass within {EDGE_TIMEOUT:.0f} s",
            "Look at the health path (aws:elasticbeanstalk:environment:process:default HealthCheckPath, MatcherHTTPCode).",
        )
    with work.writing() as db:
        instances.drain(db, work.now(), work.instance, keep=digest)
    await work.parts.edge.apply()
    return {"address": started["address"], "port": started["port"], "seconds": started.get("seconds")}


async def gate(work: Work) -> dict[str, Any]:
    checks = work.settings.integer(DEPLOYMENT, "GateChecks")
    interval = work.settings.seconds(DEPLOYMENT, "GateInterval")
    deadline = checks * interval + work.settings.seconds(DEPLOYMENT, "StartTimeout")
    arguments = start_arguments(work) | {"checks": checks, "interval": interval, "deadline": deadline}
    result: dict[str, Any] = await work.job("gate", arguments, deadline + 15)
    return result


async def finish(work: Work) -> dict[str, Any]:
    digest = work.release.digest
    grace = work.settings.seconds(DEPLOYMENT, "StopGrace")
    await work.job("switch", {"release": digest, "grace": grace}, SWITCH_TIMEOUT + grace)
    with work.parts.database.read() as db:
        keep = environments.kept_digests(db, work.environment.id, work.settings.integer(DEPLOYMENT, "KeepReleases"))
    await work.job("commit", {"release": digest, "keep": keep}, SWITCH_TIMEOUT)
    with work.writing() as db:
        instances.update(db, work.instance, release=work.release.number)
    return {}


async def register(work: Work) -> dict[str, Any]:
    health = msgspec.json.encode(health_check(work.settings)).decode()
    with work.writing() as db:
        instances.set_health(db, work.instance, health)
    await work.parts.edge.apply()
    return {}


def start_arguments(work: Work) -> dict[str, Any]:
    check = health_check(work.settings)
    return {
        "release": work.release.digest,
        "health": {"path": check.path, "codes": check.codes, "timeout": check.timeout},
        "deadline": work.settings.seconds(DEPLOYMENT, "StartTimeout"),
        "fixed_port": work.release.content.fixed_port,
    }
