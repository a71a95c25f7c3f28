"""What a server is, as one typed value: the facts that `facts.sh` prints there. `reading` makes it of those lines.

A fact that is missing, cut off or garbled is None (or an empty tuple).
"""

from __future__ import annotations

from importlib import resources

import msgspec

PYTHON_FLOOR = (3, 9)
"""The agent's oldest Python."""

LOOKS = ("machine", "rights", "pythons", "disks")
"""The parts of the report; each says when it has ended."""


class Python(msgspec.Struct, frozen=True, kw_only=True):
    """An interpreter that was found. `version` is None when it did not start."""

    path: str
    version: tuple[int, ...] | None = None
    executable: str | None = None
    """The program itself, behind links and wrappers: what a unit should name."""
    venv: bool | None = None
    """Whether `venv` and `ensurepip` can be imported."""

    @property
    def private(self) -> bool:
        """In a home folder, where an application's own user may not look."""
        return (self.executable or self.path).startswith(("/root/", "/home/"))


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """The file system that holds `path`, or will: `folder` is the nearest parent that exists. Sizes in bytes."""

    path: str
    folder: str
    mount_point: str | None = None
    file_system: str | None = None
    total: int | None = None
    free: int | None = None
    """What an ordinary user may still write."""
    inodes_total: int | None = None
    """None where the file system does not count them."""
    inodes_free: int | None = None
    options: tuple[str, ...] = ()
    writable: bool | None = None
    """Whether root may write in `folder`; None if nobody could ask as root."""

    @property
    def read_only(self) -> bool:
        return "ro" in self.options or self.writable is False


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """A listening TCP port. Without root the process is None for what belongs to others."""

    address: str
    port: int
    process: str | None = None
    pid: int | None = None
    unit: str | None = None


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A running service unit that is not the distribution's own plumbing."""

    unit: str
    pid: int | None = None
    user: str = "root"
    command: str | None = None
    """The words of ExecStart, joined by blanks."""
    folder: str | None = None
    """WorkingDirectory."""
    file: str | None = None
    """Where the unit is written."""


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds the server, by its host.json. `store` is None when that file cannot be read or understood."""

    store: str | None = None
    since: str | None = None


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """/var/app or a thing in it. `kind`: folder, link or file."""

    path: str
    kind: str
    target: str | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """A server at one moment. None: unknown. Sizes in bytes, times in milliseconds since 1970 by the server's clock."""

    unfinished: tuple[str, ...] = ()
    """Looks (of LOOKS) that had not ended when the report did: something hung, or the connection was cut."""
    user: str | None = None
    uid: int | None = None
    sudo: str | None = None
    """"yes": without a password; "password": it asks for one, or does not know the user; "missing"; "no": refused."""
    sudo_words: str | None = None
    """What sudo said last."""
    init: str | None = None
    """The name of process 1; "systemd" only where it really manages the system."""
    systemd: int | None = None
    systemd_state: str | None = None
    """running, degraded, starting, maintenance…, as `systemctl is-system-running` has it."""
    failed_units: tuple[str, ...] | None = None
    pythons: tuple[Python, ...] | None = None
    """`python3` first, then by version; None if nobody looked, empty if there is none."""
    libc: str | None = None
    """glibc or musl."""
    libc_version: tuple[int, ...] | None = None
    kernel: str | None = None
    architecture: str | None = None
    word_bits: int | None = None
    """32 for a 32-bit system, also on a 64-bit kernel."""
    cpus: int | None = None
    memory_total: int | None = None
    memory_available: int | None = None
    swap_total: int | None = None
    swap_free: int | None = None
    disks: tuple[Disk, ...] = ()
    clock_began: int | None = None
    clock_ended: int | None = None
    clock_step: int = 1
    """Milliseconds: how fine the clock was read."""
    listening: tuple[Listener, ...] | None = None
    services: tuple[Service, ...] | None = None
    os_id: str | None = None
    os_like: tuple[str, ...] = ()
    os_version: str | None = None
    os_name: str | None = None
    machine_id: str | None = None
    boot_id: str | None = None
    host_name: str | None = None
    holder: Holder | None = None
    """None: no Beanpole holds the server."""
    var_app: tuple[Entry, ...] = ()
    selinux: str | None = None
    """enforcing, permissive, or None where there is none."""
    firewalls: tuple[str, ...] = ()
    """Firewalls that are switched on, as far as an ordinary user sees: ufw, firewalld."""
    firewall_tools: tuple[str, ...] = ()
    missing_tools: tuple[str, ...] = ()
    """Programs that our scripts need there, and that are not."""

    @property
    def powerful(self) -> bool:
        """Whether commands can run as root without a question."""
        return self.uid == 0 or self.sudo == "yes"

    @property
    def elevation(self) -> tuple[str, ...]:
        """The words before a command that is to run as root."""
        return () if self.uid == 0 else ("sudo", "-n")

    @property
    def python(self) -> Python | None:
        """The interpreter for the agent: not in somebody's home if possible, `python3` before the newest other."""
        fit = [python for python in self.pythons or () if python.version and python.version >= PYTHON_FLOOR]
        return min(fit, key=lambda python: python.private, default=None)

    def disk(self, path: str) -> Disk | None:
        return next((disk for disk in self.disks if disk.path == path), None)


def script() -> str:
    """The text for the standard input of `sh -s` on the server."""
    return resources.files(__package__).joinpath("facts.sh").read_text(encoding="utf-8")


def skew(facts: Facts, sent: int, received: int) -> int | None:
    """Milliseconds by which the server's clock is surely ahead (negative: behind); 0 if the round trip explains it all.

    `sent` and `received` are our own clock (ms since 1970) before the script went and after its last line came.
    """
    if facts.clock_began is None or facts.clock_ended is None:
        return None
    offset = ((facts.clock_began - sent) + (facts.clock_ended - received)) // 2
    travelled = (received - sent) - (facts.clock_ended - facts.clock_began)
    doubt = max(0, travelled) // 2 + (facts.clock_step if facts.clock_step > 1 else 0)
    certain = max(0, abs(offset) - doubt)
    return certain if offset > 0 else -certain
