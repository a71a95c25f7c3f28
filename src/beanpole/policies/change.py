"""What a policy decides from: the instances as they were observed, the release that is wanted, and the rules."""

from __future__ import annotations

import msgspec

from beanpole.platforms.hooks import Hooks


class Member(msgspec.Struct, frozen=True):
    """An instance as it was observed when the plan was made."""

    id: str
    digest: str | None = None
    """Of the release that serves here; None when nothing does."""
    reachable: bool = True
    """Whether its agent answers. What does not answer is unknown, not failed."""


class Target(msgspec.Struct, frozen=True):
    """The release to bring."""

    digest: str
    once: bool = False
    """It has leader-only commands, and they are to be run."""
    prepare: bool = True
    """It has to be prepared: false when it comes back to instances that have it."""
    stop_first: str | None = None
    """Why the old release must stop before this one starts; None when both can run at once."""
    hooks: Hooks = ""
    """Which of its hooks run where it is prepared."""


class Rules(msgspec.Struct, frozen=True):
    """From the option settings."""

    policy: str = "AllAtOnce"
    batch_size: int = 100
    batch_is_percentage: bool = True
    percent: int = 10
    """Of the requests, that a new release gets while it is watched."""
    evaluation: float = 300.0
    """Seconds for which it is watched."""


def floor(count: int) -> int:
    """How many of so many instances a change has to reach: half of them, and one at least.

    Fewer, and what the rest of the fleet serves would be decided by a minority of it.
    """
    return max((count + 1) // 2, 1)


def split(members: tuple[Member, ...], target: Target) -> tuple[tuple[Member, ...], tuple[Member, ...]]:
    """Those that a change goes to, and those that stay behind because they cannot be reached.

    Nobody stays behind when too few would be left: then the change begins, and fails, with all. Of those that cannot be
    reached, one that serves the target is neither.
    """
    reached = tuple(member for member in members if member.reachable)
    if len(reached) < floor(len(members)):
        return members, ()
    silent = (member for member in members if not member.reachable)
    return reached, tuple(member for member in silent if member.digest != target.digest)


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
