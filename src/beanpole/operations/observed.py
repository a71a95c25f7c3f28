"""The fleet of an environment as it is now: what plans are made from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.platforms.hooks import HOOKS
from beanpole.policies.change import Member, Target
from beanpole.store import instances

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.operations.work import Brought
    from beanpole.platforms.hooks import Hooks


def members(db: sa.Connection, environment_id: str) -> tuple[Member, ...]:
    """Every instance that is not on its way out, oldest first, with the release that gets its requests.

    A release that was lost on its instance is none: the watch removes its endpoint (see reconcile/watch.py). Nor is one
    that shares them with another, as when an operation ended between the two: one of them has to go.
    """
    serving: dict[str, set[str]] = {}
    for endpoint in instances.endpoints(db, environment_id):
        if endpoint.state == "serving":
            serving.setdefault(endpoint.instance_id, set()).add(endpoint.digest)
    alone = {name: digest for name, (digest, *others) in serving.items() if not others}
    return tuple(
        Member(instance.id, alone.get(instance.id), reachable=instance.silent_since is None)
        for instance in instances.listed(db, environment_id)
        if instance.state != "terminating"
    )


def target(release: Brought, *, prepare: bool = True) -> Target:
    """`prepare=False`: it comes back to instances that have it, so no command of the user runs."""
    content = release.content
    leader = any(command.leader_only for command in content.commands)
    hooks: Hooks = HOOKS if content.hooks else ""
    once = prepare and leader
    return Target(release.digest, once=once, prepare=prepare, stop_first=content.stop_first, hooks=hooks)
