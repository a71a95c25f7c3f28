"""What each balancer is told: the one in front, and the proxy of each server, out of one look at the database.

An environment's instances on this machine are endpoints of the one in front. Those on a server are endpoints of the
server's proxy, and the server is one endpoint in front: so a change of release on a server concerns its proxy alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from .lint import WEIGHT_LIMIT
from .pool import PRESENCE, Endpoint, Files, Health, Pool, presence_path

MIXED = Health(path=None, interval=1.0, timeout=2.0, unhealthy=2, healthy=1)
"""The check of endpoints that cannot be checked alike, which is: they take a TCP connection."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where the proxy of a server takes requests. `address`: an IP address; None while nobody can tell it."""

    address: str | None
    port: int

    @property
    def endpoint(self) -> Endpoint | None:
        return Endpoint(self.address, self.port) if self.address is not None else None


@dataclass(frozen=True, slots=True)
class Seat:
    """One release on one instance: where it answers on its machine, and how it is checked there."""

    instance: str
    address: str
    port: int
    state: Literal["serving", "draining"]
    health: Health
    host: str | None = None
    """Id of the server; None: the machine of the balancer in front."""
    since: int = 0
    """When it entered that state."""
    files: Files | None = None
    """The server of the release's static files, if it has any; its state is the seat's."""

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.address, self.port, self.state)


@dataclass(frozen=True, slots=True)
class Site:
    """One environment. `names`: its Host names; `hosts`: servers that it has instances on, serving or not yet."""

    id: str
    names: tuple[str, ...]
    seats: tuple[Seat, ...]
    hosts: frozenset[str] = frozenset()
    also: tuple[str, ...] = ()
    """Names that lead to it in a moment, or led a moment ago. Proxies of servers take requests by them: whoever is in
    front may have learnt of an exchange of names before them, or after."""

    def on(self, host: str | None) -> tuple[Seat, ...]:
        return tuple(seat for seat in self.seats if seat.host == host)

    def files_of(self, instance: str, port: int) -> Files | None:
        """The file server of the release that answers on that port of the instance."""
        return next((seat.files for seat in self.seats if (seat.instance, seat.port) == (instance, port)), None)

    def serves_on(self, host: str | None) -> bool:
        return any(seat.state == "serving" for seat in self.on(host))


@dataclass(frozen=True, slots=True)
class Rows:
    """The pools of the one in front, and those of each server's proxy by the server's id."""

    edge: tuple[Pool, ...]
    servers: Mapping[str, tuple[Pool, ...]]


def rows(sites: Iterable[Site], servers: Mapping[str, Server]) -> Rows:
    """What they are told. Every server that is given has an entry, if only to say that nothing is there any more."""
    sites = tuple(sites)
    return Rows(
        edge=tuple(_in_front(site, servers) for site in sites),
        servers={host: _on_server(host, [site for site in sites if host in site.hosts]) for host in servers},
    )


def _in_front(site: Site, servers: Mapping[str, Server]) -> Pool:
    here = site.on(None)
    there = tuple(
        endpoint
        for host in sorted({seat.host for seat in site.seats if seat.host is not None})
        if host in servers and (endpoint := _server(site, host, servers[host])) is not None
    )
    if here or not site.hosts:
        health = MIXED if there else _shared(here)
    else:
        health = replace(PRESENCE, path=presence_path(site.id))
    endpoints = (*(seat.endpoint for seat in here), *there)
    proxies = bool(there or (site.hosts and not here))
    # Proxies of servers ask the file servers there; one row must not ask both.
    return Pool(site.id, site.names, endpoints, health, proxies=proxies, files=() if proxies else _files(here))


def _server(site: Site, host: str, server: Server) -> Endpoint | None:
    """The server as one endpoint, with a share for each of its instances that serves, however many releases it runs."""
    endpoint = server.endpoint
    serving = {seat.instance for seat in site.on(host) if seat.state == "serving"}
    if endpoint is None:
        return None
    if not serving:
        return replace(endpoint, state="draining")
    return replace(endpoint, weight=min(len(serving), WEIGHT_LIMIT))


def _on_server(host: str, sites: list[Site]) -> tuple[Pool, ...]:
    """An environment that has the server for itself gets every request there: balancers of others know other names."""
    alone = ("*",) if len(sites) == 1 else ()
    here = {name for site in sites for name in site.names}
    return tuple(_behind(site, host, alone or tuple(each for each in site.also if each not in here)) for site in sites)


def _behind(site: Site, host: str, more: tuple[str, ...]) -> Pool:
    seats = _released(site.on(host))
    return Pool(
        site.id,
        (*site.names, *more),
        tuple(seat.endpoint for seat in seats),
        _shared(seats),
        readiness="ready" if site.serves_on(host) else "leaving",
        files=_files(seats),
    )


def _files(seats: tuple[Seat, ...]) -> tuple[Files, ...]:
    return tuple(
        replace(seat.files, endpoint=replace(seat.files.endpoint, state=seat.state))
        for seat in seats
        if seat.files is not None
    )


def _released(seats: tuple[Seat, ...]) -> tuple[Seat, ...]:
    """Who does not know yet that the server is left goes on being served there, by what served last."""
    if any(seat.state == "serving" for seat in seats):
        return seats
    last = max((seat.since for seat in seats), default=0)
    return tuple(replace(seat, state="serving") if seat.since == last else seat for seat in seats)


def _shared(seats: tuple[Seat, ...]) -> Health:
    """The check that all share; while releases with different checks run side by side, a TCP connection.

    One path for both would take the old release out of rotation before the new one is there.
    """
    checks = {seat.health for seat in seats}
    return checks.pop() if len(checks) == 1 else MIXED
