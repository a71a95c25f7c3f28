"""What no balancer may be told: everything that Envoy would refuse, or worse, would accept and answer with errors.

Envoy takes a route to a cluster that does not exist and answers 503 from then on, so it is found here. (Its own option
for that refuses the whole route table while any cluster still warms up after a restart.)
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

from .pool import FILES_SUFFIX, Edge, Endpoint, Health, Pool

WEIGHT_LIMIT = 128  # per endpoint: fine enough for 1 %, small enough for Envoy's schedule
SECONDS_LIMIT = 3600.0  # for any interval or time-out: above it somebody mixed up milliseconds

# Names become file names and parts of Envoy's statistics, where ':' would be replaced.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
_HOST = re.compile(rf"\*|(?:\*\.)?{_LABEL}(?:\.{_LABEL})*", re.IGNORECASE)
_PATH = re.compile(r"/[\x21-\x7e]*")
_FILES_PATH = re.compile(r"/|(?:/[^\x00-\x20\x7f-\U0010ffff%?#/]+)+")  # Envoy refuses a table with another one


class BadPools(ValueError):
    """Pools that cannot be served. `problems` has one sentence for each thing to correct."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def lint(pools: Iterable[Pool], edge: Edge | None = None) -> tuple[str, ...]:
    """All that is wrong with the pools (and the edge), one sentence each; empty when they can be served."""
    pools = tuple(pools)
    problems: list[str] = list(_edge(edge)) if edge is not None else []
    problems += _unique(pools)
    for pool in pools:
        problems += (f"pool {pool.name}: {problem}" for problem in _pool(pool))
    return tuple(problems)


def dangling(routed: Iterable[str], known: Iterable[str]) -> tuple[str, ...]:
    """Names that routes lead to although there is no such cluster, sorted."""
    return tuple(sorted(set(routed) - set(known)))


def _edge(edge: Edge) -> Iterator[str]:
    if not _is_ip(edge.address):
        yield f"the balancer cannot listen on {edge.address!r}: it must be an IP address"
    if not 1 <= edge.port <= 65535:
        yield f"the balancer cannot listen on port {edge.port}: ports are 1 to 65535"
    if edge.domain is not None and (edge.domain.startswith("*") or not _HOST.fullmatch(edge.domain)):
        yield f"{edge.domain!r} is not a domain"
    if not 0 <= edge.trusted_proxies <= 16:
        yield f"{edge.trusted_proxies} trusted proxies: 0 to 16 are possible"


def _unique(pools: tuple[Pool, ...]) -> Iterator[str]:
    names: set[str] = set()
    owners: dict[str, str] = {}
    for pool in pools:
        if pool.name.endswith(FILES_SUFFIX):
            yield f"no pool can be named {pool.name}: file servers are"
        if pool.name in names:
            yield f"two pools are named {pool.name}"
        names.add(pool.name)
        for host in pool.hosts:
            owner = owners.setdefault(host.lower(), pool.name)
            if owner != pool.name:
                yield f"the Host {host} leads to two pools, {owner} and {pool.name}"


def _pool(pool: Pool) -> Iterator[str]:
    if not _NAME.fullmatch(pool.name):
        yield "a name has 1 to 100 letters, digits, '.', '_' or '-' and starts with a letter or digit"
    for host in pool.hosts:
        if len(host) > 253 or not _HOST.fullmatch(host):
            yield f"{host!r} is not a Host name (no port, no path; '*' only as the first label)"
    if len({host.lower() for host in pool.hosts}) != len(pool.hosts):
        yield "a Host is listed twice"
    keys: set[tuple[str, int]] = set()
    for endpoint in pool.endpoints:
        yield from _endpoint(endpoint)
        key = (endpoint.address, endpoint.port)
        if key in keys:
            yield f"the endpoint {endpoint.key} is listed twice"
        keys.add(key)
    for files in pool.files:
        yield from _endpoint(files.endpoint)
        key = (files.endpoint.address, files.endpoint.port)
        if key in keys:
            yield f"the endpoint {files.endpoint.key} is listed twice"
        keys.add(key)
        for path in files.paths:
            if not _FILES_PATH.fullmatch(path):
                yield f"the path {path!r} of static files must start with '/', not end so, and be plain"
    yield from _health(pool.health)


def _endpoint(endpoint: Endpoint) -> Iterator[str]:
    if not _is_ip(endpoint.address):
        yield f"the endpoint's address {endpoint.address!r} is not an IP address"
    elif _canonical(endpoint.address) != endpoint.address:
        # Envoy reports the short form; an endpoint would not be found under the name that it was given.
        yield f"the endpoint's address {endpoint.address} must be written {_canonical(endpoint.address)}"
    if not 1 <= endpoint.port <= 65535:
        yield f"the endpoint {endpoint.key} has a bad port: ports are 1 to 65535"
    if endpoint.state not in ("serving", "draining", "standby"):
        yield f"the endpoint {endpoint.key} has an unknown state {endpoint.state!r}"
    if not 0 <= endpoint.weight <= WEIGHT_LIMIT:
        yield f"the endpoint {endpoint.key} has weight {endpoint.weight}: 0 to {WEIGHT_LIMIT} are possible"


def _health(health: Health) -> Iterator[str]:
    if health.path is not None and not _PATH.fullmatch(health.path):
        yield f"the health path {health.path!r} must start with '/' and have no spaces"
    if health.path is not None and not health.codes:
        yield "a health path without status codes can never pass"
    for low, high in health.codes:
        if not 100 <= low <= high <= 599:
            yield f"the health codes {low}-{high} are not a range within 100-599"
    for words, seconds in (("interval", health.interval), ("timeout", health.timeout)):
        if not 0.05 <= seconds <= SECONDS_LIMIT:
            yield f"the health {words} of {seconds} s is not within 0.05 to {SECONDS_LIMIT:.0f} s"
    for words, count in (("unhealthy", health.unhealthy), ("healthy", health.healthy)):
        if not 1 <= count <= 100:
            yield f"the {words} threshold {count} is not within 1 to 100"


def _is_ip(text: str) -> bool:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    return getattr(address, "scope_id", None) is None


def _canonical(text: str) -> str:
    return ipaddress.ip_address(text).compressed
