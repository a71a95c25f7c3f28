"""What a handler is given, and how services are told to the gateway.

A `Call` exists only after its signature was verified: a handler never sees a request of somebody unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from botocore.model import ServiceModel


@dataclass(frozen=True, slots=True)
class AccessKey:
    """One key of a user. The secret stays out of every repr, and so out of logs and tracebacks."""

    id: str
    secret: str = field(repr=False)
    user: str


KeyLookup = Callable[[str], AccessKey | None]
"""The key of that id, or None. Called in a worker thread for every request."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: the id of the access key, its user, and the address that the request came from."""

    access_key: str
    user: str
    source: str


@dataclass(frozen=True, slots=True)
class Call:
    """One verified call.

    `params` has the members of the operation's input by their names in the model: times as aware datetimes (UTC), blobs
    as bytes, what was not sent is absent. `region` is what the client signed for. `endpoint` is the base URL as the
    client addressed it, without a slash at its end, for example "http://127.0.0.1:8600".
    """

    service: str
    operation: str
    params: dict[str, Any] = field(repr=False)  # option values may be secrets
    request_id: str
    caller: Caller
    region: str
    endpoint: str


Handler = Callable[[Call], Mapping[str, Any] | None]
"""Does one operation and returns the members of its output. Synchronous: the gateway runs it in a worker thread."""


@dataclass(frozen=True)
class Service:
    """A service of the query protocol: its name in signatures, its model, a handler for each operation that exists."""

    name: str
    model: ServiceModel
    handlers: Mapping[str, Handler]
