"""Where an environment's instances live, and the servers that there are, as the pure placement wants to know them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from beanpole.options.setting import Key
from beanpole.policies import placement
from beanpole.policies.placement import INSTANCE_MEMORY, Host
from beanpole.store import environments, hosts, instances

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    import sqlalchemy as sa

    from beanpole.options.settings import Settings

FLEET = "beanpole:fleet"
LOCATION: Key = (FLEET, "Location", "")
LOCAL, SSH = "local", "ssh"


def location_of(stored: Mapping[Key, str]) -> str:
    """Of an environment with these stored settings: it was written down when the environment was created.

    One from before there were servers has nothing written down, and lives on this machine.
    """
    return stored.get(LOCATION, LOCAL)


def lives_on_servers(db: sa.Connection, environment_id: str) -> bool:
    return location_of(environments.options(db, environment_id)) == SSH


def place(
    db: sa.Connection,
    environment_id: str,
    settings: Settings,
    number: int,
    goal: int,
    beside: Collection[str] = (),
) -> tuple[Host, ...]:
    """Servers for `number` more instances of an environment that is to have `goal`. Raises placement.NoPlace.

    `beside`: instances that leave afterwards; their servers take a second one until then.
    """
    labels = placement.labels_of(settings.text(FLEET, "Labels"))
    homes = {each.host for each in instances.listed(db, environment_id) if each.id in beside and each.host is not None}
    return placement.place(known(db), environment_id, labels, number, goal, homes)


def known(db: sa.Connection) -> list[Host]:
    """Every server, in the order in which they were added."""
    there: dict[str, list[instances.Instance]] = {}
    for instance in instances.listed(db):
        if instance.host is not None:
            there.setdefault(instance.host, []).append(instance)
    return [_host(host, there.get(host.id, [])) for host in hosts.listed(db)]


def _host(host: hosts.Host, there: list[instances.Instance]) -> Host:
    facts: dict[str, Any] = json.loads(host.facts) if host.facts else {}
    available, since = facts.get("memory_available"), host.checked_at or 0
    later = sum(instance.launched_at > since for instance in there)
    return Host(
        id=host.id,
        name=host.name,
        labels=tuple(json.loads(host.labels)),
        ready=host.state == "ready",
        memory=available - later * INSTANCE_MEMORY if available is not None else None,
        environments=tuple(instance.environment_id for instance in there),
    )
