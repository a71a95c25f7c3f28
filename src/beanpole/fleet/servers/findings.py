"""What stands in the way of a server, and what to do about it: facts in, sentences out.

Pure. Everything is said at once, what blocks first. A cause has the number that was seen and the number that is needed;
a remedy is a command where there is one. Nothing is found in a fact that is unknown, but that it is unknown.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from beanpole.fleet.servers import prerequisites, room
from beanpole.fleet.servers.finding import Finding, Known, Wanted, blocking, some, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beanpole.fleet.servers.facts import Facts

__all__ = ["Finding", "Known", "Wanted", "findings"]

SKEW_WARNING = 2_000
"""Milliseconds from which times of events on several servers no longer tell their order."""

SKEW_LIMIT = 60_000
"""Milliseconds; beyond it leases, signatures and time limits mislead."""

_LOOKS = {"machine": "system and memory", "rights": "sudo, ports and services", "pythons": "Python", "disks": "disks"}
_SEVERITIES = ("blocking", "warning", "note")


def findings(facts: Facts, wanted: Wanted) -> tuple[Finding, ...]:
    """Everything there is to say, what blocks first; empty for a server without fault."""
    found = [
        *_holders(facts, wanted),
        *_names(facts, wanted),
        *prerequisites.rights(facts),
        *prerequisites.system(facts),
        *prerequisites.tools(facts),
        *prerequisites.pythons(facts),
        *prerequisites.machine(facts),
        *room.disks(facts, wanted),
        *room.memory(facts, wanted),
        *room.port(facts, wanted),
        *_clock(wanted),
        *_surroundings(facts),
        *_unknown(facts),
    ]
    return tuple(sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity)))


def _holders(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    holder = facts.holder
    if holder is None or holder.store == wanted.store:
        return
    who = f"another Beanpole (store {holder.store})" if holder.store else "a Beanpole that host.json does not name"
    since = f" since {holder.since}" if holder.since else ""
    if wanted.force:
        yield Finding(code="held", severity="note", cause=f"taken over from {who}, which held the server{since}")
    else:
        yield blocking(
            "held",
            f"the server is held by {who}{since}",
            "run `beanpole hosts remove` there first, or add --force to take the server over",
        )


def _names(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    for other in wanted.known:
        same_boot = facts.boot_id is not None and facts.boot_id == other.boot_id
        same_machine = facts.machine_id is not None and facts.machine_id == other.machine_id
        if same_boot and (same_machine or facts.machine_id is None or other.machine_id is None):
            yield blocking(
                "same-host",
                f"two names for one host: this is {other.name} (boot id {facts.boot_id})",
                f"use the name {other.name}, or `beanpole hosts remove {other.name}` first",
            )
        elif same_machine:
            yield blocking(
                "same-host",
                f"two names for one host: {other.name} has the same machine-id {facts.machine_id}",
                f"use the name {other.name}; if this is a clone of it:"
                " `sudo rm /etc/machine-id && sudo systemd-machine-id-setup && sudo reboot`",
            )
        elif same_boot:
            yield warning(
                "same-kernel",
                f"this server and {other.name} have the boot id {facts.boot_id}: two containers on one machine",
                "count on both to fail together",
            )
        elif wanted.host_key is not None and wanted.host_key == other.host_key:
            if None in (facts.machine_id, other.machine_id):
                yield blocking(
                    "same-host",
                    f"two names for one host: {other.name} shows the same host key",
                    f"use the name {other.name}, or `beanpole hosts remove {other.name}` first",
                )
            else:
                yield warning(
                    "same-key",
                    f"this server and {other.name} show the same host key, as clones do: each can pass for the other",
                    "`sudo rm /etc/ssh/ssh_host_* && sudo ssh-keygen -A`, then restart ssh and check again",
                )


def _clock(wanted: Wanted) -> Iterator[Finding]:
    if wanted.skew is None or abs(wanted.skew) < SKEW_WARNING:
        return
    seconds = f"{abs(wanted.skew) / 1000:.1f} s {'ahead' if wanted.skew > 0 else 'behind'}"
    remedy = "`sudo timedatectl set-ntp true`; without a time server: `sudo timedatectl set-time 'YYYY-MM-DD HH:MM:SS'`"
    if abs(wanted.skew) > SKEW_LIMIT:
        yield blocking("clock", f"the server's clock is {seconds}; at most {SKEW_LIMIT // 1000} s is allowed", remedy)
    else:
        yield warning("clock", f"the server's clock is {seconds}; below {SKEW_WARNING // 1000} s is good", remedy)


def _surroundings(facts: Facts) -> Iterator[Finding]:
    if facts.selinux == "enforcing":
        yield warning(
            "selinux",
            "SELinux is enforcing: it may stop programs below /var/lib from starting",
            "if a unit fails with 203/EXEC: `sudo ausearch -m avc -ts recent`, or `sudo setenforce 0` to try",
        )
    foreign = [
        entry.path
        for entry in facts.var_app
        if entry.path != "/var/app"
        and not (entry.kind == "link" and (entry.target or "").startswith("/var/lib/beanpole/"))
    ]
    if foreign:
        paths = " ".join(shlex.quote(path) for path in foreign)
        yield warning(
            "var-app",
            f"{' and '.join(foreign)} belongs to somebody else; the first environment here wants that name",
            f"`ls -l {paths}`; move it away, or leave it and use the environment's own folder",
        )
    if facts.services:
        names = tuple(service.unit for service in facts.services)
        yield Finding(
            code="services",
            severity="note",
            cause=f"runs beside us: {some(names, 'service')}",
            remedy="`beanpole adopt` takes one over without a failed request",
        )


def _unknown(facts: Facts) -> Iterator[Finding]:
    late = [_LOOKS.get(look, look) for look in facts.unfinished]
    if late:
        yield warning(
            "unfinished",
            f"the look at {', '.join(late)} did not end in time or was cut off",
            "check again; if it stays: `uptime`, `df`, `sudo -n true` on the server show what hangs",
        )
    facts_by_look = (
        ("machine", "architecture", facts.architecture),
        ("machine", "C library", facts.libc and (facts.libc == "musl" or facts.libc_version)),
        ("machine", "process 1", facts.init),
        ("machine", "memory", facts.memory_available),
        ("machine", "machine-id", facts.machine_id),
        ("rights", "systemd's version", facts.systemd if facts.init == "systemd" else True),
        ("rights", "listening ports", facts.listening is not None),
        ("disks", "free disk space", facts.disks and all(disk.free is not None for disk in facts.disks)),
    )
    missing = [
        name for look, name, value in facts_by_look if look not in facts.unfinished and value in (None, False, ())
    ]
    if missing:
        yield warning(
            "unknown",
            f"could not be read: {', '.join(missing)}",
            "nothing is checked there; install procps, iproute2 or mend /proc",
        )
