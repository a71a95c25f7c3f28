"""What the database says, at one moment, of all that requests can reach."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from beanpole.balancer import pool as pools
from beanpole.balancer.pool import Files, Health, Pin
from beanpole.balancer.rows import Seat, Site
from beanpole.fleet.edges import Front, Listen
from beanpole.store import edges, environments, hosts, instances
from beanpole.store.facts import count_up

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.store.database import Database
    from beanpole.store.hosts import Host
    from beanpole.store.instances import Endpoint, Instance


@dataclass(frozen=True)
class Scene:
    """`version`: of two scenes, the one with the higher number is the later. Sites and hosts are by their ids."""

    version: int
    sites: Mapping[str, Site]
    hosts: Mapping[str, Host]
    homes: Mapping[str, str | None]
    """The host of every instance; None: this machine."""
    fronts: tuple[Front, ...]
    """Names lead to the first."""


def scene_of(database: Database, here: Listen, known: set[str]) -> Scene:
    """All environments with their names, and the hosts that have instances. `here`: where the edge on this machine
    listens. `known`: hosts that had instances, and are to be told that these are gone."""
    # Number and content in one transaction, so that the order of numbers is that of contents. One counter does for all
    # balancers: each only wants to see it grow.
    with database.write() as db:
        version = count_up(db, "snapshot")
        live = environments.listed(db)
        listed = instances.listed(db)
        endpoints: dict[str, list[Endpoint]] = defaultdict(list)
        for endpoint in instances.endpoints(db):
            endpoints[endpoint.instance_id].append(endpoint)
        servers = {host.id: host for host in hosts.listed(db)}
        fronts = _fronts(db, servers, here)
    members: dict[str, list[Instance]] = defaultdict(list)
    for each in listed:
        members[each.environment_id].append(each)
    checks: dict[str, Health] = {}
    # All edges and proxies know the names of all: who still comes by a former name is served as before.
    domains = dict.fromkeys(front.listen.domain for front in fronts)
    sites = {}
    for environment in live:
        mine = members[environment.id]
        seats = tuple(_seat(member, each, checks) for member in mine for each in endpoints[member.id])
        # The name of one that is being terminated goes with its last endpoint, before its end is told.
        if seats or environment.status != "Terminating":
            prefix = environment.cname_prefix
            names = tuple(f"{prefix}.{domain}" for domain in domains) if prefix else ()
            there = frozenset(member.host for member in mine if member.host is not None)
            sites[environment.id] = Site(environment.id, names, seats, there)
    homes = {member.id: member.host for member in listed}
    used = known | {host for host in homes.values() if host is not None}
    return Scene(version, sites, {id_: host for id_, host in servers.items() if id_ in used}, homes, fronts)


def fronts_of(database: Database, here: Listen) -> tuple[Front, ...]:
    """The edges that there are now; names lead to the first."""
    with database.read() as db:
        return _fronts(db, {host.id: host for host in hosts.listed(db)}, here)


def name_of(host: Host) -> str:
    """What SSH connects to, a name or an IP address: its proxy is there, too."""
    return str(msgspec.json.decode(host.address)["host"])


def _fronts(db: sa.Connection, servers: Mapping[str, Host], here: Listen) -> tuple[Front, ...]:
    found = []
    for edge in edges.listed(db):
        if edge.host is None:
            found.append(Front(None, "the edge balancer", here))
        elif (host := servers.get(edge.host)) is not None:
            listen = Listen(name_of(host), edge.port, edge.domain)
            found.append(Front(edge.host, f"the edge on {host.name}", listen))
    return tuple(found)


def _seat(member: Instance, endpoint: Endpoint, checks: dict[str, Health]) -> Seat:
    """`checks`: those that were decoded; most endpoints share one."""
    text = endpoint.health
    if text not in checks:
        checks[text] = msgspec.json.decode(text, type=Health)
    return Seat(
        member.id,
        endpoint.address,
        endpoint.port,
        endpoint.state,
        checks[text],
        member.host,
        endpoint.since,
        files_of(member.address, endpoint),
        endpoint.weight,
        msgspec.json.decode(endpoint.pin, type=Pin) if endpoint.pin is not None else None,
    )


def files_of(address: str, endpoint: Endpoint) -> Files | None:
    """The server of that release's static files on an instance at that address."""
    if endpoint.files_port is None:
        return None
    return Files(pools.Endpoint(address, endpoint.files_port), tuple((endpoint.files_paths or "").split()))
