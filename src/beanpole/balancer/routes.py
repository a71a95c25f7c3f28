"""Envoy's route table: Host names to pools, and what may be repeated when an endpoint fails.

A GET, HEAD or OPTIONS is repeated on another endpoint until an answer has begun. Anything else is repeated only when
the endpoint cannot have seen it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .cluster import PATH_KEY, seconds
from .listener import DEGRADED, FRONT, READINESS_ROUTE, ROUTES, UNANSWERED, UNSENT, header
from .pool import MISDIRECTED, PRESENCE_SECONDS, Pin, Pool, presence_path, readiness_path

RETRIES = 3
RETRY_BASE = "0.005s"  # the other endpoint is not the one in trouble, so it is asked almost at once
RETRY_MAX = "0.050s"

_NOT_SEEN = "connect-failure,refused-stream,reset-before-request"
_NOT_ANSWERED = _NOT_SEEN + ",reset"
_TYPE = "type.googleapis.com/envoy."
_ANOTHER_PRIORITY = {
    "name": "envoy.retry_priorities.previous_priorities",
    "typed_config": {
        "@type": _TYPE + "extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
        "update_frequency": 1,
    },
}
# What is between us and the proxies of servers is nothing for clients.
_BETWEEN = {"request_headers_to_add": [header(FRONT)], "response_headers_to_remove": [UNSENT, UNANSWERED, DEGRADED]}


def route_table(pools: Iterable[Pool], *, inner: bool = False) -> dict[str, Any]:
    """The routes of all pools that have hosts; `inner`: of the proxy of a server, whom others ask about its pools."""
    return {
        "@type": _TYPE + "config.route.v3.RouteConfiguration",
        "name": ROUTES,
        # A Host with a port is accepted and reaches the application unchanged: redirects must lead back here.
        "ignore_port_in_host_matching": True,
        "request_headers_to_add": [
            {
                "header": {"key": "x-forwarded-for", "value": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"},
                "append_action": "APPEND_IF_EXISTS_OR_ADD",
            }
        ],
        "virtual_hosts": _virtual_hosts(tuple(pools), inner=inner),
    }


def _virtual_hosts(pools: tuple[Pool, ...], *, inner: bool) -> list[dict[str, Any]]:
    named = {pool.name: pool for pool in pools}
    found = [_virtual_host(pool, named.get(pool.canary_name)) for pool in pools if pool.hosts]
    if not inner:
        return found
    checks = [
        route
        for pool in pools
        if pool.readiness is not None
        for route in (
            _checked(pool, readiness_path(pool.name), pool.health.timeout),
            _checked(pool, presence_path(pool.name), min(pool.health.timeout, PRESENCE_SECONDS)),
        )
    ]
    # Whoever asks about a pool that is elsewhere must not hear an application that answers at every path.
    checks.append(_said({"prefix": "/.beanpole/"}, MISDIRECTED, "not here"))
    # Balancers in front ask with whatever Host they like.
    everybody = next((each for each in found if "*" in each["domains"]), None)
    if everybody is not None:
        everybody["routes"] = [*checks, *everybody["routes"]]
    else:
        found.append({"name": "readiness", "domains": ["*"], "routes": checks})
    return found


def _checked(pool: Pool, path: str, limit: float) -> dict[str, Any]:
    match = {"path": path}
    if pool.readiness == "leaving":
        return _said(match, 503, "leaving")
    if pool.readiness == "waiting" and path == readiness_path(pool.name):
        return _said(match, 503, "waiting")
    if pool.health.path is None:
        serving = any(endpoint.serves for endpoint in pool.endpoints)
        return _said(match, 200, "ready") if serving else _said(match, 503, "nothing serves")
    # The application answers: so whoever is in front learns of its end as soon as this proxy does.
    action = {"cluster": pool.name, "timeout": seconds(limit), "prefix_rewrite": pool.health.path}
    return {"name": READINESS_ROUTE, "match": match, "route": action}


def _said(match: dict[str, str], status: int, words: str) -> dict[str, Any]:
    """What the proxy answers by itself."""
    route = {
        "name": READINESS_ROUTE,
        "match": match,
        "direct_response": {"status": status, "body": {"inline_string": f"{words}\n"}},
    }
    return route if status != 503 else {**route, "response_headers_to_add": [header(DEGRADED)]}


def _virtual_host(pool: Pool, pinned: Pool | None) -> dict[str, Any]:
    """`pinned`: the pool's canary."""
    marks = _marks(pool.pin) if pool.pin is not None else []
    return {
        "name": pool.name,
        "domains": sorted(host.lower() for host in pool.hosts),
        "routes": [*(route for mark in marks if pinned for route in _routes(pinned, mark)), *_routes(pool)],
        **(_BETWEEN if pool.proxies else {}),
    }


def _routes(pool: Pool, *marks: dict[str, Any]) -> list[dict[str, Any]]:
    """To that pool, of requests that have all of these headers."""
    safe = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD|OPTIONS"}}}
    marked = {"headers": list(marks)} if marks else {}
    return [
        *(_files(pool, path, marked) for path in pool.paths),
        {
            "match": {"prefix": "/", "headers": [*marks, safe]},
            "route": _action(pool, _NOT_ANSWERED, UNSENT, UNANSWERED),
        },
        {"match": {"prefix": "/", **marked}, "route": _action(pool, _NOT_SEEN, UNSENT)},
    ]


def _marks(pin: Pin) -> list[dict[str, Any]]:
    """Each of them is enough."""
    found = []
    if pin.header is not None:
        name, value = pin.header
        found.append({"name": name.lower(), "string_match": {"exact": value}})
    if pin.cookie is not None:
        one = re.escape("=".join(pin.cookie))
        found.append({"name": "cookie", "string_match": {"safe_regex": {"regex": f"(.*; *)?{one}(;.*)?"}}})
    return found


def _files(pool: Pool, path: str, marked: dict[str, Any]) -> dict[str, Any]:
    """Whatever is asked of a file server may be asked of another: it changes nothing. Those that stand by come second:
    for they are all taken for well, a retry has to leave the others out."""
    wanted = {"filter_metadata": {"envoy.lb": {PATH_KEY: path}}}
    action = {**_action(pool, _NOT_ANSWERED), "cluster": pool.files_name, "metadata_match": wanted}
    action["retry_policy"] = {**action["retry_policy"], "retry_priority": _ANOTHER_PRIORITY}
    where = {"prefix": "/"} if path == "/" else {"path_separated_prefix": path}
    return {"match": {**where, **marked}, "route": action}


def _action(pool: Pool, retry_on: str, *marks: str) -> dict[str, Any]:
    """`marks`: headers of a server's proxy that say of an error of its own that it may be repeated elsewhere."""
    marked = [{"name": mark, "present_match": True} for mark in marks] if pool.proxies else []
    return {
        "cluster": pool.name,
        # By default 15 s. Long requests are the application's business; the listener ends those on which nothing moves.
        "timeout": "0s",
        "retry_policy": {
            "retry_on": f"{retry_on},retriable-headers" if marked else retry_on,
            **({"retriable_headers": marked} if marked else {}),
            "num_retries": RETRIES,
            "retry_host_predicate": [
                {
                    "name": "envoy.retry_host_predicates.previous_hosts",
                    "typed_config": {"@type": _TYPE + "extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"},
                }
            ],
            "host_selection_retry_max_attempts": RETRIES,
            "retry_back_off": {"base_interval": RETRY_BASE, "max_interval": RETRY_MAX},
        },
    }
