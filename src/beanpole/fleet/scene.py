"""What the database says, at one moment, of all that requests can reach."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from beanpole.balancer import pool as pools
from beanpole.balancer.pool import Files, Health, Pin
from beanpole.balancer.rows import Seat, Site
from beanpole.fleet.edges import Front, Listen
from beanpole.store import edges, environments, hosts, instances, pairs
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
    catch_alls: Mapping[str, str] = field(default_factory=dict)
    """By host, the environment that gets the requests there which name none."""

    def has_way(self, host_id: str) -> bool:
        """Whether the edge may reach the server's proxy."""
        host = self.hosts.get(host_id)
        return host is None or not is_within(host)

    def is_new(self, environment_id: str, host_id: str, endpoint: str) -> bool:
        """Whether nothing of the environment serves on that server but that endpoint, `address:port`."""
        site = self.sites.get(environment_id)
        others = site.on(host_id) if site is not None else ()
        return all(seat.state != "serving" or seat.endpoint.key == endpoint for seat in others)


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
        booted = instances.booted(db)
        servers = {host.id: host for host in hosts.listed(db)}
        fronts = _fronts(db, servers, here)
        partners = pairs.open_pairs(db)
        catch_alls = _catch_alls(db, listed)
    members: dict[str, list[Instance]] = defaultdict(list)
    for each in listed:
        members[each.environment_id].append(each)
    checks: dict[str, Health] = {}
    # All edges and proxies know the names of all: who still comes by a former name is served as before.
    domains = dict.fromkeys(front.listen.domain for front in fronts)
    prefixes = {environment.id: environment.cname_prefix for environment in live}
    sites = {}
    for environment in live:
        mine = members[environment.id]
        seats = tuple(_seat(member, each, checks, booted) for member in mine for each in endpoints[member.id])
        # The name of one that is being terminated goes with its last endpoint, before its end is told.
        if seats or environment.status != "Terminating":
            names = _names(environment.cname_prefix, domains)
            also = _names(prefixes.get(partners.get(environment.id, "")), domains)
            on = frozenset(member.host for member in mine if member.host is not None)
            sites[environment.id] = Site(environment.id, names, seats, on, also)
    homes = {member.id: member.host for member in listed}
    used = known | {host for host in homes.values() if host is not None}
    there = {id_: host for id_, host in servers.items() if id_ in used}
    return Scene(version, sites, there, homes, fronts, catch_alls)


def _catch_alls(db: sa.Connection, listed: Iterable[Instance]) -> dict[str, str]:
    """The first environment of each host, for as long as it is there. It is written down who that is: with time all
    instances are replaced. `listed`: in the order in which they were launched."""
    there: dict[str, list[str]] = defaultdict(list)
    for member in listed:
        if member.host is not None:
            there[member.host].append(member.environment_id)
    known = hosts.catch_alls(db)
    found = {host: known[host] if known.get(host) in ids else ids[0] for host, ids in there.items()}
    for host in known.keys() | found.keys():
        if known.get(host) != found.get(host):
            hosts.set_catch_all(db, host, found.get(host))
    return found


def fronts_of(database: Database, here: Listen) -> tuple[Front, ...]:
    """The edges that there are now; names lead to the first."""
    with database.read() as db:
        return _fronts(db, {host.id: host for host in hosts.listed(db)}, here)


def name_of(host: Host) -> str:
    """What SSH connects to, a name or an IP address: its proxy is there, too."""
    return str(msgspec.json.decode(host.address)["host"])


def is_within(host: Host) -> bool:
    """Its proxy is reached from the server alone, on which somebody is in front."""
    return host.app_address is not None and ipaddress.ip_address(host.app_address).is_loopback


def _fronts(db: sa.Connection, servers: Mapping[str, Host], here: Listen) -> tuple[Front, ...]:
    found = []
    for edge in edges.listed(db):
        if edge.host is None:
            found.append(Front(None, "the edge balancer", here))
        elif (host := servers.get(edge.host)) is not None:
            listen = Listen(name_of(host), edge.port, edge.domain)
            found.append(Front(edge.host, f"the edge on {host.name}", listen))
    return tuple(found)


def _names(prefix: str | None, domains: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{prefix}.{domain}" for domain in domains) if prefix else ()


def _seat(member: Instance, endpoint: Endpoint, checks: dict[str, Health], booted: Mapping[str, str]) -> Seat:
    """`checks`: those that were decoded; most endpoints share one. `booted`: what each instance starts at boot."""
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
        booted.get(member.id) == endpoint.digest,
    )


def files_of(address: str, endpoint: Endpoint) -> Files | None:
    """The server of that release's static files on an instance at that address."""
    if endpoint.files_port is None:
        return None
    return Files(pools.Endpoint(address, endpoint.files_port), tuple((endpoint.files_paths or "").split()))
