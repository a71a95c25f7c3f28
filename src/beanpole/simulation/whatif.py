"""What would happen if: one deployment to a fleet of which some fail, and the answer in figures."""

from __future__ import annotations

import re
from random import Random
from typing import Literal

import msgspec

from beanpole.control.update import POLICIES, REPLACING
from beanpole.simulation.run import run
from beanpole.simulation.scenario import Command, Fault, Scenario
from beanpole.simulation.version import Flaw, Version

How = Literal["start", "lost", "slow", "bad", "errors"]
"""The release does not start there; the server is lost on the way; it is twenty times slower; the release turns bad
everywhere before it has proven itself, or fails one request in ten while its health checks pass, however many instances
are meant to fail."""

RATE, EVALUATION = 50.0, 180
"""Requests a second, of all users together; seconds for which a canary is watched."""

BEGIN = 1.0
"""Second in which the deployment is asked for."""

NAMES = {re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower(): name for name in ("AllAtOnce", *POLICIES, *REPLACING)}
"""Of policies, as they are typed: `all-at-once`."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    outcome: str
    seconds: float
    """Of the operation, from the command to the closing sentence."""
    instances: int
    lowest: int
    """Instances that answered requests in the worst moment."""
    samples: list[tuple[float, int, dict[str, int]]]
    """Second since the command, how many instances answer from then on, and with which version."""
    broken: list[str]
    """Promises of ours that did not hold: a fault to be reported."""
    sentences: list[str]
    """Of the events that say what went wrong, and the last one."""
    batch: str


def ask(
    policy: str, instances: int, *, fail: int, how: How, batch: str, boot: float, seed: int, on_servers: bool = True
) -> Answer:
    """`batch`: "25%" or a number of instances."""
    size, percent = int(batch.rstrip("%")), batch.endswith("%")
    failing = tuple(sorted(Random(seed).sample(range(instances), fail)))
    flaw: Flaw = "gate" if how == "bad" and fail else ""
    new = Version(boot=boot, flaw=flaw, errors=0.1 if how == "errors" and fail else 0.0)
    scenario = Scenario(
        seed=seed,
        instances=instances,
        on_servers=on_servers,
        policy=NAMES[policy],
        batch=1 if percent else size,
        percentage=size if percent else None,
        rate=RATE if NAMES[policy] == "TrafficSplitting" else 0.0,
        percent=10,
        evaluation=EVALUATION,
        versions=(Version(boot=boot), new),
        commands=(Command("deploy", BEGIN, 2),),
        refuses=failing if how == "start" else (),
        faults=tuple(_faults(how, failing, boot)),
    )
    history = run(scenario)
    ((begin, end),) = history.spans
    samples = [(at - begin, count, releases) for at, count, releases in history.samples if at <= end]
    during = [count for at, count, _ in samples if at >= 0] or [samples[-1][1]]
    return Answer(
        outcome=history.outcomes[0].rpartition(" ")[2],
        seconds=round(end - begin, 1),
        instances=instances,
        lowest=min(during),
        samples=[(max(at, 0.0), count, releases) for at, count, releases in samples],
        broken=history.broken,
        sentences=_sentences(history.messages),
        batch=batch,
    )


def _faults(how: How, failing: tuple[int, ...], boot: float) -> list[Fault]:
    if how == "lost":
        return [Fault("off", BEGIN + 0.5 + boot / 2, 0.0, each) for each in failing]
    if how == "slow":
        return [Fault("slow", 0.0, 600.0, each, 20.0) for each in failing]
    return []


def _sentences(messages: list[str]) -> list[str]:
    told = [message for message in messages if " failed: " in message or "cannot be reached" in message]
    closing = [message for message in messages if message.startswith(("Environment update comp", "Failed to dep"))]
    return [*told[:5], *([f"… and {len(told) - 5} more of the kind"] if len(told) > 5 else []), *closing[:1]]
