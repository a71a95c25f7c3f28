"""Shift: requests are shared anew between the instances of a new release and the others.

While each has a part, testers can choose the new ones by a header or a cookie (`beanpole:canary`): these are a pool of
their own at each balancer, which is there and well before the first request is led to it, and until its last one ended.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import msgspec

from beanpole.balancer.pool import Pin
from beanpole.balancer.shares import weights
from beanpole.fleet.proxy import SETTLED
from beanpole.operations.slots import instance_of
from beanpole.operations.steps.leave import drain_delay
from beanpole.policies.plan import Shift
from beanpole.store import instances
from beanpole.store.operations import journal_of

if TYPE_CHECKING:
    from collections.abc import Collection

    from beanpole.operations.work import Work
    from beanpole.options.settings import Settings

CANARY = "beanpole:canary"

LOOK = 0.1
"""Seconds between looks at what the balancers see."""

TELL_LIMIT = 10.0
"""Seconds for the balancers of all servers to hear of it. One that cannot be reached is not waited for."""

WARM_LIMIT = 20.0
"""Seconds for the pool of those that testers choose to be well. It is of instances that were just proven."""

_HEADER = re.compile(r"([A-Za-z0-9-]{1,100}): *([\x21-\x7e][\x20-\x7e]{0,200})")
_COOKIE = re.compile(r"([A-Za-z0-9_.-]{1,100})=([A-Za-z0-9_.-]{1,200})")


async def shift(work: Work) -> dict[str, Any]:
    step = work.step
    if not isinstance(step, Shift):
        raise TypeError(f"{type(step).__name__} shares no requests")
    chosen = concerned(work, step.to)
    if 0 < step.percent < 100 and (pin := pin_of(work.settings)) is not None:
        work.progress("telling the balancers of the canary")
        await _let_choose(work, chosen, pin)
    new, other = await asyncio.to_thread(_share, work, chosen, step.percent)
    await _tell(work)
    if step.percent >= 100:
        work.progress("letting requests of testers end")
        await _choose_no_more(work, chosen)
    return {"weights": [new, other]}


def concerned(work: Work, slots: Collection[str]) -> list[str]:
    """The instances that the slots stand for."""
    with work.parts.database.read() as db:
        journal = journal_of(db, work.operation.id)
    return [found for slot in slots if (found := instance_of(journal, slot))]


def pin_of(settings: Settings) -> Pin | None:
    """By what testers choose; None where the settings name neither a header nor a cookie."""
    header = _HEADER.fullmatch(settings.text(CANARY, "PinHeader").strip())
    cookie = _COOKIE.fullmatch(settings.text(CANARY, "PinCookie").strip())
    if header is None and cookie is None:
        return None
    return Pin((header[1], header[2]) if header else None, (cookie[1], cookie[2]) if cookie else None)


def _share(work: Work, chosen: Collection[str], percent: int) -> tuple[int, int]:
    """What each of the chosen has from now on, and each of the others."""
    with work.writing() as db:
        everyone = instances.listed(db, work.environment.id)
        staying = {each.id for each in everyone if each.state != "terminating"}
        endpoints = instances.endpoints(db, work.environment.id)
        serving = staying & {each.instance_id for each in endpoints if each.state == "serving"}
        new, other = weights(len(serving & set(chosen)), len(serving - set(chosen)), percent)
        instances.share(db, {each.id: new if each.id in chosen else other for each in everyone})
    return new, other


async def _let_choose(work: Work, chosen: Collection[str], pin: Pin) -> None:
    with work.writing() as db:
        instances.pin(db, chosen, msgspec.json.encode(pin).decode())
    await _tell(work)
    limit = asyncio.get_running_loop().time() + WARM_LIMIT
    while asyncio.get_running_loop().time() < limit:
        views = await work.parts.balancers.canary(work.environment.id)
        if all(view and any(seen["healthy"] for seen in view.values()) for view in views):
            return
        await asyncio.sleep(LOOK)
    work.say("The instances that testers choose are not well at every balancer yet; testers may get errors.", "WARN")


async def _choose_no_more(work: Work, chosen: Collection[str]) -> None:
    """The chosen get everything, so there is nothing to choose. What testers asked for ends first."""
    limit = asyncio.get_running_loop().time() + drain_delay(work)
    calm = 0
    while calm < SETTLED and asyncio.get_running_loop().time() < limit:
        views = await work.parts.balancers.canary(work.environment.id)
        calm = 0 if any(seen["active"] for view in views for seen in view.values()) else calm + 1
        await asyncio.sleep(LOOK)
    with work.writing() as db:
        instances.pin(db, chosen, None)
    await _tell(work)


async def _tell(work: Work) -> None:
    await work.parts.balancers.apply()
    await work.parts.balancers.settle(TELL_LIMIT)
