"""What each balancer is told: the one in front, and the proxy of each server, out of one look at the database.

An environment's instances on this machine are endpoints of the one in front. Those on a server are endpoints of the
server's proxy, and the server is one endpoint in front: so a change of release on a server concerns its proxy alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from .lint import WEIGHT_LIMIT
from .pool import CANARY_SUFFIX, PRESENCE, Endpoint, Files, Health, Pin, Pool, presence_path

MIXED = Health(path=None, interval=1.0, timeout=2.0, unhealthy=2, healthy=1)
"""The check of endpoints that cannot be checked alike, which is: they take a TCP connection."""


@dataclass(frozen=True, slots=True)
class Server:
    """Where the proxy of a server takes requests. `address`: an IP address; None while nobody can tell it.

    `catch_all`: the environment there that gets the requests which name none. Balancers of others know other names.
    """

    address: str | None
    port: int
    catch_all: str | None = None

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
    """The server of the release's static files, if it has any; its state and share are the seat's."""
    weight: int = 1
    pin: Pin | None = None
    """By what testers choose it."""
    boots: bool = False
    """The release is what its server starts when it starts itself."""

    @property
    def serves(self) -> bool:
        """Whether it gets new requests."""
        return self.endpoint.serves

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(self.address, self.port, self.state, self.weight)


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

    @property
    def canary(self) -> Site | None:
        """The seats that testers may choose, as a site without names. They share alike what comes there."""
        chosen = tuple(replace(seat, weight=1, pin=None) for seat in self.seats if seat.pin is not None)
        if not chosen:
            return None
        hosts = frozenset(seat.host for seat in chosen if seat.host is not None)
        return Site(self.id + CANARY_SUFFIX, (), chosen, hosts)

    @property
    def pin(self) -> Pin | None:
        """By what testers choose. None unless some of the seats that serve may be chosen, and others not: so the canary
        is there, and checked, before the first request goes there, and until the last has ended."""
        pins = {seat.pin for seat in self.seats if seat.serves}
        return next((pin for pin in pins if pin is not None), None) if len(pins) > 1 else None

    def on(self, host: str | None) -> tuple[Seat, ...]:
        return tuple(seat for seat in self.seats if seat.host == host)

    def files_of(self, instance: str, port: int) -> Files | None:
        """The file server of the release that answers on that port of the instance."""
        return next((seat.files for seat in self.seats if (seat.instance, seat.port) == (instance, port)), None)

    def serves_on(self, host: str | None) -> bool:
        return any(seat.serves for seat in self.on(host))


@dataclass(frozen=True, slots=True)
class Rows:
    """The pools of the one in front, and those of each server's proxy by the server's id."""

    edge: tuple[Pool, ...]
    servers: Mapping[str, tuple[Pool, ...]]


def rows(sites: Iterable[Site], servers: Mapping[str, Server]) -> Rows:
    """What they are told. Every server that is given has an entry, if only to say that nothing is there any more."""
    sites = tuple(part for site in sites for part in (site, site.canary) if part is not None)
    return Rows(
        edge=tuple(_in_front(site, servers) for site in sites),
        servers={
            host: _on_server(host, [site for site in sites if host in site.hosts], server.catch_all)
            for host, server in servers.items()
        },
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
    files = () if proxies else _files((seat, seat.endpoint) for seat in here)
    return Pool(site.id, site.names, _within(endpoints), health, proxies=proxies, files=files, pin=site.pin)


def _server(site: Site, host: str, server: Server) -> Endpoint | None:
    """The server as one endpoint, with the shares of its instances that serve, however many releases it runs."""
    endpoint = server.endpoint
    shares = {seat.instance: seat.weight for seat in site.on(host) if seat.state == "serving"}
    if endpoint is None:
        return None
    if not shares:
        return replace(endpoint, state="draining")
    return replace(endpoint, weight=sum(shares.values()))


def _within(endpoints: tuple[Endpoint, ...]) -> tuple[Endpoint, ...]:
    """The same shares, within what a weight may be; none that had something has nothing then."""
    most = max((endpoint.weight for endpoint in endpoints), default=0)
    if most <= WEIGHT_LIMIT:
        return endpoints
    return tuple(
        replace(each, weight=max(round(each.weight * WEIGHT_LIMIT / most), 1) if each.weight else 0)
        for each in endpoints
    )


def _on_server(host: str, sites: list[Site], catch_all: str | None) -> tuple[Pool, ...]:
    environments = [site for site in sites if not site.id.endswith(CANARY_SUFFIX)]
    here = {name for site in environments for name in site.names}

    def more(site: Site) -> tuple[str, ...]:
        if site not in environments:
            return ()
        return ("*",) if site.id == catch_all else tuple(name for name in site.also if name not in here)

    return tuple(_behind(site, host, more(site)) for site in sites)


def _behind(site: Site, host: str, more: tuple[str, ...]) -> Pool:
    seats = _released(site.on(host))
    turns = [(seat, _in_turn(seat, seats)) for seat in seats]
    return Pool(
        site.id,
        (*site.names, *more),
        tuple(endpoint for _, endpoint in turns),
        _shared(seats),
        readiness=_readiness(site, host),
        files=_files(turns),
        pin=replace(site, seats=site.on(host)).pin,
    )


def _readiness(site: Site, host: str) -> Literal["ready", "waiting", "leaving"]:
    if site.serves_on(host):
        return "ready"
    return "waiting" if any(seat.state == "serving" for seat in site.on(host)) else "leaving"


def _files(turns: Iterable[tuple[Seat, Endpoint]]) -> tuple[Files, ...]:
    """The file servers of seats, each in the state of its seat's endpoint."""
    return tuple(
        replace(seat.files, endpoint=replace(seat.files.endpoint, state=endpoint.state, weight=seat.weight))
        for seat, endpoint in turns
        if seat.files is not None
    )


def _released(seats: tuple[Seat, ...]) -> tuple[Seat, ...]:
    """Who does not know yet that the server is left, or does not serve yet, is served there: by those that wait for
    their share, else by what served last."""
    if any(seat.serves for seat in seats):
        return seats
    if any(seat.state == "serving" for seat in seats):
        return tuple(replace(seat, weight=1) if seat.state == "serving" else seat for seat in seats)
    last = max((seat.since for seat in seats), default=0)
    return tuple(replace(seat, state="serving", weight=1) if seat.since == last else seat for seat in seats)


def _in_turn(seat: Seat, seats: tuple[Seat, ...]) -> Endpoint:
    """What a server boots stands by until the next release is what it boots: a server that starts anew before that has
    nothing else, and nobody who would tell its proxy."""
    takes_over = any(other.instance == seat.instance and other.state == "serving" for other in seats)
    standby = seat.boots and seat.state == "draining" and takes_over
    return replace(seat.endpoint, state="standby") if standby else seat.endpoint


def _shared(seats: tuple[Seat, ...]) -> Health:
    """The check that all share; while releases with different checks run side by side, a TCP connection.

    One path for both would take the old release out of rotation before the new one is there.
    """
    checks = {seat.health for seat in seats}
    return checks.pop() if len(checks) == 1 else MIXED
