"""Envoy's route table: Host names to pools, and what may be repeated when an endpoint fails.

A GET, HEAD or OPTIONS is repeated on another endpoint until an answer has begun. Anything else is repeated only when
the endpoint cannot have seen it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .listener import ROUTES
from .pool import Pool

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
        "virtual_hosts": [_virtual_host(pool) for pool in pools if pool.hosts],
    }


def _virtual_host(pool: Pool) -> dict[str, Any]:
    safe = {"name": ":method", "string_match": {"safe_regex": {"regex": "GET|HEAD|OPTIONS"}}}
    return {
        "name": pool.name,
        "domains": sorted(host.lower() for host in pool.hosts),
        "routes": [
            {"match": {"prefix": "/", "headers": [safe]}, "route": _action(pool.name, _NOT_ANSWERED)},
            {"match": {"prefix": "/"}, "route": _action(pool.name, _NOT_SEEN)},
        ],
    }


def _action(pool: str, retry_on: str) -> dict[str, Any]:
    return {
        "cluster": pool,
        # By default 15 s. Long requests are the application's business; the listener ends those on which nothing moves.
        "timeout": "0s",
        "retry_policy": {
            "retry_on": retry_on,
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
