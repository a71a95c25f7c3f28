"""What stands in the way of a server, and what to do about it: facts in, sentences out.

Pure. Everything is said at once, what blocks first. A cause has the number that was seen and the number that is needed;
a remedy is a command where there is one. Nothing is found in a fact that is unknown, but that it is unknown.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Literal

import msgspec

from beanpole.fleet.servers.facts import PYTHON_FLOOR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beanpole.fleet.servers.facts import Disk, Facts, Listener

SYSTEMD_FLOOR = 240
"""The first with `StandardOutput=append:`, which our units need."""

GLIBC_FLOOR = (2, 31)
"""The oldest that Envoy's build starts on."""

ARCHITECTURES = ("x86_64", "aarch64")
"""What Envoy is built for."""

SKEW_WARNING = 2_000
"""Milliseconds from which times of events on several servers no longer tell their order."""

SKEW_LIMIT = 60_000
"""Milliseconds; beyond it leases, signatures and time limits mislead."""

MARGIN = 16 * 1024**2
"""Bytes for units, links and temporary files on file systems that hold nothing else of ours."""

MARGIN_INODES = 100
"""The same in files."""

SWAPLESS = 2 * 1024**3
"""Bytes of memory below which a server without swap kills processes at the first peak."""

SHOWN = 5
"""Names in one line; the rest is a number."""

_LOOKS = {"machine": "system and memory", "rights": "sudo, ports and services", "pythons": "Python", "disks": "disks"}
_SEVERITIES = ("blocking", "warning", "note")


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """Another server that this Beanpole holds."""

    name: str
    machine_id: str | None = None
    boot_id: str | None = None


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What the server is to hold, and what only the caller can know."""

    store: str
    """The id of this Beanpole's store."""
    port: int
    """The application port, where the instance proxy will listen."""
    disk: int = 2 * 1024**3
    """Bytes needed below /var/lib/beanpole."""
    inodes: int = 20_000
    """Files needed there: a virtual environment has thousands."""
    memory: int = 256 * 1024**2
    """Bytes that must be available."""
    skew: int | None = None
    """Milliseconds by which the server's clock is ahead, as `facts.skew` has it; None: not measured."""
    known: tuple[Known, ...] = ()
    """The other servers; not this one under its own name."""
    force: bool = False
    """Take the server over from another Beanpole."""
    reach: Literal["open", "refused", "filtered"] | None = None
    """What came of connecting to the application port from where requests will come; None: not tried."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One line of cause, one of remedy (empty for a note that needs none)."""

    code: str
    severity: Literal["blocking", "warning", "note"]
    cause: str
    remedy: str = ""


def findings(facts: Facts, wanted: Wanted) -> tuple[Finding, ...]:
    """Everything there is to say, what blocks first; empty for a server without fault."""
    found = [
        *_holders(facts, wanted),
        *_names(facts, wanted),
        *_rights(facts),
        *_system(facts),
        *_pythons(facts),
        *_machine(facts),
        *_disks(facts, wanted),
        *_memory(facts, wanted),
        *_port(facts, wanted),
        *_clock(wanted),
        *_surroundings(facts),
        *_unknown(facts),
    ]
    return tuple(sorted(found, key=lambda finding: _SEVERITIES.index(finding.severity)))


def blocking(code: str, cause: str, remedy: str) -> Finding:
    return Finding(code=code, severity="blocking", cause=cause, remedy=remedy)


def warning(code: str, cause: str, remedy: str) -> Finding:
    return Finding(code=code, severity="warning", cause=cause, remedy=remedy)


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


def _rights(facts: Facts) -> Iterator[Finding]:
    if facts.uid == 0:
        return
    user = facts.user or "the user"
    line = f"{_sudoers_name(facts.user or 'USER')} ALL=(ALL:ALL) NOPASSWD: ALL"
    written = f"printf '%s\\n' {shlex.quote(line)}"
    permit = f"`{written} | sudo tee /etc/sudoers.d/beanpole && sudo chmod 0440 /etc/sudoers.d/beanpole`"
    said = f" ({facts.sudo_words})" if facts.sudo_words else ""
    if facts.sudo == "missing":
        install = _install(facts, "sudo", root=True)
        yield blocking(
            "sudo-missing",
            f"there is no sudo, and {user} is not root",
            f"as root: {install}, then `{written} > /etc/sudoers.d/beanpole`; or connect with --user root",
        )
    elif facts.sudo == "password":
        yield blocking("sudo-password", f"sudo asks {user} for a password{said}", f"as somebody who knows it: {permit}")
    elif facts.sudo == "no":
        yield blocking("sudo-refused", f"sudo refuses {user}{said}", f"as somebody with sudo: {permit}")
    elif facts.sudo is None and "rights" in facts.unfinished:
        name = shlex.quote(facts.host_name or "NAME")
        yield blocking(
            "sudo-silent",
            "sudo did not answer; often it cannot resolve the server's own name",
            f"on the server: `time sudo -n true`; if it is slow: `echo 127.0.1.1 {name} | sudo tee -a /etc/hosts`",
        )
    elif facts.sudo is None:
        yield blocking("sudo-unknown", f"whether {user} may use sudo is unknown", "on the server: `sudo -n true`")


def _sudoers_name(user: str) -> str:
    """The name as sudoers wants it; directory users are called `DOMAIN\\name` or `name@domain`."""
    return re.sub(r"([^\w.@$-])", r"\\\1", user)


def _system(facts: Facts) -> Iterator[Finding]:
    if facts.init is not None and facts.init != "systemd":
        yield blocking(
            "systemd-missing",
            f"process 1 is {facts.init}, not systemd",
            "use a server that systemd manages (containers usually are not)",
        )
        return
    if facts.systemd is not None and facts.systemd < SYSTEMD_FLOOR:
        yield blocking(
            "systemd-old",
            f"systemd is {facts.systemd}; our units need {SYSTEMD_FLOOR} for StandardOutput=append:",
            "upgrade the system: Amazon Linux 2023, Debian 11, Ubuntu 20.04 or later",
        )
    state, failed = facts.systemd_state, facts.failed_units or ()
    if state in ("maintenance", "stopping"):
        yield blocking("systemd-state", f"systemd is in state {state}", "wait or reboot, then check again")
    elif state in ("initializing", "starting"):
        yield warning(
            "systemd-state", "the server is still starting", "`systemctl list-jobs`; check again when it is done"
        )
    elif state == "degraded" or failed:
        cause = f"systemd is degraded: {_some(failed, 'unit')} failed" if failed else "systemd is degraded"
        yield warning("systemd-degraded", cause, "`systemctl --failed`; then mend, or `sudo systemctl reset-failed`")


def _pythons(facts: Facts) -> Iterator[Finding]:
    if facts.pythons is None:
        return
    python, floor = facts.python, _dotted(PYTHON_FLOOR)
    install = _install(facts, _newer(facts))
    if python is None:
        started = [each for each in facts.pythons if each.version]
        if started:
            seen = ", ".join(f"{_dotted(each.version or ())} ({each.path})" for each in started[:SHOWN])
            yield blocking("python-old", f"Python is {seen}; the agent needs {floor} or later", install)
        elif facts.pythons:
            path = facts.pythons[0].path
            yield blocking(
                "python-broken",
                f"{path} does not start; the agent needs Python {floor} or later",
                f"try `{path} -V`; {install}",
            )
        else:
            yield blocking("python-missing", f"there is no python3; the agent needs {floor} or later", install)
        return
    if python.private:
        yield warning(
            "python-private",
            f"the only Python {floor} or later is {python.executable or python.path}; applications cannot look there",
            install,
        )
    if python.venv is False:
        yield warning(
            "python-venv",
            f"{python.path} ({_dotted(python.version or ())}) cannot import venv and ensurepip",
            _install(facts, f"{python.path.rpartition('/')[2]}-{'libs' if _family(facts) == 'dnf' else 'venv'}"),
        )


def _machine(facts: Facts) -> Iterator[Finding]:
    supported = " or ".join(ARCHITECTURES)
    if facts.architecture is not None and facts.architecture not in ARCHITECTURES:
        yield blocking(
            "architecture", f"the architecture is {facts.architecture}; Envoy needs {supported}", "use another server"
        )
    elif facts.word_bits == 32:
        yield blocking(
            "architecture",
            f"the system is 32-bit on a {facts.architecture} kernel; Envoy needs {supported}",
            "install a 64-bit system",
        )
    if facts.libc == "musl":
        yield blocking(
            "libc",
            f"the C library is musl; Envoy needs glibc {_dotted(GLIBC_FLOOR)} or later",
            "use Debian, Ubuntu or Amazon Linux instead of Alpine",
        )
    elif facts.libc_version is not None and facts.libc_version < GLIBC_FLOOR:
        yield blocking(
            "libc",
            f"glibc is {_dotted(facts.libc_version)}; Envoy needs {_dotted(GLIBC_FLOOR)} or later",
            "upgrade the system: Amazon Linux 2023, Debian 11, Ubuntu 20.04 or later",
        )


def _disks(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
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
            f"{place} has {_size(disk.free)} free; {disk.path} needs {_size(size)}",
            f"`sudo du -xh {quoted} | sort -h | tail`; `sudo journalctl --vacuum-size=200M`",
        )
    if disk.inodes_free is not None and disk.inodes_free < inodes:
        yield blocking(
            "inodes-full",
            f"{place} has {disk.inodes_free} inodes free; {disk.path} needs {inodes}",
            f"`sudo du -x --inodes {quoted} | sort -n | tail`",
        )


def _memory(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    available, total = facts.memory_available, facts.memory_total
    if available is not None and available < wanted.memory:
        of = f" of {_size(total)}" if total is not None else ""
        yield blocking(
            "memory",
            f"{_size(available)}{of} of memory available; {_size(wanted.memory)} needed",
            "`ps axo rss,pid,comm --sort=-rss | head` shows who has it",
        )
    if facts.swap_total == 0 and total is not None and total < SWAPLESS:
        yield warning(
            "swap",
            f"no swap, and {_size(total)} of memory (less than {_size(SWAPLESS)}): a peak kills processes",
            "`sudo sh -c 'fallocate -l 2G /swapfile && chmod 600 /swapfile && mkswap /swapfile && swapon /swapfile'`",
        )


def _port(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    ours = facts.holder is not None
    for listener in facts.listening or ():
        if listener.port != wanted.port or (ours and (listener.unit or "").startswith("beanpole-")):
            continue
        # Without root no process has a name; on a server of ours the port's holder is then most likely our own proxy.
        if ours and listener.pid is None and not facts.powerful:
            continue
        who, remedy = _occupant(listener)
        yield blocking(
            "port-taken", f"the application port {wanted.port} is held by {who} on {listener.address}", remedy
        )
        break
    if wanted.reach == "filtered":
        yield warning(
            "port-filtered",
            f"port {wanted.port} does not answer from outside: a firewall or security group drops it",
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
            cause=f"runs beside us: {_some(names, 'service')}",
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


def _newer(facts: Facts) -> str:
    """The package to install: where the system's own python3 is too old, these lie beside it in the distribution's."""
    beside = {"apt-get": "python3.9", "dnf": "python3.11"}.get(_family(facts) or "")
    return beside if facts.pythons and beside else "python3"


def _family(facts: Facts) -> str | None:
    kin = {facts.os_id, *facts.os_like}
    if kin & {"debian", "ubuntu"}:
        return "apt-get"
    return "dnf" if kin & {"amzn", "fedora", "rhel", "centos"} else None


def _install(facts: Facts, package: str, *, root: bool = False) -> str:
    family = _family(facts)
    if family is None:
        return f"install {package} from the system's packages"
    return f"`{'' if root else 'sudo '}{family} install {package}`"


def _some(names: tuple[str, ...], noun: str) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} {noun}{'' if len(names) == 1 else 's'} ({', '.join(names[:SHOWN])}{more})"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _size(amount: int) -> str:
    if amount >= 1024**3:
        return f"{amount / 1024**3:.1f} GiB"
    return f"{amount / 1024**2:.0f} MiB"
