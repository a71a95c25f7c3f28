"""What a balancer is told: pools of endpoints, the Host names that lead to them, and how their health is checked.

One environment is one pool. The values say nothing of Envoy; `snapshot` turns them into its files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One process that answers requests, at an IP address (v4 or v6, never a name) and a TCP port.

    A draining endpoint gets no new request and finishes those that it has; it must stay in its pool until it is idle,
    because its requests cannot be counted any more once it is gone. A standby endpoint drains as well, but for the time
    in which no serving one of the pool is well. `weight` (1 to 128) is its share among the serving endpoints of the
    pool; 0 means: checked like the others, no requests yet.
    """

    address: str
    port: int
    state: Literal["serving", "draining", "standby"] = "serving"
    weight: int = 1

    @property
    def serves(self) -> bool:
        """Whether it gets new requests."""
        return self.state == "serving" and self.weight > 0

    @property
    def key(self) -> str:
        """`address:port` as the agent reports it (`[address]:port` for IPv6)."""
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class Health:
    """How an endpoint is checked. `path` None means: it takes a TCP connection. Seconds; both ends of a range count.

    A new endpoint serves after its first passing check. Later, `unhealthy` failures in a row take it out and `healthy`
    passes bring it back. The defaults are Elastic Beanstalk's.
    """

    path: str | None = "/"
    codes: tuple[tuple[int, int], ...] = ((200, 200),)
    interval: float = 15.0
    timeout: float = 5.0
    unhealthy: int = 5
    healthy: int = 3


@dataclass(frozen=True, slots=True)
class Files:
    """One process that serves static files, beside an endpoint and in the same state, for requests below `paths`."""

    endpoint: Endpoint
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pin:
    """Requests with that header, or with that cookie, go to the pool's canary. Both are (name, value)."""

    header: tuple[str, str] | None
    cookie: tuple[str, str] | None = None


CANARY_SUFFIX = ".canary"
"""Ends the name of a pool's canary: a pool without hosts, of those of its endpoints that testers may choose."""

FILES_SUFFIX = ".files"
"""Ends the name under which a balancer knows the file servers of a pool. No pool is named so."""


@dataclass(frozen=True, slots=True)
class Pool:
    """The endpoints behind some Host names (without port; `*.example.com` and `*` are allowed).

    A pool without hosts is checked but gets no request: so a new environment is warm before names lead to it.
    `drain_seconds` is the longest that whoever removes an endpoint waits for it to become idle.

    `readiness` is for the proxy of a server, which has others in front of it: asked at `readiness_path`, it answers as
    the application's health path does ("ready"), or 503 so that nobody sends more ("leaving"). `proxies` is for the one
    in front: the endpoints are such proxies, which it checks with PRESENCE at their `presence_path`, and what one of
    them could not bring to its application goes to another.

    `files` are asked instead of the endpoints for what is below a path of a serving one. They are not checked: nothing
    is served there but files, and who finds none listening asks another, the ones that stand by last.

    `pin`: whose requests go to the pool's canary, where there is one. "waiting" as readiness: our own balancer in front
    finds the pool in order and sends nothing, and others are told to send nothing.
    """

    name: str
    hosts: tuple[str, ...]
    endpoints: tuple[Endpoint, ...]
    health: Health = Health()
    drain_seconds: float = 20.0
    readiness: Literal["ready", "waiting", "leaving"] | None = None
    proxies: bool = False
    files: tuple[Files, ...] = ()
    pin: Pin | None = None

    @property
    def canary_name(self) -> str:
        return self.name + CANARY_SUFFIX

    @property
    def files_name(self) -> str:
        return self.name + FILES_SUFFIX

    @property
    def paths(self) -> tuple[str, ...]:
        """Those below which files are asked for, the longer ones of each other first."""
        serving = {path for each in self.files if each.endpoint.serves for path in each.paths}
        return tuple(sorted(serving, key=lambda path: (-len(path), path)))


def readiness_path(pool: str) -> str:
    """Where the proxy of a server is asked whether that pool shall get requests through it, whatever the Host."""
    return f"/.beanpole/ready/{pool}"


def presence_path(pool: str) -> str:
    """Where our own balancer in front asks the proxy of a server whether it is there and has that pool.

    What the application answers there does not count, since the proxy judges its health as its settings say: one that
    is slow is no reason to leave a server. The proxy adds a header when it has nobody for the pool at the moment, and
    the one in front sends to it only when no other server has somebody.
    """
    return f"/.beanpole/present/{pool}"


MISDIRECTED = 421
"""What the proxy of a server says, at those paths, of a pool that it does not have."""

PRESENCE_SECONDS = 1.0
"""After which the proxy says by itself that an application is slow. Less than what the one in front waits for."""

PRESENCE = Health(
    codes=((100, MISDIRECTED - 1), (MISDIRECTED + 1, 599)),
    # A server that is cut off or frozen is found out within 3 to 6 s: it gets a second chance soon after the first.
    interval=1.0,
    timeout=2.0,
    unhealthy=2,
    healthy=1,
)
"""How such a proxy is checked, at the path that is still to be filled in."""


@dataclass(frozen=True, slots=True)
class Edge:
    """Where the balancer listens and how it introduces itself to those who ask for an unknown Host.

    `domain` is the suffix of environments' names (None where Hosts are not made from names). `trusted_proxies` is how
    many proxies stand in front: with 0 the X-Forwarded-* headers of clients are not believed. It should stay the same
    for a balancer's life: a changed listener closes idle connections. `inner`: it is the proxy of a server, and tells
    the one in front of it, by a header, which of its errors never reached the application.
    """

    address: str = "127.0.0.1"
    port: int = 8080
    domain: str | None = "localhost"
    trusted_proxies: int = 0
    inner: bool = False
