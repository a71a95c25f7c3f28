"""What a policy decides from: the instances as they were observed, the release that is wanted, and the rules."""

from __future__ import annotations

import msgspec


class Member(msgspec.Struct, frozen=True):
    """An instance as it was observed when the plan was made."""

    id: str
    digest: str | None = None
    """Of the release that serves here; None when nothing does."""
    reachable: bool = True


class Target(msgspec.Struct, frozen=True):
    """The release to bring."""

    digest: str
    once: bool = False
    """It has leader-only commands, and they are to be run."""
    prepare: bool = True
    """It has to be prepared: false when it comes back to instances that have it."""
    stop_first: str | None = None
    """Why the old release must stop before this one starts; None when both can run at once."""


class Rules(msgspec.Struct, frozen=True):
    """From the option settings."""

    policy: str = "AllAtOnce"
    batch_size: int = 100
    batch_is_percentage: bool = True


def batches(members: tuple[Member, ...], rules: Rules) -> list[tuple[str, ...]]:
    """The ids in batches, in the given order; the last may be smaller.

    A percentage is rounded down, to at least one instance: what Elastic Beanstalk rounds to is not documented, and the
    smaller batch keeps more capacity.
    """
    count = len(members)
    size = count * rules.batch_size // 100 if rules.batch_is_percentage else rules.batch_size
    size = min(max(size, 1), max(count, 1))
    ids = [member.id for member in members]
    return [tuple(ids[at : at + size]) for at in range(0, count, size)]
