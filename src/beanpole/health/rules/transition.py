"""When a change of an environment's health is told as an event, and in which words.

The words never equal "Environment health has been set to GREEN" (or RED): clients take those for the end of whatever
operation they wait for.
"""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from beanpole.health.rules.facts import EnvironmentHealth
from beanpole.health.rules.status import BAD, STATUSES, Status

CALM = 60.0
"""Seconds between two such events of one environment. A turn to Severe does not wait."""

PREFIX = "Environment health has transitioned "
"""What every such message begins with."""

_MESSAGE = re.compile(re.escape(PREFIX) + r"(?:from \w+ )?to (\w+)\.")


class Said(msgspec.Struct, frozen=True):
    """The status that the last event told (None: there was none yet), and when: seconds since 1970."""

    status: Status | None = None
    at: float = 0.0


class Transition(msgspec.Struct, frozen=True):
    message: str
    severity: Literal["INFO", "WARN"]


def transition(said: Said, health: EnvironmentHealth, now: float) -> Transition | None:
    """The event to write now, if any. That nothing is known (Unknown) is no news."""
    new = health.status
    if new in (said.status, "Unknown"):
        return None
    if said.status is not None and new != "Severe" and now - said.at < CALM:
        return None
    origin = f"from {said.status} " if said.status is not None else ""
    words = " ".join((f"{PREFIX}{origin}to {new}.", *health.causes))
    return Transition(words, "WARN" if new in BAD else "INFO")


def said_by(message: str, at: float) -> Said:
    """What an event of the past told."""
    found = _MESSAGE.match(message)
    return Said(next((status for status in STATUSES if found and status == found.group(1)), None), at)
