"""Pools to the files that an Envoy watches: all of them, whole, the same text for the same pools.

Each file carries its own version, a digest of its content, so that the agent writes only what changed and recognises
in Envoy's answer that exactly this was applied. The number of the snapshot orders snapshots, nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .cluster import assignment, cluster, eds_file, files_assignment, files_cluster
from .lint import BadPools, lint
from .listener import listener
from .pool import Edge, Pool
from .routes import route_table


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`files` are (name below the xds folder, text) in an order in which they may be added: what is referred to comes
    before what refers to it. The agent removes what is no longer among them, in reverse."""

    version: int
    files: tuple[tuple[str, str], ...]

    @property
    def versions(self) -> Mapping[str, str]:
        """For each file the version that Envoy reports once it has applied it."""
        return {name: str(json.loads(text)["version_info"]) for name, text in self.files}

    def request(self, store: str) -> dict[str, Any]:
        """The body of the agent's PUT /snapshot."""
        return {"version": self.version, "store": store, "files": [[name, text] for name, text in self.files]}


def snapshot(pools: Iterable[Pool], version: int, edge: Edge | None = None) -> Snapshot:
    """The snapshot of these pools behind that edge (default: port 8080 of loopback).

    The order of pools, hosts and endpoints does not matter. BadPools when `lint` finds anything.
    """
    edge = edge or Edge()
    pools = sorted(pools, key=lambda pool: pool.name)
    problems = lint(pools, edge)
    if problems:
        raise BadPools(problems)
    serving = [pool for pool in pools if pool.files]
    return Snapshot(
        version,
        (
            *((eds_file(pool.name), _file([assignment(pool)])) for pool in pools),
            *((eds_file(pool.files_name), _file([files_assignment(pool)])) for pool in serving),
            ("cds.json", _file([*(cluster(pool) for pool in pools), *(files_cluster(pool) for pool in serving)])),
            ("rds.json", _file([route_table(pools, inner=edge.inner)])),
            ("lds.json", _file([listener(edge)])),
        ),
    )


def _file(resources: list[dict[str, Any]]) -> str:
    text = json.dumps(resources, separators=(",", ":"), sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return f'{{"version_info":"{digest}","resources":{text}}}\n'
