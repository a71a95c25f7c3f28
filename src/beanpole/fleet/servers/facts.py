"""What a server is: the lines that `facts.sh` prints there, read into one typed value.

A fact that is missing, cut off or garbled is None (or an empty tuple), never an exception: servers are strange, and the
report exists to say so. What a login script prints before or after our lines is passed over. The text of a server loses
its control characters before it can reach a terminal.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict
from importlib import resources

import msgspec

PYTHON_FLOOR = (3, 9)
"""The agent's oldest Python."""

LOOKS = ("machine", "rights", "pythons", "disks")
"""The parts of the report; each says when it has ended."""

SERVICES = 50
"""Services in the report; more help nobody."""

PLUMBING = re.compile(
    r"(systemd-.*|dbus(-broker)?|.*getty@.*|sshd?(@.*)?|crond?|atd|anacron|r?syslog(-ng|d)?|polkit|user@.*|user-runtime-dir@.*"
    r"|chronyd?|ntpd?|ntpsec|auditd|acpid|irqbalance|unattended-upgrades|networkd-dispatcher|NetworkManager.*|ModemManager"
    r"|wpa_supplicant|multipathd|udisks2|upower|accounts-daemon|fwupd|packagekit|snapd|snap\.amazon-ssm-agent\..*|amazon-ssm-agent"
    r"|cloud-init.*|cloud-config|cloud-final|qemu-guest-agent|open-vm-tools|vgauth|hibinit-agent|gssproxy|rngd|rng-tools.*"
    r"|libstoragemgmt|lvm2-.*|dm-event|tuned|sssd|nscd|rpcbind|smartd|smartmontools|thermald|avahi-daemon|firewalld|fail2ban"
    r"|switcheroo-control|power-profiles-daemon|rtkit-daemon|haveged|console-.*|uuidd|blk-availability|iscsid|beanpole-.*)\.service"
)
"""Services that a distribution runs by itself, and ours. One written in /etc/systemd/system is somebody's own."""

_INTEGER = re.compile(r"[0-9]{1,18}")
_DF = re.compile(
    r"(?P<device>\S.*?)\s+(?P<total>\d{1,18})\s+\d{1,18}\s+(?P<free>\d{1,18})\s+(?:\d+%|-)\s+(?P<point>/.*)"
)
_LISTENER = re.compile(r'\("((?:[^"\\]|\\.)*)",pid=(\d{1,10})')
_LIBC = (
    ("musl", re.compile(r"musl libc.*?Version ([0-9.]+)")),
    ("glibc", re.compile(r"glibc ([0-9.]+)")),
    ("glibc", re.compile(r"(?:GLIBC|GNU libc|GNU C Library)[^)]*\)[^0-9]*([0-9]+\.[0-9]+)")),
)
_VAR_APP = re.compile(r"(?P<kind>[dl-]).*?\s(?P<path>/var/app\S*)(?: -> (?P<target>.*))?")
_KINDS = {"d": "folder", "l": "link", "-": "file"}


class FactsUnreadable(Exception):
    """The server's answer is none of ours; the message has its first words and what to try."""


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


def parse(text: str) -> Facts:
    """The facts in the output of the script. Raises FactsUnreadable if there is no line of ours in it."""
    lines = [line.rstrip("\r") for line in text.split("\n")]
    begin = next((at for at, line in enumerate(lines) if line == "beanpole-facts\tbegin"), None)
    if begin is None:
        words = next((words for line in lines if (words := _clean(line).strip())), "")
        raise FactsUnreadable(
            (
                f"the server's shell answered {words[:120]!r} and no report"
                if words
                else "the server's shell answered nothing"
            )
            + ". Try `ssh USER@HOST sh -c :`; the user needs a login shell that runs commands"
        )
    values: dict[str, list[str]] = defaultdict(list)
    for line in lines[begin + 1 :]:
        if line == "beanpole-facts\tend":
            break
        key, tab, value = line.partition("\t")
        if tab:
            values[key].append(_clean(value))
    return _facts(values)


def _facts(values: dict[str, list[str]]) -> Facts:
    def first(key: str) -> str | None:
        return next((value.strip() for value in values[key] if value.strip()), None)

    done = values["done"]
    memory = {name: _integer(kib) for name, kib in _pairs(values["memory_kib"])}
    system = {key: value.strip("\"'") for key, _, value in (line.partition("=") for line in values["os"])}
    libc, libc_version = _libc(first("libc") or "")
    version = re.match(r"systemd (\d{1,6})", first("systemd") or "")
    enforcing = first("selinux_enforcing")
    return Facts(
        unfinished=tuple(look for look in LOOKS if look not in done),
        user=first("user"),
        uid=_integer(first("uid")),
        sudo=sudo if (sudo := first("sudo")) in ("yes", "password", "missing", "no") else None,
        sudo_words=first("sudo_words"),
        init=first("init"),
        systemd=int(version[1]) if version else None,
        systemd_state=first("systemd_state"),
        failed_units=tuple(values["failed_unit"]) if values["units_listed"] else None,
        pythons=_pythons(values["python"]) if values["python"] or "pythons" in done else None,
        libc=libc,
        libc_version=libc_version,
        kernel=first("kernel"),
        architecture=first("architecture"),
        word_bits=_integer(first("word_bits")),
        cpus=_integer(first("cpus")),
        memory_total=_bytes(memory.get("MemTotal")),
        memory_available=_bytes(memory.get("MemAvailable")),
        swap_total=_bytes(memory.get("SwapTotal")),
        swap_free=_bytes(memory.get("SwapFree")),
        disks=_disks(values),
        clock_began=_integer(first("clock_began")),
        clock_ended=_integer(first("clock_ended")),
        clock_step=max((_integer(step) or 1 for step in values["clock_step"]), default=1),
        listening=_listening(values),
        services=_services(values["service"]) if values["units_listed"] else None,
        os_id=system.get("ID") or None,
        os_like=tuple(system.get("ID_LIKE", "").split()),
        os_version=system.get("VERSION_ID") or None,
        os_name=system.get("PRETTY_NAME") or None,
        machine_id=_matching(r"[0-9a-f]{32}", first("machine_id")),
        boot_id=_matching(r"[0-9a-f-]{32,36}", first("boot_id")),
        host_name=first("host_name"),
        holder=_holder(values["holder_hex"]),
        var_app=tuple(
            Entry(path=found["path"], kind=_KINDS[found["kind"]], target=found["target"])
            for line in values["var_app"]
            if (found := _VAR_APP.fullmatch(line))
        ),
        selinux={"1": "enforcing", "0": "permissive"}.get(enforcing or ""),
        firewalls=tuple(values["firewall"]),
        firewall_tools=tuple(values["firewall_tool"]),
    )


def _clean(value: str) -> str:
    """The text without what would move a terminal's cursor; tabs separate fields and stay."""
    return "".join(sign if sign == "\t" or sign.isprintable() else "?" for sign in value)


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and _INTEGER.fullmatch(text) else None


def _bytes(kib: int | None) -> int | None:
    return None if kib is None else kib * 1024


def _matching(pattern: str, text: str | None) -> str | None:
    return text if text is not None and re.fullmatch(pattern, text) else None


def _version(text: str) -> tuple[int, ...] | None:
    parts = [_integer(part) for part in text.strip(".").split(".")]
    known = tuple(part for part in parts if part is not None)
    return known if len(known) == len(parts) else None


def _pairs(lines: list[str]) -> list[tuple[str, str]]:
    return [(key, value) for key, tab, value in (line.partition("\t") for line in lines) if tab]


def _libc(text: str) -> tuple[str | None, tuple[int, ...] | None]:
    for name, pattern in _LIBC:
        if found := pattern.search(text):
            return name, _version(found[1])
    return ("musl", None) if "musl" in text else (None, None)


def _pythons(lines: list[str]) -> tuple[Python, ...]:
    """Each program once, though several names lead to it."""
    found: dict[str, Python] = {}
    for line in lines:
        path, version, executable, venv, ensurepip = (*line.split("\t"), "", "", "", "")[:5]
        if not path:
            continue
        python = Python(path=path)
        if started := _version(version):
            has = (venv == "yes" and ensurepip == "yes") if venv and ensurepip else None
            python = Python(path=path, version=started, executable=executable or None, venv=has)
        found.setdefault(python.executable or path, python)
    by_age = sorted(found.values(), key=lambda python: python.version or (), reverse=True)
    return tuple(sorted(by_age, key=lambda python: not python.path.endswith("/python3")))


def _disks(values: dict[str, list[str]]) -> tuple[Disk, ...]:
    mounts = {fields[0]: (fields[1], fields[2]) for line in values["mount"] if len(fields := line.split("\t")) == 3}
    writable = {folder: said == "yes" for said, _, folder in (line.partition(" ") for line in values["writable"])}
    inodes = {path: _df(line) for path, _, line in _triples(values["disk_inodes"])}
    disks = []
    for path, folder, line in _triples(values["disk_space"]):
        total, free, point = _df(line)
        inodes_total, inodes_free, _ = inodes.get(path, (None, None, None))
        kind, options = mounts.get(point or "", (None, ""))
        disks.append(
            Disk(
                path=path,
                folder=folder,
                mount_point=point,
                file_system=kind,
                total=_bytes(total),
                free=_bytes(free),
                inodes_total=inodes_total or None,
                inodes_free=inodes_free if inodes_total else None,
                options=tuple(options.split(",")) if options else (),
                writable=writable.get(folder),
            )
        )
    return tuple(disks)


def _triples(lines: list[str]) -> list[tuple[str, str, str]]:
    return [(fields[0], fields[1], fields[2]) for line in lines if len(fields := line.split("\t", 2)) == 3]


def _df(line: str) -> tuple[int | None, int | None, str | None]:
    found = _DF.fullmatch(line.strip())
    return (int(found["total"]), int(found["free"]), found["point"]) if found else (None, None, None)


def _listening(values: dict[str, list[str]]) -> tuple[Listener, ...] | None:
    if not values["listening_source"]:
        return None
    units = _units(values["process_group"])
    found: dict[tuple[str, int], Listener] = {}
    for line in values["listening"]:
        fields = line.split()
        if len(fields) < 4 or fields[0] != "LISTEN":
            continue
        address, _, port = fields[3].rpartition(":")
        if (number := _integer(port)) is None:
            continue
        # Of a server and its workers the oldest is the one to name.
        holders = sorted((int(pid), name) for name, pid in _LISTENER.findall(line))
        pid, process = holders[0] if holders else (None, None)
        place = address.split("%", 1)[0].strip("[]"), number
        found.setdefault(
            place,
            Listener(address=place[0], port=number, process=process, pid=pid, unit=units.get(pid) if pid else None),
        )
    for line in values["listening_proc"]:
        fields = line.split()
        if len(fields) > 1 and (at := _proc_address(fields[1])):
            found.setdefault(at, Listener(address=at[0], port=at[1]))
    return tuple(sorted(found.values(), key=lambda listener: (listener.port, listener.address)))


def _units(lines: list[str]) -> dict[int, str]:
    units: dict[int, str] = {}
    for text, group in _pairs(lines):
        names = [name for name in group.split("/") if name.endswith(".service")]
        if names and (pid := _integer(text)) is not None:
            units[pid] = names[-1]
    return units


def _proc_address(text: str) -> tuple[str, int] | None:
    """`0100007F:1F90`: words of four bytes, each the wrong way round on every machine that we support."""
    if not re.fullmatch(r"([0-9A-Fa-f]{8}|[0-9A-Fa-f]{32}):[0-9A-Fa-f]{4}", text):
        return None
    digits, _, port = text.partition(":")
    raw = bytes.fromhex(digits)
    turned = b"".join(raw[at : at + 4][::-1] for at in range(0, len(raw), 4))
    return str(ipaddress.ip_address(turned)), int(port, 16)


def _services(lines: list[str]) -> tuple[Service, ...]:
    services = []
    block: dict[str, str] = {}
    for line in [*lines, ""]:
        if line.strip():
            key, _, value = line.partition("=")
            block.setdefault(key, value)
            continue
        unit, file = block.get("Id", ""), block.get("FragmentPath") or None
        own = not unit.startswith("beanpole-") and (file or "").startswith("/etc/systemd/system/")
        if unit and (own or not PLUMBING.fullmatch(unit)):
            command = re.search(r"argv\[\]=(.*?)(?: ; ignore_errors=|$)", block.get("ExecStart", ""))
            services.append(
                Service(
                    unit=unit,
                    pid=_integer(block.get("MainPID")) or None,
                    user=block.get("User") or "root",
                    command=command[1] if command else None,
                    folder=block.get("WorkingDirectory") or None,
                    file=file,
                )
            )
        block = {}
    return tuple(services[:SERVICES])


def _holder(lines: list[str]) -> Holder | None:
    if not lines:
        return None
    try:
        content = msgspec.json.decode(bytes.fromhex("".join(lines)))
    except (ValueError, RecursionError):  # msgspec's own error is a ValueError
        return Holder()
    if not isinstance(content, dict):
        return Holder()
    store, since = content.get("store"), content.get("since")
    return Holder(
        store=_clean(store) if isinstance(store, str) and store else None,
        since=_clean(str(since)) if isinstance(since, str | int | float) and since else None,
    )
