"""The bed's network: a bridge on this machine and one link per host. Nothing is forwarded beyond the bridge.

Neighbours are fixed: a host that is off or cut stays silent, where ARP would soon say "no route to host".
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from .cgroup import Cgroup
from .machine import BedError, attempt, batch, read, run, wait, write_setting
from .settings import FIRST, LINKS, MOST_HOSTS, Settings

NAMESPACES = Path("/run/netns")
RELAY = Path(__file__).with_name("relay.py")
WALL = """\
flush ruleset
table inet wall {{
    chain input {{
        type filter hook input priority 0; policy drop;
        iif "lo" accept
        ct state established,related accept
        tcp dport {{ {ports} }} accept
    }}
}}
"""


class Bridge:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.name = settings.bridge

    def up(self) -> None:
        if (LINKS / self.name).exists():
            return
        have = run("ip", "-o", "-4", "addr", "show")
        if re.search(rf"inet {re.escape(self.settings.net)}\.\d+/", have):
            raise BedError(f"this machine has an address in {self.settings.net}.0/24 already; set TESTBED_NET")
        batch(
            lines=[
                f"link add {self.name} address {self.settings.mac(1)} type bridge stp_state 0 mcast_snooping 0",
                f"link set {self.name} alias {self.settings.folder}",
            ]
        )
        write_setting(f"net/ipv4/conf/{self.name}/forwarding", "0")
        if Path(f"/proc/sys/net/ipv6/conf/{self.name}").is_dir():  # absent where the kernel was told to have no IPv6
            write_setting(f"net/ipv6/conf/{self.name}/forwarding", "0")
            write_setting(f"net/ipv6/conf/{self.name}/accept_ra", "0")
        neighbours = [
            f"neigh replace {self.settings.net}.{last} lladdr {self.settings.mac(last)} dev {self.name} nud permanent"
            for last in range(FIRST + 1, FIRST + 1 + MOST_HOSTS)
        ]
        batch(lines=[f"addr add {self.settings.gate}/24 dev {self.name}", f"link set {self.name} up", *neighbours])

    def down(self) -> None:
        if (LINKS / self.name).exists():
            run("ip", "link", "del", self.name)


class Link:
    """The wire between one host and the bridge, and the network namespace at its far end."""

    def __init__(self, settings: Settings, number: int) -> None:
        self.settings = settings
        self.number = number
        self.namespace = f"{settings.name}-host{number}"
        self.veth = f"{settings.name}-h{number}"
        self.tap = f"{settings.name}-t{number}"
        self.relay = Cgroup(settings.name, f"relay{number}")

    def up(self) -> None:
        self.down()
        own, net, mac = FIRST + self.number, self.settings.net, self.settings.mac
        run("ip", "netns", "add", self.namespace)
        batch(
            lines=[
                f"link add {self.veth} type veth peer name eth0 address {mac(own)} netns {self.namespace}",
                f"link set {self.veth} master {self.settings.bridge} up",
            ]
        )
        write_setting(f"net/ipv4/conf/{self.veth}/arp_ignore", "1")
        others = [1, *(last for last in range(FIRST + 1, FIRST + 1 + MOST_HOSTS) if last != own)]
        batch(
            "-n",
            self.namespace,
            lines=[
                "link set lo up",
                f"addr add {net}.{own}/24 dev eth0",
                "link set eth0 up",
                *(f"neigh replace {net}.{last} lladdr {mac(last)} dev eth0 nud permanent" for last in others),
            ],
        )

    def apply(self, *, cut: bool, slow_ms: float, loss: float, log: Path) -> None:
        """Brings the link into this state; `loss` is a percentage, `slow_ms` 0 means no relay."""
        self.relay.kill()
        if slow_ms:
            run("ip", "link", "set", self.veth, "nomaster")
            self._start_relay(slow_ms, loss, log)
        port = self.tap if slow_ms else self.veth
        run("ip", "link", "set", port, "master", self.settings.bridge, "up")
        wait(f"link {port}", 5, lambda: port_state(port) is not None)
        number, words = ("0", "disabled") if cut else ("3", "forwarding")
        run("bridge", "link", "set", "dev", port, "state", number)
        wait(f"link {port} to be {words}", 5, lambda: port_state(port) == words)

    def wall(self, ports: list[int]) -> None:
        """A firewall in the host lets in only these TCP ports, and answers to what the host began; without any it ends.

        What is let in no more is dropped, as a security group does it.
        """
        rules = WALL.format(ports=", ".join(map(str, ports))) if ports else "flush ruleset\n"
        run("ip", "netns", "exec", self.namespace, "nft", "-f", "-", text=rules)

    def silence(self) -> None:
        """Stops all packets at once, so that nobody hears the host's connections being closed."""
        for port in (self.tap, self.veth):
            if (LINKS / port).exists():
                attempt("bridge", "link", "set", "dev", port, "state", "0")  # one of the two is in no bridge
        self.relay.kill()

    def down(self) -> None:
        if (NAMESPACES / self.namespace).exists():
            attempt("ip", "netns", "del", self.namespace)  # the host's supervisor may do it at the same time
        if (LINKS / self.veth).exists():  # else the pair lives until its namespace is reaped
            attempt("ip", "link", "del", self.veth)

    def forwards(self) -> bool:
        return port_state(self.veth) == "forwarding"

    def _start_relay(self, slow_ms: float, loss: float, log: Path) -> None:
        group = self.relay.make()[0]
        words = [sys.executable, "-I", str(RELAY), self.veth, self.tap, str(slow_ms), str(loss), str(group)]
        with log.open("wb") as output:
            subprocess.Popen(
                words, start_new_session=True, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            wait("delay relay", 10, lambda: (LINKS / self.tap).exists())
        except BedError as error:
            raise BedError(f"{error}: {read(log).strip()[-300:]}") from error


def port_state(device: str) -> str | None:
    """What the bridge does with this port: forwarding, disabled; None where it is no port of a bridge."""
    found = attempt("bridge", "-j", "link", "show", "dev", device)
    if found.returncode:
        return None
    ports = json.loads(found.stdout or "[]")
    return ports[0].get("state") if ports else None
