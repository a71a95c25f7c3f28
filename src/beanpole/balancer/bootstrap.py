"""What an Envoy is started with. All else comes from the files of a snapshot, which it watches.

Every path is relative: the agent starts each Envoy in a folder of its own, which has the `xds` folder, the admin socket
and a link to the access log. So two Envoys of one balancer share their configuration and nothing else.
"""

from __future__ import annotations

import json
from typing import Any

XDS = "xds"  # folder of the snapshot's files
ADMIN_SOCKET = "admin.sock"
ADMIN_MODE = 0o600  # whoever may talk to the admin socket may stop the proxy
CONNECTIONS_LIMIT = 50_000  # clients' connections at once: beyond, each further one is closed at once


def bootstrap(node: str = "beanpole") -> str:
    """Envoy's bootstrap as JSON. The same `node` gives the same text: an unchanged one needs no new process."""
    return json.dumps(
        {
            "node": {"id": node, "cluster": "beanpole"},
            "admin": {"address": {"pipe": {"path": ADMIN_SOCKET, "mode": ADMIN_MODE}}},
            "dynamic_resources": {"cds_config": watched("cds.json"), "lds_config": watched("lds.json")},
            "overload_manager": {
                "resource_monitors": [
                    {
                        "name": "envoy.resource_monitors.global_downstream_max_connections",
                        "typed_config": {
                            "@type": "type.googleapis.com/envoy.extensions.resource_monitors"
                            ".downstream_connections.v3.DownstreamConnectionsConfig",
                            "max_active_downstream_connections": str(CONNECTIONS_LIMIT),
                        },
                    }
                ]
            },
        },
        indent=1,
    )


def watched(name: str) -> dict[str, Any]:
    """Envoy's words for: this comes from that file of the snapshot, and again whenever the file is replaced."""
    return {"path_config_source": {"path": f"{XDS}/{name}"}, "resource_api_version": "V3"}
