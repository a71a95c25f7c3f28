"""Activate, Gate and Finish: one instance goes over to the release without losing a request.

Start-first: the new release is started beside the old one and proven, the balancer learns of it and finds it healthy,
then the old one gets no new requests. Only then is the switch done; the old one lives on until Drain.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from beanpole.balancer.lint import lint
from beanpole.balancer.pool import Pool
from beanpole.operations.blame import StepUnknown
from beanpole.operations.health_check import checks_needed, forgives, health_check
from beanpole.operations.steps.arrive import KEPT, command_limit, command_timeout, run_hooks
from beanpole.operations.steps.leave import leave
from beanpole.operations.steps.smoke import limit, smoke_instance
from beanpole.operations.steps.turn import take_turn
from beanpole.options.smoke import tests_of
from beanpole.platforms.procfile import WEB
from beanpole.policies.plan import Activate, Gate
from beanpole.store import environments, instances
from beanpole.store.instances import Endpoint

if TYPE_CHECKING:
    from beanpole.operations.work import Work

EDGE_TIMEOUT = 20.0
"""Seconds for the balancer to find a release healthy that just answered the agent."""

SWITCH_TIMEOUT = 120.0
"""Seconds for the processes beside `web` to go over, and for a release to become the boot target."""

VERDICT_RESERVE = 600.0
"""Seconds beyond the smoke tests, the gate and the hooks before an agent takes a stop-first start back by itself: a
control plane that died has that long to come back."""

DEPLOYMENT = "beanpole:deployment"


async def activate(work: Work) -> dict[str, Any]:
    digest = work.release.digest
    _refuse_bad_check(work)
    stop_first = getattr(work.step, "stop_first", False) or work.alone
    if stop_first and not await _runs(work, digest):
        # The agent stops the old one when it starts this one, and starts it again when no verdict comes.
        if work.alone:
            await take_turn(work, keep=digest)
        await leave(work, keep=digest)
    work.progress("starting")
    arguments = start_arguments(work)
    started = await work.job("start", arguments, arguments["grace"] + arguments["deadline"] + 15)
    await smoke_instance(work)
    health = msgspec.json.encode(health_check(work.settings)).decode()
    where = (work.instance, digest, started["address"], started["port"])
    weight = 0 if isinstance(work.step, Activate) and work.step.waits else 1
    endpoint = Endpoint(*where, "serving", work.now(), health, *_files(started.get("static")), weight)
    with work.writing() as db:
        instances.put_endpoint(db, endpoint)
    await work.parts.balancers.apply(work.instance)
    work.progress("waiting for the balancer to find it healthy")
    if not await work.parts.balancers.healthy(work.environment.id, endpoint, EDGE_TIMEOUT):
        unhealthy = work.failed(
            f"the release answers on {started['address']}:{started['port']} but the balancer's health check does not "
            f"pass within {EDGE_TIMEOUT:.0f} s",
            "Look at HealthCheckPath and MatcherHTTPCode in aws:elasticbeanstalk:environment:process:default.",
        )
        if not forgives(work.settings):
            raise unhealthy
        work.say(f"{unhealthy.blame.line()} The deployment goes on, as its settings say.", "WARN")
    leaving_at = work.now()
    with work.writing() as db:
        instances.drain(db, leaving_at, work.instance, keep=digest)
    await work.parts.balancers.apply(work.instance)
    if any(each.state == "draining" and each.since < leaving_at for each in work.endpoints()):
        # An earlier try wrote it down, and the balancer, or whoever was to tell it, was gone: it has heard only now.
        with work.writing() as db:
            instances.drain_anew(db, work.now(), work.instance)
    return {"address": started["address"], "port": started["port"], "seconds": started.get("seconds")}


async def gate(work: Work) -> dict[str, Any]:
    checks = checks_needed(work.settings)
    interval = work.settings.seconds(DEPLOYMENT, "GateInterval")
    deadline = gate_limit(work)
    arguments = start_arguments(work) | {"checks": checks, "interval": interval, "deadline": deadline}
    result: dict[str, Any] = await work.job("gate", arguments, deadline + 15)
    errors = result.pop("errors", None) or {"count": 0}
    if work.phase == "forward" and isinstance(work.step, Gate):
        _judge_log(work, errors)
    return result | {"errors": errors["count"]}


def _judge_log(work: Work, errors: dict[str, Any]) -> None:
    """What the release wrote since it started: told, or a reason to go back, as the option LogErrors says."""
    count, meaning = errors["count"], work.settings.text(DEPLOYMENT, "LogErrors")
    if not count or meaning == "ignore":
        return
    found = f"{count} error{'s' if count > 1 else ''} in the log of {WEB} since the release started"
    last = f"{'; the last' if count > 1 else ''}: {errors['last']}"
    if meaning == "fail":
        remedy = "Correct what the log says, or set LogErrors of beanpole:deployment to warn."
        raise work.failed(found + last, remedy, tuple(errors["lines"]))
    work.say(f"[Instance: {work.instance}] {found}{last}", "WARN")


def gate_limit(work: Work) -> float:
    """Seconds for the gate: its checks, and as long as a start may take for those that fail at first.

    Never longer than the command time-out, within which a batch has to become healthy; where rolling updates give it a
    time of their own, that one.
    """
    if isinstance(work.step, Gate) and work.step.within:
        return work.step.within
    checks = work.settings.integer(DEPLOYMENT, "GateChecks") * work.settings.seconds(DEPLOYMENT, "GateInterval")
    return min(float(checks + work.settings.seconds(DEPLOYMENT, "StartTimeout")), command_timeout(work))


async def finish(work: Work) -> dict[str, Any]:
    digest = work.release.digest
    grace = work.settings.seconds(DEPLOYMENT, "StopGrace")
    await work.job("switch", {"release": digest, "grace": grace, "serving": True}, SWITCH_TIMEOUT + grace)
    # Before the commit: a release whose hooks failed is nothing that a boot may start.
    await run_hooks(work, "postdeploy", command_limit(work), unless=KEPT)
    with work.parts.database.read() as db:
        keep = environments.kept_digests(db, work.environment.id, work.settings.integer(DEPLOYMENT, "KeepReleases"))
    await work.job("commit", {"release": digest, "keep": keep, "serving": True}, SWITCH_TIMEOUT)
    with work.writing() as db:
        instances.update(db, work.instance, release=work.release.number)
    return {}


async def register(work: Work) -> dict[str, Any]:
    """Nobody is checked in a new way that would take it out of rotation: the agent tries the check first."""
    _refuse_bad_check(work)
    if work.phase == "forward":
        try:
            await gate(work)
        except StepUnknown as silence:
            work.say(f"{silence.blame.line()} It is checked as the others are.", "WARN")
    health = msgspec.json.encode(health_check(work.settings)).decode()
    with work.writing() as db:
        instances.set_health(db, work.instance, health)
    await work.parts.balancers.apply(work.instance)
    return {}


def _files(static: dict[str, Any] | None) -> tuple[int | None, str | None]:
    """Port and paths of the file server that was started, as an endpoint has them."""
    return (static["port"], " ".join(static["paths"])) if static is not None else (None, None)


def _refuse_bad_check(work: Work) -> None:
    """A check that the balancer cannot make would keep it from taking any change of any environment."""
    problems = lint([Pool(work.environment.id, (), (), health_check(work.settings))])
    if problems:
        raise work.failed(
            "; ".join(problems), "Correct the health check in aws:elasticbeanstalk:environment:process:default."
        )


async def _runs(work: Work, digest: str) -> bool:
    """Whether the release's web process is there already: then nothing has to make way for it."""
    processes = (await work.state())["processes"]
    return any(each["release"] == digest and each["name"] == WEB and each["pid"] for each in processes)


def start_arguments(work: Work) -> dict[str, Any]:
    check = health_check(work.settings)
    # A connection is what is left to ask of a release whose health does not count.
    path = None if forgives(work.settings) else check.path
    hooks = command_timeout(work) if work.release.content.hooks else 0.0
    return {
        "release": work.release.digest,
        "health": {"path": path, "codes": check.codes, "timeout": check.timeout},
        "deadline": work.settings.seconds(DEPLOYMENT, "StartTimeout"),
        "fixed_port": work.release.content.fixed_port,
        "grace": work.settings.seconds(DEPLOYMENT, "StopGrace"),
        "stop_first": work.alone,
        "verdict": limit(tests_of(work.settings)) + gate_limit(work) + hooks + VERDICT_RESERVE,
    }
