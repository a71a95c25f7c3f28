"""Envoy's listener: how clients' connections are taken, what the applications hear of them, what is written down.

Nothing here depends on the pools, so deployments and swaps never touch clients' connections.
"""

from __future__ import annotations

from typing import Any

from .bootstrap import watched
from .cluster import seconds
from .pool import Edge

ROUTES = "routes"  # name of the one route table
STAT_PREFIX = "edge"  # Envoy's statistics of the listener: http.edge.…
ACCESS_LOG = "access.log"

STREAM_IDLE_SECONDS = 3600.0  # a request or websocket on which nothing moves at all
CLIENT_IDLE_SECONDS = 3600.0  # a kept-alive connection without a request
CLOSE_SECONDS = 1.0  # from a draining connection's last answer to its end, for which some clients wait (default: 5 s)
HEADERS_SECONDS = 60.0  # for the head of a request to arrive: against clients that hold connections with half a head

# No address (an empty list would mean the default): the limited broadcast address is nobody's source.
NOBODY = {"address_prefix": "255.255.255.255", "prefix_len": 32}

# What the proxy of a server adds to the errors that are its own: the application never had the request, or it ended the
# connection before it had answered.
UNSENT = "x-beanpole-unsent"
UNANSWERED = "x-beanpole-unanswered"
# To a check by the one in front: send others only when nobody else has somebody. Envoy's own word for that.
DEGRADED = "x-envoy-degraded"
# What the one in front adds to requests, so that they are counted there and not twice.
FRONT = "x-beanpole-edge"

_TYPE = "type.googleapis.com/envoy."

# One JSON object a line. Numbers stay numbers, what is unknown is null. `path` is without the query, which may hold
# secrets. `ms` is the duration to the last byte; `flags` are Envoy's response flags.
ACCESS_LOG_FIELDS = {
    "time": "%START_TIME(%Y-%m-%dT%H:%M:%E3SZ)%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "host": "%REQ(:AUTHORITY)%",
    "pool": "%UPSTREAM_CLUSTER_RAW%",
    "upstream": "%UPSTREAM_HOST%",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ)%",
    "status": "%RESPONSE_CODE%",
    "flags": "%RESPONSE_FLAGS%",
    "ms": "%DURATION%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "received": "%BYTES_RECEIVED%",
    "bytes": "%BYTES_SENT%",
}
# By which the agent beside a server's proxy tells checks by those in front from users' requests, and those that came
# through our edge from the others.
INNER_FIELDS = {"route": "%ROUTE_NAME%", "front": f"%REQ({FRONT})%"}
READINESS_ROUTE = "readiness"


def listener(edge: Edge) -> dict[str, Any]:
    """The listener of that edge; its routes come from the route table."""
    return {
        "@type": _TYPE + "config.listener.v3.Listener",
        "name": "http",
        "address": {"socket_address": _socket(edge)},
        # A new Envoy takes connections on the same port before the old one stops.
        "enable_reuse_port": True,
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": _manager(edge)}]}
        ],
    }


def _socket(edge: Edge) -> dict[str, Any]:
    every = {"ipv4_compat": True} if edge.address == "::" else {}
    return {"address": edge.address, "port_value": edge.port, **every}


def _manager(edge: Edge) -> dict[str, Any]:
    return {
        "@type": _TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STAT_PREFIX,
        "codec_type": "AUTO",
        "rds": {"route_config_name": ROUTES, "config_source": watched("rds.json")},
        "http_protocol_options": {"accept_http_10": True, "default_host_for_http_10": "unknown"},
        # So that websockets come from the one in front, which speaks HTTP/2.
        **({"http2_protocol_options": {"allow_connect": True}} if edge.inner else {}),
        "common_http_protocol_options": {"idle_timeout": seconds(CLIENT_IDLE_SECONDS)},
        "stream_idle_timeout": seconds(STREAM_IDLE_SECONDS),
        "drain_timeout": seconds(CLOSE_SECONDS),
        "request_headers_timeout": seconds(HEADERS_SECONDS),
        "upgrade_configs": [{"upgrade_type": "websocket"}],
        "use_remote_address": True,
        "xff_num_trusted_hops": edge.trusted_proxies,
        "append_x_forwarded_port": True,
        # No client is "internal": by default those on private networks could set time-outs and retries by headers.
        "internal_address_config": {"cidr_ranges": [NOBODY]},
        # The route table does that: Envoy itself would name another address of this machine for a loopback client.
        "skip_xff_append": True,
        # Answers look as the application wrote them.
        "server_header_transformation": "PASS_THROUGH",
        "preserve_external_request_id": True,
        "access_log": [
            {
                "name": "envoy.access_loggers.file",
                "typed_config": {
                    "@type": _TYPE + "extensions.access_loggers.file.v3.FileAccessLog",
                    "path": ACCESS_LOG,
                    "log_format": {"json_format": ACCESS_LOG_FIELDS | (INNER_FIELDS if edge.inner else {})},
                },
            }
        ],
        "local_reply_config": _replies(edge),
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {
                    "@type": _TYPE + "extensions.filters.http.router.v3.Router",
                    "suppress_envoy_headers": True,
                },
            }
        ],
    }


def _replies(edge: Edge) -> dict[str, Any]:
    """What Envoy itself says: plain sentences, the first that fits the response flags."""
    how = "."
    if edge.domain is not None:
        how = f": an environment's address is http://CNAME-PREFIX.{edge.domain}:{edge.port}/ (`eb status` shows it)."
    nobody = "503: no instance of %REQ(:AUTHORITY)% is healthy at the moment. Please try again."
    ended = "%RESPONSE_CODE%: the instance of %REQ(:AUTHORITY)% ended the connection before it had answered."
    unknown = _reply(["NR"], f"404: no environment has the Host %REQ(:AUTHORITY)%{how}")
    if not edge.inner:
        return {"mappers": [unknown, _reply(["UH", "NC"], nobody), _reply(["UF", "UC", "URX", "UR", "UPE"], ended)]}
    return {
        "mappers": [
            unknown,
            _reply(["UH", "NC"], nobody, UNSENT, DEGRADED),
            _reply(["UF"], ended, UNSENT, DEGRADED),
            _reply(["UC", "URX", "UR", "UPE"], ended, UNANSWERED),
        ]
    }


def _reply(flags: list[str], sentence: str, *marks: str) -> dict[str, Any]:
    reply: dict[str, Any] = {
        "filter": {"response_flag_filter": {"flags": flags}},
        "body_format_override": {
            "text_format_source": {"inline_string": sentence + "\n"},
            "content_type": "text/plain; charset=utf-8",
        },
    }
    if marks:
        reply["headers_to_add"] = [header(mark) for mark in marks]
    return reply


def header(name: str) -> dict[str, Any]:
    """That header with the value 1, whatever it was."""
    return {"header": {"key": name, "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}
