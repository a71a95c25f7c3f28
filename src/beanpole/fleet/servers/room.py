"""What a server must have free: disk, files, memory, the application port.

Pure: facts in, findings out.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from beanpole.fleet.servers.finding import Finding, Wanted, blocking, size_of, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beanpole.fleet.servers.facts import Disk, Facts, Listener

MARGIN = 16 * 1024**2
"""Bytes for units, links and temporary files on file systems that hold nothing else of ours."""

MARGIN_INODES = 100
"""The same in files."""

SWAPLESS = 2 * 1024**3
"""Bytes of memory below which a server without swap kills processes at the first peak."""


def disks(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Each file system is judged once, by the first of our folders on it: that one needs most."""
    seen: set[str] = set()
    for disk in facts.disks:
        place = disk.mount_point or disk.folder
        if place in seen:
            continue
        seen.add(place)
        home = disk.path == "/var/lib/beanpole"
        yield from _disk(disk, place, wanted.disk if home else MARGIN, wanted.inodes if home else MARGIN_INODES)
        if home and "noexec" in disk.options:
            yield blocking(
                "disk-noexec",
                f"{place} is mounted noexec, and programs of {disk.path} must run",
                f"`sudo mount -o remount,exec {shlex.quote(place)}`, and the same in /etc/fstab",
            )


def _disk(disk: Disk, place: str, size: int, inodes: int) -> Iterator[Finding]:
    quoted = shlex.quote(place)
    if disk.read_only:
        how = f"the file system {place} is read-only" if "ro" in disk.options else f"root cannot write in {disk.folder}"
        yield blocking(
            "disk-read-only",
            f"{how} (needed for {disk.path})",
            f"`sudo dmesg | tail`; `sudo mount -o remount,rw {quoted}`",
        )
    if disk.free is not None and disk.free < size:
        yield blocking(
            "disk-full",
            f"{place} has {size_of(disk.free)} free; {disk.path} needs {size_of(size)}",
            f"`sudo du -xh {quoted} | sort -h | tail`; `sudo journalctl --vacuum-size=200M`",
        )
    if disk.inodes_free is not None and disk.inodes_free < inodes:
        yield blocking(
            "inodes-full",
            f"{place} has {disk.inodes_free} inodes free; {disk.path} needs {inodes}",
            f"`sudo du -x --inodes {quoted} | sort -n | tail`",
        )


def memory(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    available, total = facts.memory_available, facts.memory_total
    if available is not None and available < wanted.memory:
        of = f" of {size_of(total)}" if total is not None else ""
        yield blocking(
            "memory",
            f"{size_of(available)}{of} of memory available; {size_of(wanted.memory)} needed",
            "`ps axo rss,pid,comm --sort=-rss | head` shows who has it",
        )
    if facts.swap_total == 0 and total is not None and total < SWAPLESS:
        yield warning(
            "swap",
            f"no swap, and {size_of(total)} of memory (less than {size_of(SWAPLESS)}): a peak kills processes",
            "`sudo sh -c 'fallocate -l 2G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile'`",
        )


def port(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    ours = facts.holder is not None
    for listener in facts.listening or ():
        if listener.port != wanted.port or (ours and (listener.unit or "").startswith("beanpole-")):
            continue
        # Without root no process has a name; on a server of ours the port's holder is then most likely our own proxy.
        if ours and listener.pid is None and not facts.powerful:
            continue
        who, remedy = _occupant(listener)
        # A service can be taken over while it serves, and until then nothing of ours wants the port.
        told = warning if (listener.unit or "").endswith(".service") else blocking
        yield told("port-taken", f"the application port {wanted.port} is held by {who} on {listener.address}", remedy)
        break
    if wanted.reach in ("filtered", "refused"):
        how = "nothing answers" if wanted.reach == "filtered" else "it is refused, although something listens there"
        yield blocking(
            "port-filtered",
            f"port {wanted.port} cannot be reached from the edge: {how}; a firewall or security group is in between",
            _allow(facts, wanted.port),
        )
    elif wanted.reach is None and facts.firewalls:
        yield warning(
            "firewall",
            f"{' and '.join(facts.firewalls)} is on; whether it lets port {wanted.port} in was not tried",
            _allow(facts, wanted.port),
        )


def _occupant(listener: Listener) -> tuple[str, str]:
    other = "choose another with --app-port"
    if listener.pid is None:
        return "a process that only root can name", f"`sudo ss -ltnp 'sport = :{listener.port}'`; stop it, or {other}"
    who = f"{listener.process} (pid {listener.pid}"
    if listener.unit:
        unit = shlex.quote(listener.unit)
        remedy = f"{other}; or take it over with `beanpole adopt`; or `sudo systemctl disable --now {unit}`"
        return f"{who}, {listener.unit})", remedy
    return f"{who})", f"{other}, or `sudo kill {listener.pid}`"


def _allow(facts: Facts, port: int) -> str:
    if "ufw" in facts.firewalls:
        return f"`sudo ufw allow {port}/tcp`"
    if "firewalld" in facts.firewalls:
        return f"`sudo firewall-cmd --permanent --add-port={port}/tcp && sudo firewall-cmd --reload`"
    return f"let TCP port {port} in, or choose one that is open with --app-port"
