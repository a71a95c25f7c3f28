"""The test bed as tests use it: real Debian servers on this machine, and what can befall them.

Every method returns when its effect is there, and raises BedFailed with the reason when it cannot be had.
tests/testbed/README.md says what each fault looks like from outside and inside.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plot import HOSTS, Plot

USUAL = 180.0  # seconds that one command may take; most take less than one
BUILDING = 900.0  # seconds for `up`, which the first time installs packages and builds the base system
CONNECTING = 5  # seconds in which SSH connects or says that it cannot


class BedFailed(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Server:
    """All that leads to a host. Its user has sudo without a password."""

    name: str
    address: str
    port: int
    user: str
    key: Path  # the private key that logs in
    host_key: str  # type and public key, as in known_hosts


class Bed:
    """host1, host2…, on a plot of this machine."""

    def __init__(self, plot: Plot) -> None:
        self.folder = plot.folder
        self.environment = plot.environment

    @property
    def ssh_config(self) -> Path:
        """For `ssh -F`: logs in to a host by its name, and only with the host key that it should have."""
        return self.folder / "ssh_config"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def control(self) -> str:
        """The address that this machine has for the hosts; a test that serves them something binds to it."""
        return str(self._inventory()["control"])

    @property
    def bridge(self) -> str:
        """The network of this machine that all hosts are on, for whoever counts what goes over it."""
        return str(self._inventory()["bridge"])

    def servers(self) -> list[Server]:
        return [Server(**{**found, "key": Path(found["key"])}) for found in self._inventory()["hosts"]]

    def host(self, name: str) -> Server:
        """Asks anew each time: `reset` may have changed the host key."""
        return next(server for server in self.servers() if server.name == name)

    def status(self) -> dict[str, dict[str, Any]]:
        """By name: "state" (on, off, frozen), "cut", "slow_ms", "loss_percent", "filled", sizes in megabytes."""
        return {row["name"]: row for row in json.loads(self._hosts("status", "--json"))}

    # All at once

    def up(self, number: int, fresh: bool = False) -> list[Server]:
        """Exactly so many hosts, running, reachable, without faults. Disks are kept unless `fresh`.

        What it installs or builds, it says on this process's stderr.
        """
        self._hosts("up", str(number), *(["--fresh"] if fresh else []), timeout=BUILDING, loud=True)
        return self.servers()

    def down(self) -> None:
        """Removes all hosts and their disks."""
        self._hosts("down")

    # Looking inside

    def exec(self, name: str, *words: str, text: str = "", check: bool = True) -> str:
        """What a command says, run as root inside, also while the host is cut; `text` is its input.

        BedFailed when its status is not 0, unless `check` is off.
        """
        return self._hosts("exec", name, *words, text=text, check=check)

    def ssh(
        self, name: str, *words: str, text: str = "", options: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command as the host's user over SSH; status 255 when SSH itself failed."""
        command = self.ssh_words(name, *words, options=options)
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=USUAL, check=False)

    def ssh_words(self, name: str, *words: str, options: tuple[str, ...] = ()) -> list[str]:
        """The command line of `ssh`, for a test that keeps the connection. Each option is like Port=22."""
        settings = (*options, "BatchMode=yes", f"ConnectTimeout={CONNECTING}")
        flags = [flag for setting in settings for flag in ("-o", setting)]
        return ["ssh", *flags, "-F", str(self.ssh_config), name, *words]

    # Power

    def kill(self, name: str) -> None:
        """Power off hard: no FIN, no RST, connections hang. The disk is kept."""
        self._hosts("kill", name)

    def stop(self, name: str) -> None:
        """Shut down in order: units get SIGTERM, connections end."""
        self._hosts("stop", name)

    def start(self, name: str) -> None:
        """Power on, with the disk as it was and a new boot id; sshd answers when it returns."""
        self._hosts("start", name)

    def reset(self, name: str, new_key: bool = False) -> None:
        """An empty disk and a new machine-id, then power on; with `new_key` another host key too."""
        self._hosts("reset", name, *(["--new-key"] if new_key else []))

    # Faults; all but `freeze` last through kill and start, and `up` ends them

    def freeze(self, name: str) -> None:
        """Nothing runs any more, but its kernel still accepts connections."""
        self._hosts("freeze", name)

    def thaw(self, name: str) -> None:
        self._hosts("thaw", name)

    def cut(self, name: str) -> None:
        """Every packet is lost, both ways. The host runs on and sees a link that is up."""
        self._hosts("cut", name)

    def join(self, name: str) -> None:
        """Ends a cut; connections that nobody gave up go on."""
        self._hosts("join", name)

    def slow(self, name: str, milliseconds: float, loss: float = 0) -> None:
        """So much longer per round trip, and so many percent of the packets lost each way; 0 and 0 end it."""
        self._hosts("slow", name, str(milliseconds), str(loss))

    def wall(self, name: str, *ports: int) -> None:
        """A firewall that lets in only these TCP ports; without any it ends."""
        self._hosts("wall", name, *map(str, ports))

    def fill(self, name: str, leave: int = 0) -> None:
        """Fills the disk but for so many kilobytes: writes fail with ENOSPC, for root too."""
        self._hosts("fill", name, str(leave))

    def unfill(self, name: str) -> None:
        self._hosts("unfill", name)

    def _inventory(self) -> dict[str, Any]:
        found = json.loads((self.folder / "inventory.json").read_text())
        assert isinstance(found, dict)
        return found

    def _hosts(
        self, *words: str, text: str = "", timeout: float = USUAL, check: bool = True, loud: bool = False
    ) -> str:
        done = subprocess.run(
            [HOSTS, *words],
            env=self.environment,
            input=text,
            stdout=subprocess.PIPE,
            stderr=None if loud else subprocess.PIPE,
            text=True,
            timeout=timeout,
            check=False,
        )
        if check and done.returncode:
            said = f"{done.stdout}{done.stderr or ''}".strip()
            raise BedFailed(f"hosts {' '.join(words)}: exit {done.returncode}: {said or 'see above'}")
        return done.stdout
