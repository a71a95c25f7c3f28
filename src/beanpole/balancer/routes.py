"""Envoy's route table: Host names to pools, and what may be repeated when an endpoint fails.

A GET, HEAD or OPTIONS is repeated on another endpoint until an answer has begun. Anything else is repeated only when
the endpoint cannot have seen it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .cluster import seconds
from .listener import READINESS_ROUTE, ROUTES, UNANSWERED, UNSENT
from .pool import Pool, readiness_path

RETRIES = 3
RETRY_BASE = "0.005s"  # the other endpoint is not the one in trouble, so it is asked almost at once
RETRY_MAX = "0.050s"

_NOT_SEEN = "connect-failure,refused-stream,reset-before-request"
_NOT_ANSWERED = _NOT_SEEN + ",reset"
_TYPE = "type.googleapis.com/envoy."


def route_table(pools: Iterable[Pool]) -> dict[str, Any]:
    """The routes of all pools that have hosts."""
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
        "virtual_hosts": _virtual_hosts(tuple(pools)),
    }


def _virtual_hosts(pools: tuple[Pool, ...]) -> list[dict[str, Any]]:
    found = [_virtual_host(pool) for pool in pools if pool.hosts]
    readiness = [_readiness(pool) for pool in pools if pool.readiness is not None]
    # Balancers in front ask with whatever Host they like.
    everybody = next((each for each in found if "*" in each["domains"]), None)
    if everybody is not None:
        everybody["routes"] = [*readiness, *everybody["routes"]]
    elif readiness:
        found.append({"name": "readiness", "domains": ["*"], "routes": readiness})
    return found


def _readiness(pool: Pool) -> dict[str, Any]:
    route: dict[str, Any] = {"name": READINESS_ROUTE, "match": {"path": readiness_path(pool.name)}}
    if pool.readiness == "leaving":
        return {**route, "direct_response": {"status": 503, "body": {"inline_string": "leaving\n"}}}
    if pool.health.path is None:
        serving = any(endpoint.state == "serving" for endpoint in pool.endpoints)
        status, words = (200, "ready\n") if serving else (503, "nothing serves\n")
        return {**route, "direct_response": {"status": status, "body": {"inline_string": words}}}
    # The application answers: so whoever is in front learns of its end as soon as this proxy does.
    action = {"cluster": pool.name, "timeout": seconds(pool.health.timeout), "prefix_rewrite": pool.health.path}
    return {**route, "route": action}


def _virtual_host(pool: Pool) -> dict[str, Any]:
    safe = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD|OPTIONS"}}}
    return {
        "name": pool.name,
        "domains": sorted(host.lower() for host in pool.hosts),
        "routes": [
            {"match": {"prefix": "/", "headers": [safe]}, "route": _action(pool, _NOT_ANSWERED, UNSENT, UNANSWERED)},
            {"match": {"prefix": "/"}, "route": _action(pool, _NOT_SEEN, UNSENT)},
        ],
    }


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
