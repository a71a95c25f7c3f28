"""Drain, Leave and Terminate: a release, or a whole instance, goes without losing a request."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.fleet.proxy import BalancerUnreachable
from beanpole.operations.blame import StepFailed
from beanpole.operations.brought import brought
from beanpole.store import instances

if TYPE_CHECKING:
    from beanpole.operations.work import Work

DRAIN_DELAY = ("aws:elasticbeanstalk:environment:process:default", "DeregistrationDelay")

STOP_TIMEOUT = 30.0
"""Seconds that an agent may take to stop processes, beyond the grace that they are given."""


async def drain(work: Work) -> dict[str, Any]:
    """Everything on the instance but the release of this phase."""
    cut = await leave(work, keep=work.release.digest, heard=True)
    await stop_others(work, None)
    return {"cut": cut}


async def leave_rotation(work: Work) -> dict[str, Any]:
    """A server that cannot be reached gets no more requests from here, and those that it has are not waited for."""
    try:
        return {"cut": await leave(work, keep=None)}
    except BalancerUnreachable:
        raise  # of the edge, which may still send requests there: they are waited for when it has heard
    except AgentUnreachable as silence:
        if work.parts.fleet.place(work.instance).shared_machine:
            raise
        with work.writing() as db:
            for endpoint in instances.endpoints_of(db, work.instance):
                instances.remove_endpoint(db, work.instance, endpoint.digest)
        await work.parts.balancers.apply()
        return {"silent": str(silence)}


async def terminate(work: Work) -> dict[str, Any]:
    """A server that cannot be reached does not keep an environment from ending; see ServerPlace.clear_leftovers."""
    with work.writing() as db:
        gone = instances.find(db, work.instance) is None
        instances.update(db, work.instance, state="terminating")
    if gone:
        # A control plane that died had done all of it, but for the last word to the balancer.
        await work.parts.balancers.apply()
        return {}
    await _stop_all(work)
    try:
        await work.parts.fleet.terminate(work.instance)
    except AgentUnreachable as silence:
        if work.parts.fleet.place(work.instance).shared_machine:
            raise
        cause = str(silence).rstrip(".")
        words = f"{cause}. What runs there goes on without requests from here, and ends when it can be reached."
        work.say(f"[Instance: {work.instance}] {words}", "WARN")
    with work.writing() as db:
        instances.remove(db, work.instance)
    await work.parts.balancers.apply()
    work.say(f"Removed instance [{work.instance}] from your environment.")
    return {}


async def leave(work: Work, *, keep: str | None, heard: bool = False) -> int:
    """No new requests to releases other than `keep`; wait until they have none or the drain deadline is over.

    `heard`: the balancer knows since then of what has left rotation before, as an earlier step saw to it. Answers how
    many requests were still running at the deadline. They will be cut, and the user is told.
    """
    began = work.now()
    with work.writing() as db:
        instances.drain(db, began, work.instance, keep=keep)
    await work.parts.balancers.apply(work.instance)
    told = work.now()
    leaving = [endpoint for endpoint in work.endpoints() if endpoint.digest != keep]
    delay = drain_delay(work)
    cut = 0
    for endpoint in leaving:
        # Requests went there until the balancer had heard of it, which may have taken its time: it was silent, or
        # whoever wrote this down died before it could tell.
        since = max(endpoint.since, work.balancer_silent_until) if heard and endpoint.since < began else told
        # Never longer than the delay itself, though somebody put the clock back.
        left = min(since / 1000 + delay - work.now() / 1000, delay)
        work.progress("letting requests end")
        cut += await work.parts.balancers.idle(work.environment.id, endpoint, max(left, 0.0))
    if cut:
        work.say(
            f"[Instance: {work.instance}] {cut} requests or connections were still open after the drain deadline of "
            f"{delay:.0f} seconds (DeregistrationDelay) and were cut.",
            "WARN",
        )
    with work.writing() as db:
        for endpoint in leaving:
            instances.remove_endpoint(db, work.instance, endpoint.digest)
    await work.parts.balancers.apply(work.instance)
    return cut


async def _stop_all(work: Work) -> None:
    """Every process gets its grace. An agent that does not answer is ended with all that it runs a moment later."""
    if work.brought is None:
        return
    grace = work.settings.seconds("beanpole:deployment", "StopGrace")
    with contextlib.suppress(StepFailed):
        for digest in sorted({process["release"] for process in (await work.state())["processes"]}):
            arguments = {"release": digest, "names": None, "grace": grace}
            await work.job("stop", arguments, grace + STOP_TIMEOUT, name=digest)


async def stop_others(work: Work, names: list[str] | None) -> None:
    """Stop the processes of those names (None: all) of every release but the one of this phase."""
    grace = work.settings.seconds("beanpole:deployment", "StopGrace")
    running = (await work.state())["processes"]
    for digest in sorted({process["release"] for process in running} - {work.release.digest}):
        await work.job("stop", {"release": digest, "names": names, "grace": grace}, grace + STOP_TIMEOUT, name=digest)


def drain_delay(work: Work) -> float:
    """Seconds: what the release that comes promises or the one that goes, whichever is more. A return to one with a
    shorter delay must not cut requests that began under a longer one."""
    with work.parts.database.read() as db:
        numbers = {work.operation.release, work.operation.previous}
        releases = [brought(db, work.parts.registry, work.environment.id, number) for number in numbers]
    return float(max((each.settings.integer(*DRAIN_DELAY) for each in releases if each is not None), default=0))
