"""The bed as a whole: makes the hosts, ends their faults, writes the files that lead to them, removes everything."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from .base import USER, Base
from .cgroup import Cgroup
from .disk import unfill, used_megabytes
from .host import Host, all_hosts
from .machine import BedError, attempt, read, remove_tree, run, write, write_setting
from .network import NAMESPACES, Bridge
from .requirements import install
from .settings import LINKS, Settings

MARK = ".testbed"  # the file that tells a test bed's folder from any other
LOCK = "lock"
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_ENOUGH = 2048  # for several beds: each host's systemd takes a dozen, and the usual 128 do for ten hosts
INOTIFY_BEFORE = "inotify_before"
NETNS_MOUNTED = "netns_mounted"


def up(settings: Settings, number: int, *, fresh: bool) -> list[dict[str, Any]]:
    """Exactly `number` hosts, all running, reachable and without faults; returns what leads to each."""
    install()
    base = Base(settings).ensure()
    Bridge(settings).up()
    _raise_inotify(settings)
    for host in all_hosts(settings):
        if host.number > number:
            remove_host(host)
    if not settings.key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "testbed", "-f", str(settings.key))
    if not NAMESPACES.is_mount():
        write(settings.folder / NETNS_MOUNTED, "")
    hosts = [Host(settings, each) for each in range(1, number + 1)]
    begun = [host for host in hosts if not _goes_on(host, base, fresh)]
    for host in begun:
        host.ready()
    for host in hosts:
        end_filling(host)
    return write_files(settings)


def _goes_on(host: Host, base: str, fresh: bool) -> bool:
    """Ends the faults of a host that runs well; boots any other."""
    if fresh or not host.fits(base):
        host.power_off()
        host.make(base)
    slow, wall = host.state.get("slow"), host.state.get("wall")
    host.note(cut=None, slow=None, loss=None, wall=None)
    if host.on():
        host.cgroup.freeze(False)
        if host.init() and (NAMESPACES / host.machine).exists():
            if wall:
                host.link.wall([])
            if slow or not host.link.forwards():
                host.apply_faults()
            if host.answers(3):
                return True
        host.power_off()
    host.start()
    return False


def end_filling(host: Host) -> None:
    if host.state.get("filled"):
        unfill(host.mounted())
        host.note(filled=None)


def remove_host(host: Host) -> None:
    host.power_off()
    remove_tree(host.home, host.settings.hosts)


def down(settings: Settings, *, purge: bool) -> None:
    """Removes everything but cached base systems; with `purge` those in the bed's own folder too."""
    for host in all_hosts(settings):
        remove_host(host)
    Bridge(settings).down()
    Cgroup(settings.name).remove()
    _lower_inotify(settings)
    if (settings.folder / NETNS_MOUNTED).exists() and not any(NAMESPACES.iterdir()):
        attempt("umount", str(NAMESPACES))  # `ip netns` had mounted the folder on itself; another bed may be quicker
    for entry in settings.folder.iterdir():
        if purge or (entry.name not in (MARK, LOCK) and not entry.name.startswith("base-")):
            remove_tree(entry, settings.folder)
    if purge:
        settings.folder.rmdir()


def write_files(settings: Settings) -> list[dict[str, Any]]:
    """inventory.json, ssh_config and known_hosts; returns the inventory's hosts."""
    known, config, inventory = "", "", []
    known_hosts, ssh_config = settings.folder / "known_hosts", settings.folder / "ssh_config"
    for host in all_hosts(settings):
        if not host.exists():
            continue
        public = host.public_key()
        known += f"{host.address},{host.name} {public}\n"
        lines = [
            f"HostName {host.address}",
            f"HostKeyAlias {host.address}",
            f"User {USER}",
            f"IdentityFile {settings.key}",
            "IdentitiesOnly yes",
            f"UserKnownHostsFile {known_hosts}",
            "StrictHostKeyChecking yes",
        ]
        config += "\n  ".join([f"Host {host.name}", *lines]) + "\n"
        where = {"name": host.name, "address": host.address, "port": 22, "user": USER}
        inventory.append(where | {"key": str(settings.key), "host_key": public})
    write(known_hosts, known)
    write(ssh_config, config)
    document = {
        "control": settings.gate,
        "network": f"{settings.net}.0/24",
        "bridge": settings.bridge,
        "known_hosts": str(known_hosts),
        "ssh_config": str(ssh_config),
        "hosts": inventory,
    }
    write(settings.folder / "inventory.json", json.dumps(document, indent=1) + "\n")
    return inventory


def status(settings: Settings) -> list[dict[str, Any]]:
    """One row per host; sizes in megabytes, None where the host is off."""
    return [_row(host) for host in all_hosts(settings)]


def _row(host: Host) -> dict[str, Any]:
    state = host.state
    row = {
        "name": host.name,
        "address": host.address,
        "state": "frozen" if host.cgroup.frozen() else "on" if host.on() else "off",
        "cut": bool(state.get("cut")),
        "slow_ms": state.get("slow") or 0,
        "loss_percent": state.get("loss") or 0,
        "filled": bool(state.get("filled")),
        "disk_mb": state.get("disk_mb"),
        "disk_used_mb": None,
        "memory_mb": None,
        "processes": None,
    }
    if host.on():
        with contextlib.suppress(BedError, OSError):  # it went off, or is only booting: its size stays unknown
            row["disk_used_mb"] = used_megabytes(host.mounted())
        pids = host.cgroup.pids()
        found = (re.search(r"^Pss:\s+(\d+)", read(Path(f"/proc/{pid}/smaps_rollup")), re.M) for pid in pids)
        row["memory_mb"] = round(sum(int(match[1]) for match in found if match) / 1024, 1)
        row["processes"] = len(pids)
    return row


def _raise_inotify(settings: Settings) -> None:
    now = int(read(INOTIFY, "0"))
    if 0 < now < INOTIFY_ENOUGH:
        write(settings.folder / INOTIFY_BEFORE, str(now))
        write_setting("fs/inotify/max_user_instances", str(INOTIFY_ENOUGH))


def _lower_inotify(settings: Settings) -> None:
    """Sets the limit back; while another bed lives, leaves that to it."""
    before = read(settings.folder / INOTIFY_BEFORE).strip()
    if not before:
        return
    owners = {read(link / "ifalias").strip() for link in LINKS.glob("*-br")} - {""}
    for other in sorted(Path(owner) for owner in owners):
        if (other / MARK).exists():
            write(other / INOTIFY_BEFORE, before)
            return
    write_setting("fs/inotify/max_user_instances", before)
