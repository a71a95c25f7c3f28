"""Envoy's cluster and endpoints of one pool.

The settings lost no request when endpoints were added, drained, removed and killed under load; each that differs from
Envoy's default says why.
"""

from __future__ import annotations

from typing import Any

from .bootstrap import watched
from .pool import Endpoint, Health, Pool

CONNECT_SECONDS = 1.0  # to an endpoint on this machine or in this data centre; a retry goes to another one
# Applications keep idle connections for 2 s (gunicorn), 5 s (uvicorn, node) or longer. One that closes a connection
# just when a request is written to it loses that request, and nobody may repeat a POST; a client that posts every 5 s
# meets that all the time. So a connection takes no further request after this age. (Envoy's limit for idle connections
# would do for that, but it also ends health checks that take longer.)
UPSTREAM_AGE_SECONDS = 1.0
RECHECK_SECONDS = 1.0  # between the checks of an endpoint that is not healthy: it should be back soon
DOUBT_SECONDS = 0.5  # from a server's first failed check to the one that decides
# Between pings on a connection to a server's proxy, and for the answer: a server that vanishes without a word, or one
# whose proxy is frozen, costs no more. Half as long would cut those of a server whose processors are just all busy.
PING_SECONDS = 1.0
PONG_SECONDS = 3.0
# Servers that have nobody for the pool get requests only when all are so. By default they get some as soon as more than
# a third is; this says: not as long as 1 % is well.
OVERPROVISIONING = 10_000
# When no server at all answers its short checks, it is rather the one who asks that is too busy: requests go out as if
# all were well. (Proxies answer by themselves when there is nobody behind them.)
NOBODY_PERCENT = 1.0
CONCURRENCY_LIMIT = 100_000  # connections, requests, retries of one pool: the applications' own limits come first

PATH_KEY = "path"
"""By which routes and file servers find each other."""

_TYPE = "type.googleapis.com/envoy."


def eds_file(pool: str) -> str:
    """Where the endpoints of that pool are, one file a pool: a change of one environment concerns no other."""
    return f"eds/{pool}.json"


def cluster(pool: Pool) -> dict[str, Any]:
    """The cluster of that pool; its endpoints are apart."""
    return {
        "@type": _TYPE + "config.cluster.v3.Cluster",
        "name": pool.name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": watched(eds_file(pool.name))},
        "connect_timeout": seconds(CONNECT_SECONDS),
        "lb_policy": "ROUND_ROBIN",
        # By default an endpoint that still passes its checks goes on getting requests after it was removed.
        "ignore_health_on_host_removal": True,
        "common_lb_config": {
            # By default the first healthy result of a new endpoint reaches the workers a second late.
            "update_merge_window": "0s",
            # By default requests go to unhealthy endpoints, too, once half of them are.
            "healthy_panic_threshold": {"value": NOBODY_PERCENT if pool.proxies else 0},
        },
        "circuit_breakers": _limits(),
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _TYPE + "extensions.upstreams.http.v3.HttpProtocolOptions",
                **(_to_proxies() if pool.proxies else _to_applications()),
            }
        },
        "health_checks": [_check(pool.health, doubts=pool.proxies)],
    }


def files_cluster(pool: Pool) -> dict[str, Any]:
    """The cluster of that pool's file servers. A route asks those of them that have its path.

    They are not checked: who finds one gone asks another, and one that stands by when none of the others is there.
    """
    return {
        "@type": _TYPE + "config.cluster.v3.Cluster",
        "name": pool.files_name,
        "type": "EDS",
        "eds_cluster_config": {"eds_config": watched(eds_file(pool.files_name))},
        "connect_timeout": seconds(CONNECT_SECONDS),
        "lb_policy": "ROUND_ROBIN",
        "common_lb_config": {"update_merge_window": "0s", "healthy_panic_threshold": {"value": 0}},
        "lb_subset_config": {
            "fallback_policy": "NO_FALLBACK",
            "subset_selectors": [{"keys": [PATH_KEY]}],
            "list_as_any": True,
        },
        "circuit_breakers": _limits(),
    }


def files_assignment(pool: Pool) -> dict[str, Any]:
    """The file servers of that pool, each with its paths, in a fixed order."""
    files = sorted(pool.files, key=lambda each: (each.endpoint.address, each.endpoint.port))
    told = [
        (
            each.endpoint,
            {**_endpoint(each.endpoint), "metadata": {"filter_metadata": {"envoy.lb": {PATH_KEY: sorted(each.paths)}}}},
        )
        for each in files
    ]
    return {
        "@type": _TYPE + "config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": pool.files_name,
        "endpoints": _by_turn(told),
    }


def _limits() -> dict[str, Any]:
    return {
        "thresholds": [
            {
                "max_connections": CONCURRENCY_LIMIT,
                "max_pending_requests": CONCURRENCY_LIMIT,
                "max_requests": CONCURRENCY_LIMIT,
                # By default 3 at once: the requests in flight of a killed endpoint are more.
                "max_retries": CONCURRENCY_LIMIT,
            }
        ]
    }


def _to_applications() -> dict[str, Any]:
    return {
        "common_http_protocol_options": {"max_connection_duration": seconds(UPSTREAM_AGE_SECONDS)},
        "explicit_http_config": {"http_protocol_options": {}},
    }


def _to_proxies() -> dict[str, Any]:
    """HTTP/2, which has pings.

    A request on which a frozen server sits looks like one to a slow application, and kernels answer TCP's own probes
    for a process that is frozen. A proxy that answers no ping has its connections cut: so a GET is repeated on another
    server, and the client of a POST is told. (Envoy's option to cut connections when a check fails is for TCP alone.)
    A proxy that closes a connection says which requests it has not begun, so no age is needed.
    """
    pings = {"interval": seconds(PING_SECONDS), "timeout": seconds(PONG_SECONDS)}
    return {"explicit_http_config": {"http2_protocol_options": {"connection_keepalive": pings, "allow_connect": True}}}


def assignment(pool: Pool) -> dict[str, Any]:
    """The endpoints of that pool, in a fixed order."""
    endpoints = sorted(pool.endpoints, key=lambda endpoint: (endpoint.address, endpoint.port))
    return {
        "@type": _TYPE + "config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": pool.name,
        "endpoints": _by_turn([(endpoint, _endpoint(endpoint)) for endpoint in endpoints]),
        **({"policy": {"overprovisioning_factor": OVERPROVISIONING}} if pool.proxies else {}),
    }


def _by_turn(told: list[tuple[Endpoint, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Those that stand by come after all others."""
    first = [words for endpoint, words in told if endpoint.state != "standby"]
    standby = [words for endpoint, words in told if endpoint.state == "standby"]
    return [
        *([{"lb_endpoints": first}] if told else []),
        *([{"lb_endpoints": standby, "priority": 1}] if standby else []),
    ]


def seconds(value: float) -> str:
    """A duration as protobuf's JSON writes it."""
    return f"{value:.3f}".rstrip("0").rstrip(".") + "s"


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    # Envoy knows no weight 0; an endpoint without a share is checked and gets nothing, as when it drains.
    used = endpoint.serves or endpoint.state == "standby"
    return {
        "endpoint": {"address": {"socket_address": {"address": endpoint.address, "port_value": endpoint.port}}},
        "health_status": "HEALTHY" if used else "DRAINING",
        "load_balancing_weight": max(endpoint.weight, 1),
    }


def _check(health: Health, *, doubts: bool) -> dict[str, Any]:
    check: dict[str, Any] = {
        "timeout": seconds(health.timeout),
        "interval": seconds(health.interval),
        # By default a pool without traffic is checked once a minute.
        "no_traffic_interval": seconds(health.interval),
        "unhealthy_interval": seconds(min(health.interval, RECHECK_SECONDS)),
        **({"unhealthy_edge_interval": seconds(min(health.interval, DOUBT_SECONDS))} if doubts else {}),
        "unhealthy_threshold": health.unhealthy,
        "healthy_threshold": health.healthy,
        # An application that closes an idle connection must not look like one that fails.
        "reuse_connection": False,
    }
    if health.path is None:
        return {**check, "tcp_health_check": {}}
    return {
        **check,
        "http_health_check": {
            # The same for every pool and for ever: a cluster whose check changed is built anew.
            "host": "localhost",
            "path": health.path,
            "expected_statuses": [{"start": low, "end": high + 1} for low, high in health.codes],
            # By default one unexpected status takes an endpoint out whatever the threshold is.
            "retriable_statuses": [{"start": 100, "end": 600}],
        },
    }
