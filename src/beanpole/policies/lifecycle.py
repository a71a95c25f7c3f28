"""Which versions of an application go when another one has been created, by number or by age.

The rules are Elastic Beanstalk's: at most one of the two is in force, the version that was just created is not counted,
and what an environment has, or may be rebuilt from, stays whatever its age.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

AT_ONCE = 100
"""Versions that go in one run; the next created version takes up the rest."""

DAY_MS = 24 * 3600 * 1000


class MaxCount(msgspec.Struct, frozen=True, rename="pascal"):
    enabled: bool = False
    max_count: int = 200
    delete_source_from_s3: bool = msgspec.field(default=False, name="DeleteSourceFromS3")


class MaxAge(msgspec.Struct, frozen=True, rename="pascal"):
    enabled: bool = False
    max_age_in_days: int = 180
    delete_source_from_s3: bool = msgspec.field(default=False, name="DeleteSourceFromS3")


class Lifecycle(msgspec.Struct, frozen=True):
    """The rules of one application. `service_role` is remembered for clients; nothing is done in its name."""

    count: MaxCount = MaxCount()
    age: MaxAge = MaxAge()
    service_role: str | None = None

    @property
    def deletes_source(self) -> bool:
        """Whether the bundles go with the versions."""
        return self.count.delete_source_from_s3 if self.count.enabled else self.age.delete_source_from_s3


class Made(msgspec.Struct, frozen=True):
    """A version, as far as its age matters. `at`: milliseconds since 1970."""

    label: str
    at: int


def doomed(rules: Lifecycle, versions: Iterable[Made], new: str, kept: Collection[str], now: int) -> list[str]:
    """Labels of the versions that go, oldest first. `new`: the one that was just created; `kept`: those in use."""
    others = sorted((each for each in versions if each.label != new), key=lambda each: (each.at, each.label))
    if rules.count.enabled:
        # Those in use are counted, too; they keep their place, and what is older than they are goes instead.
        surplus = max(len(others) - rules.count.max_count, 0)
        return [each.label for each in others if each.label not in kept][: min(surplus, AT_ONCE)]
    if rules.age.enabled:
        oldest = now - rules.age.max_age_in_days * DAY_MS
        return [each.label for each in others if each.at < oldest and each.label not in kept][:AT_ONCE]
    return []


def encode(rules: Lifecycle) -> str:
    return msgspec.json.encode(rules).decode()


def decode(text: str | None) -> Lifecycle:
    """None: every version is kept."""
    return Lifecycle() if text is None else msgspec.json.decode(text, type=Lifecycle)
