"""What an environment's last operations say of the release that it has: since when it is watched, where it could not be
brought back, and to which release the system may return from it.
"""

from __future__ import annotations

from itertools import takewhile
from typing import TYPE_CHECKING

import msgspec

from beanpole.operations.brought import brought
from beanpole.store import environments, operations

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.options.registry import Registry
    from beanpole.store.environments import Release
    from beanpole.store.operations import Operation

RETURNS = 3
"""Returns in a row that the system begins: where three releases are not well either, they are hardly the cause."""

_PROVING = ("activate", "gate")
"""Beginnings of the keys of steps that a release itself can fail."""


class Past(msgspec.Struct, frozen=True):
    """`operations` of the environment, the newest first."""

    environment_id: str
    release: Release
    operations: list[Operation]

    @property
    def passed_at(self) -> float:
        """Seconds since 1970; 0.0 when nobody knows. It counts, too, of one that did not stay good."""
        if self.release.passed_at is not None:
            return self.release.passed_at / 1000
        number = self.release.number
        mine = (each for each in self.operations if each.release == number != each.previous)
        return next(((each.finished_at or 0) / 1000 for each in mine if each.outcome == "succeeded"), 0.0)

    def served(self, now: float) -> float:
        """Seconds for which it was to be looked at since it passed: nobody looks while an operation is at work."""
        passed = self.passed_at
        busy = sum(
            (each.finished_at - each.created_at) / 1000
            for each in self.operations
            if each.finished_at is not None and each.created_at / 1000 >= passed
        )
        return now - passed - busy

    @property
    def chosen(self) -> bool:
        """Whether a person went back to it, which the system does not do better, or only started it anew: the release
        before is none that it replaced.
        """
        mine = (each for each in self.operations if each.release == self.release.number)
        return any(each.kind == "restart" or (each.kind == "rollback" and each.origin == "user") for each in mine)

    @property
    def returns(self) -> list[Operation]:
        """Those that the system began since a user did something, the newest first."""
        since = takewhile(lambda each: each.origin == "system", self.operations)
        return [each for each in since if each.kind == "rollback"]

    def refusing(self, db: sa.Connection) -> frozenset[str]:
        """Instances to which the last operation, which failed, could not bring the release back: it did not start
        there, or not pass its checks. What did not answer is none of them.
        """
        newest = next(iter(self.operations), None)
        if newest is None or newest.previous != self.release.number or newest.outcome not in ("failed", "aborted"):
            return frozenset()
        found = set()
        for key, result in operations.journal_of(db, newest.id).items():
            phase, _, rest = key.partition("/")
            step, _, name = rest.partition("/")
            if phase == "return" and step.startswith(_PROVING) and result.get("behind") and not result.get("unknown"):
                found.add(name)
        return frozenset(found)

    def bad(self, db: sa.Connection) -> list[str]:
        """Digests of the releases that were returned from, and of those that did not come up when it was tried."""
        numbers = [each.previous for each in self.returns]
        numbers += [each.release for each in self.returns if each.outcome != "succeeded"]
        found = (environments.find_release(db, self.environment_id, number) for number in numbers)
        return [each.digest for each in found if each is not None]

    def left_by_failure(self, db: sa.Connection, registry: Registry) -> set[str]:
        """The digest of a release that failed and is to stay where it had arrived, as AutoRollback was off; if any."""
        newest = next((each for each in self.operations if each.origin == "user"), None)
        if newest is None or newest.outcome != "failed":
            return set()
        failed = brought(db, registry, self.environment_id, newest.release)
        if failed is None or failed.settings.boolean("beanpole:deployment", "AutoRollback"):
            return set()
        return {failed.digest}


def past(db: sa.Connection, environment_id: str, number: int) -> Past:
    """Of an environment that has release `number`. LookupError when there is no such release."""
    release = environments.find_release(db, environment_id, number)
    if release is None:
        raise LookupError(f"environment {environment_id} has no release {number}")
    return Past(environment_id, release, operations.listed(db, environment_id=environment_id))
