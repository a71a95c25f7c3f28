"""The lines that `facts.sh` prints on a server, read into `Facts`.

A fact that is missing, cut off or garbled is None (or an empty tuple), never an exception: servers are strange, and the
report exists to say so. What a login script prints before or after our lines is passed over. The text of a server loses
its control characters before it can reach a terminal.
"""

from __future__ import annotations

import ipaddress
import re
from collections import defaultdict

import msgspec

from beanpole.fleet.servers.facts import LOOKS, Disk, Entry, Facts, Holder, Listener, Python, Service

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
        missing_tools=tuple(values["missing_tool"]),
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
