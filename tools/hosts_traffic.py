"""What a deployment costs this machine: bytes sent to each server over SSH, and processor time of the control plane.

Bytes are those of nftables' counters on the test bed's bridge, one for each server: headers of TCP and IP are in them,
requests of users are not.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

TABLE = "beanpole_bench"
NAME = "nft"


class Traffic:
    """From `with` on. `bridge`: the network's name here; `addresses` of the servers by their names.

    Without nftables nothing is counted, and `why_not` says so.
    """

    def __init__(self, bridge: str, addresses: Mapping[str, str], port: int = 22) -> None:
        self._bridge = bridge
        self._addresses = dict(addresses)
        self._port = port
        self.why_not = "" if shutil.which(NAME) else "bytes are not counted: nftables is not installed"

    def __enter__(self) -> Traffic:
        if not self.why_not:
            counters = "".join(f"counter {name} {{ }}\n" for name in self._addresses)
            rules = "".join(
                f'oifname "{self._bridge}" ip daddr {address} tcp dport {self._port} counter name "{name}"\n'
                for name, address in self._addresses.items()
            )
            chain = f"chain out {{ type filter hook output priority 0;\n{rules}}}\n"
            _nft("-f", "-", text=f"table inet {self._table} {{\n{counters}{chain}}}\n")
        return self

    def __exit__(self, *_: object) -> None:
        if not self.why_not:
            _nft("delete", "table", "inet", self._table)

    def sent(self) -> dict[str, int]:
        """Bytes by server, since the beginning; empty where they are not counted."""
        if self.why_not:
            return {}
        rows = json.loads(_nft("-j", "list", "counters", "table", "inet", self._table))["nftables"]
        return {row["counter"]["name"]: row["counter"]["bytes"] for row in rows if "counter" in row}

    @property
    def _table(self) -> str:
        return f"{TABLE}_{os.getpid()}"  # several benches may run side by side


def _nft(*words: str, text: str = "") -> str:
    return subprocess.run([NAME, *words], input=text, capture_output=True, text=True, check=True).stdout


def processor_seconds(pid: int) -> float:
    """Of a process and of those children that it has waited for: of a control plane, its transfers and resolvers.

    What it started detached (the edge's agent, Envoy) is not in it.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(fields[at]) for at in range(11, 15)) / os.sysconf("SC_CLK_TCK")
