"""One host: its folder, what is noted about it, its disk, and its power button."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import uuid
from pathlib import Path
from typing import Any

from .base import UID, USER, Base
from .cgroup import Cgroup
from .disk import Disk
from .machine import PATH, BedError, attempt, read, read_json, run, wait, write
from .network import NAMESPACES, Link
from .settings import LINKS, MOST_HOSTS, Settings

BOOT = Path(__file__).with_name("boot.sh")
BOOTING = 60.0  # seconds; one second is usual
NSPAWN = Path("/run/systemd/nspawn")


class Host:
    """host1, host2…; it need not exist yet, and may exist in part after a crash."""

    def __init__(self, settings: Settings, number: int) -> None:
        self.settings = settings
        self.number = number
        self.name = f"host{number}"
        self.address = settings.address(number)
        self.home = settings.hosts / self.name
        self.cgroup = Cgroup(settings.name, self.name)
        self.link = Link(settings, number)
        self.machine = self.link.namespace
        self.disk = Disk(self.home / "disk.img")
        self.base = Base(settings)
        self.supervisor: subprocess.Popen[bytes] | None = None

    # What is noted: base, disk_mb, and the faults cut, slow (ms), loss (percent), filled.

    def exists(self) -> bool:
        return (self.home / "state.json").exists()

    @property
    def state(self) -> dict[str, Any]:
        return read_json(self.home / "state.json")

    def note(self, **changes: Any) -> None:
        """None forgets."""
        noted = self.state | changes
        write(self.home / "state.json", json.dumps({key: value for key, value in noted.items() if value is not None}))

    # Looks

    def on(self) -> bool:
        return self.cgroup.populated()

    def init(self) -> int | None:
        """Its init, as this machine numbers processes."""
        found = self.cgroup.pids("payload/init.scope", deep=False)
        return found[0] if found else None

    def enter(self, pid: int) -> list[str]:
        """The words that run a command inside, by the namespaces of this process of the host."""
        variables = [f"PATH={PATH}", "HOME=/root", "LANG=C.UTF-8", "TERM=" + os.environ.get("TERM", "dumb")]
        return ["nsenter", "-t", str(pid), "-a", "/usr/bin/env", "-i", *variables]

    def mounted(self) -> Path:
        """Its disk, seen through the mount namespace of its supervisor."""
        found = self.cgroup.pids("supervisor", deep=False) or self.cgroup.pids(deep=False)
        path = Path(f"/proc/{found[0] if found else 'none'}/root{self.home}/mnt")
        if not (path / "upper").is_dir():
            raise BedError(f"{self.name} is off: its disk can be filled only while it runs")
        return path

    def answers(self, seconds: float) -> bool:
        """Whether sshd says its name within this time."""
        try:
            with socket.create_connection((self.address, 22), seconds) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def public_key(self) -> str:
        return " ".join(read(self.home / "ssh_host_ed25519_key.pub").split()[:2])

    # Disk

    def make(self, base: str, new_key: bool = False) -> None:
        """An empty disk above this base system, a new machine-id; the host key stays unless told."""
        for name in ("mnt", "root"):
            (self.home / name).mkdir(parents=True, exist_ok=True)
        key = self.home / "ssh_host_ed25519_key"
        if new_key or not key.exists():
            key.unlink(missing_ok=True)
            key.with_suffix(".pub").unlink(missing_ok=True)
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"root@{self.name}", "-f", str(key))
        others = (number for number in range(1, MOST_HOSTS + 1) if number != self.number)
        names = ["127.0.0.1 localhost", f"127.0.1.1 {self.name}", "::1 localhost ip6-localhost"]
        names += [f"{self.settings.gate} control"]
        names += [f"{self.settings.address(number)} host{number}" for number in others]
        seed = self.home / "seed"
        write(seed / "etc/hostname", self.name + "\n")
        write(seed / "etc/hosts", "\n".join(names) + "\n")
        write(seed / "etc/resolv.conf", f"nameserver {self.settings.gate}\noptions timeout:1 attempts:1\n")
        write(seed / "etc/machine-id", uuid.uuid4().hex + "\n", 0o444)
        write(seed / "etc/ssh/ssh_host_ed25519_key", read(key), 0o600)
        write(seed / "etc/ssh/ssh_host_ed25519_key.pub", read(key.with_suffix(".pub")))
        write(seed / f"home/{USER}/.ssh/authorized_keys", read(self.settings.key.with_suffix(".pub")), 0o600, UID)
        self.disk.make(self.settings.disk_mb)
        self.note(base=base, disk_mb=self.settings.disk_mb, filled=None)

    def fits(self, base: str) -> bool:
        """Whether its disk can be kept with this base system and these settings."""
        state = self.state
        same = state.get("base") == base and state.get("disk_mb") == self.settings.disk_mb
        return same and self.disk.image.exists()

    # Power

    def start(self) -> None:
        """Begins to boot; `ready` waits."""
        base = self.state["base"]
        if not self.base.is_there(base):
            where = self.base.folder(base)
            raise BedError(f"{self.name}: its base system {where} is gone; run: hosts reset {self.name}")
        self.cgroup.kill()
        forget(self.machine)
        self.disk.wait_released()
        self.link.up()
        self.apply_faults()
        environment = {
            "PATH": PATH,
            "LANG": "C.UTF-8",
            "HOST_HOME": str(self.home),
            "BASE": str(self.base.folder(base)),
            "NAME": self.name,
            "MACHINE": self.machine,
            "CGROUPS": " ".join(map(str, self.cgroup.make())),
        }
        with (self.home / "console.log").open("ab") as log:
            self.supervisor = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", str(BOOT)],
                env=environment,
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ready(self) -> None:
        """Returns when sshd answers (unless the host is cut) and systemd has finished booting."""
        wait(f"{self.name} to boot", BOOTING, self._booted, 0.05)

    def _booted(self) -> bool:
        if self.supervisor is not None and self.supervisor.poll() is not None:
            end = read(self.home / "console.log")[-800:]
            raise BedError(f"{self.name} did not start (exit {self.supervisor.returncode}): {end}")
        if not self.state.get("cut") and not self.answers(1):
            return False
        init = self.init()
        if not init:
            return False
        seen = attempt(*self.enter(init), "systemctl", "is-system-running", "--wait", timeout=BOOTING)
        return seen.stdout.strip() in ("running", "degraded")

    def power_off(self) -> None:
        """Off, hard, whatever state it is in; the network hears nothing of it."""
        self.link.silence()
        self.cgroup.kill()
        self.link.down()
        forget(self.machine)
        self.disk.wait_released()

    def apply_faults(self) -> None:
        """Brings the link into the state that is noted."""
        state = self.state
        self.link.apply(
            cut=bool(state.get("cut")),
            slow_ms=state.get("slow") or 0.0,
            loss=state.get("loss") or 0.0,
            log=self.home / "relay.log",
        )
        if "wall" in state:
            self.link.wall(state["wall"])


def forget(machine: str) -> None:
    """Removes the folders that systemd-nspawn leaves when it is killed."""
    for name in ("propagate", "unix-export"):
        with contextlib.suppress(FileNotFoundError):
            (NSPAWN / name / machine).rmdir()


def all_hosts(settings: Settings) -> list[Host]:
    """Every host of which anything is left: folder, control group, namespace or link."""
    places = [(settings.hosts, r"host(\d+)")]
    places += [(folder, r"(?:host|relay)(\d+)") for folder in Cgroup(settings.name).folders]
    places += [(NAMESPACES, rf"{settings.name}-host(\d+)"), (LINKS, rf"{settings.name}-[ht](\d+)")]
    seen = set()
    for folder, pattern in places:
        for entry in folder.iterdir() if folder.is_dir() else []:
            match = re.fullmatch(pattern, entry.name)
            if match:
                seen.add(int(match.group(1)))
    return [Host(settings, number) for number in sorted(seen)]
