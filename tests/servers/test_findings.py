"""Each thing that can stand in the way is said in one line with its number, and its remedy; all of them at once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.fleet.servers.facts import Disk, Entry, Facts, Holder, Listener, Python, Service
from beanpole.fleet.servers.findings import Finding, Known, Wanted, findings
from beanpole.fleet.servers.reading import parse

pytestmark = pytest.mark.pure

GIB = 1024**3
MACHINE = "3d1219c7c4c5404aaa1f6d2a48adfda4"
BOOT = "71a7854b-e8eb-43fa-99cc-8225920fea3e"


def disk(path: str = "/var/lib/beanpole", **other: Any) -> Disk:
    values: dict[str, Any] = {
        "folder": "/var/lib",
        "mount_point": "/",
        "free": 9 * GIB,
        "inodes_free": 10**6,
        "options": ("rw",),
    }
    return Disk(path=path, **(values | other))


GOOD = Facts(
    user="ec2-user",
    uid=1000,
    sudo="yes",
    init="systemd",
    systemd=252,
    systemd_state="running",
    failed_units=(),
    pythons=(Python(path="/usr/bin/python3", version=(3, 9, 16), executable="/usr/bin/python3.9", venv=True),),
    libc="glibc",
    libc_version=(2, 34),
    architecture="x86_64",
    word_bits=64,
    memory_total=4 * GIB,
    memory_available=3 * GIB,
    swap_total=0,
    disks=(disk(),),
    listening=(Listener(address="0.0.0.0", port=22, process="sshd", pid=700, unit="ssh.service"),),
    services=(),
    machine_id=MACHINE,
    boot_id=BOOT,
    host_name="ml1",
)
WANTED = Wanted(store="st-mine", port=8080, disk=2 * GIB, memory=GIB, skew=10)


def found(wanted: Wanted = WANTED, **facts: Any) -> tuple[Finding, ...]:
    return findings(msgspec.structs.replace(GOOD, **facts), wanted)


def one(wanted: Wanted = WANTED, **facts: Any) -> Finding:
    (finding,) = found(wanted, **facts)
    return finding


def test_a_good_server_has_none() -> None:
    assert found() == ()


def python(*version: int, path: str = "/usr/bin/python3", venv: bool = True) -> tuple[Python, ...]:
    return (Python(path=path, version=version or None, venv=venv),)


BLOCKING: list[tuple[str, dict[str, Any], str, str]] = [
    ("sudo-missing", {"sudo": "missing"}, "there is no sudo, and ec2-user is not root", "connect as root@HOST"),
    (
        "sudo-password",
        {"sudo": "password", "sudo_words": "sudo: a password is required"},
        "sudo asks ec2-user for a password (sudo: a password is required)",
        "printf '%s\\n' 'ec2-user ALL=(ALL:ALL) NOPASSWD: ALL' | sudo tee /etc/sudoers.d/beanpole",
    ),
    ("sudo-refused", {"sudo": "no"}, "sudo refuses ec2-user", "NOPASSWD: ALL"),
    ("sudo-unknown", {"sudo": None}, "ec2-user", "sudo -n true"),
    ("systemd-missing", {"init": "tini", "systemd": None}, "process 1 is tini", "systemd manages"),
    ("systemd-old", {"systemd": 219}, "systemd is 219; our units need 240 for StandardOutput=append:", "Amazon Linux"),
    ("systemd-old", {"systemd": 239}, "systemd is 239; our units need 240", "Debian 11"),
    ("systemd-state", {"systemd_state": "maintenance"}, "maintenance", "reboot"),
    (
        "tools-missing",
        {"missing_tools": ("tar", "useradd", "userdel"), "os_id": "amzn"},
        "there is no tar and no useradd and no userdel",
        "`sudo dnf install tar shadow-utils`",
    ),
    ("python-missing", {"pythons": ()}, "no python3; the agent needs 3.9 or later", "install python3"),
    ("python-old", {"pythons": python(3, 6, 8)}, "Python is 3.6.8 (/usr/bin/python3); the agent needs 3.9", "install"),
    ("python-broken", {"pythons": python()}, "/usr/bin/python3 does not start", "`/usr/bin/python3 -V`"),
    ("libc", {"libc_version": (2, 26)}, "glibc is 2.26; Envoy needs 2.31", "Debian 11"),
    ("libc", {"libc": "musl", "libc_version": (1, 2, 4)}, "musl; Envoy needs glibc 2.31", "Alpine"),
    ("architecture", {"architecture": "armv7l"}, "armv7l; Envoy needs x86_64 or aarch64", "another"),
    ("architecture", {"architecture": "aarch64", "word_bits": 32}, "32-bit", "64-bit"),
    ("disk-read-only", {"disks": (disk(options=("ro",)),)}, "the file system / is read-only", "remount,rw /"),
    ("disk-read-only", {"disks": (disk(writable=False),)}, "root cannot write in /var/lib", "dmesg"),
    ("disk-noexec", {"disks": (disk(options=("rw", "noexec")),)}, "/ is mounted noexec", "remount,exec"),
    (
        "disk-full",
        {"disks": (disk(free=300 * 1024**2),)},
        "/ has 300 MiB free; /var/lib/beanpole needs 2.0 GiB",
        "du -xh /",
    ),
    (
        "inodes-full",
        {"disks": (disk(inodes_free=12),)},
        "/ has 12 inodes free; /var/lib/beanpole needs 20000",
        "inodes",
    ),
    (
        "disk-full",
        {"disks": (disk(), disk("/tmp", mount_point="/tmp", free=0))},
        "/tmp has 0 MiB free; /tmp needs 16 MiB",
        "du",
    ),
    ("memory", {"memory_available": 200 * 1024**2}, "200 MiB of 4.0 GiB of memory available; 1.0 GiB needed", "ps "),
    ("held", {"holder": Holder(store="st-other", since="2026-03-01")}, "(store st-other) since 2026-03-01", "--force"),
    ("held", {"holder": Holder()}, "host.json does not name", "--force"),
]


@pytest.mark.parametrize(("code", "facts", "cause", "remedy"), BLOCKING)
def test_what_blocks(code: str, facts: dict[str, Any], cause: str, remedy: str) -> None:
    finding = one(**facts)
    assert (finding.code, finding.severity) == (code, "blocking")
    assert cause in finding.cause
    assert remedy in finding.remedy


WARNINGS: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "systemd-degraded",
        {"systemd_state": "degraded", "failed_units": ("a.service",)},
        "1 unit (a.service) failed",
        "--failed",
    ),
    ("systemd-state", {"systemd_state": "starting"}, "still starting", "list-jobs"),
    ("swap", {"memory_total": GIB * 3 // 2}, "no swap, and 1.5 GiB of memory (less than 2.0 GiB)", "mkswap"),
    ("python-venv", {"pythons": python(3, 11, 2, venv=False)}, "(3.11.2) cannot import venv", "venv"),
    ("python-private", {"pythons": python(3, 12, path="/root/bin/python3")}, "/root/bin/python3", "install"),
    ("selinux", {"selinux": "enforcing"}, "SELinux is enforcing", "ausearch"),
    ("firewall", {"firewalls": ("ufw",)}, "ufw is on", "`sudo ufw allow 8080/tcp`"),
    ("var-app", {"var_app": (Entry(path="/var/app/current", kind="folder"),)}, "/var/app/current belongs", "ls -l"),
    ("unfinished", {"unfinished": ("disks",), "disks": ()}, "the look at disks did not end", "df"),
    ("unknown", {"machine_id": None, "listening": None}, "could not be read: machine-id, listening ports", "proc"),
]


@pytest.mark.parametrize(("code", "facts", "cause", "remedy"), WARNINGS)
def test_what_is_warned_of(code: str, facts: dict[str, Any], cause: str, remedy: str) -> None:
    finding = one(**facts)
    assert (finding.code, finding.severity) == (code, "warning")
    assert cause in finding.cause
    assert remedy in finding.remedy


@pytest.mark.parametrize(
    ("skew", "severity", "cause"),
    [
        (None, None, ""),
        (1_999, None, ""),
        (2_000, "warning", "2.0 s ahead"),
        (-60_000, "warning", "60.0 s behind"),
        (60_001, "blocking", "60.0 s ahead; at most 60 s"),
        (-3_600_000, "blocking", "3600.0 s behind"),
    ],
)
def test_the_clock(skew: int | None, severity: str | None, cause: str) -> None:
    said = found(msgspec.structs.replace(WANTED, skew=skew))
    assert [finding.severity for finding in said] == ([severity] if severity else [])
    assert all(cause in finding.cause for finding in said)


@pytest.mark.parametrize(
    ("listener", "cause", "remedy"),
    [
        (
            Listener(address="127.0.0.1", port=8080, process="gunicorn", pid=810, unit="pets.service"),
            "the application port 8080 is held by gunicorn (pid 810, pets.service) on 127.0.0.1",
            "disable --now pets.service",
        ),
        (Listener(address="::", port=8080, process="java", pid=9), "held by java (pid 9) on ::", "sudo kill 9"),
        (Listener(address="::", port=8080), "a process that only root can name", "ss -ltnp 'sport = :8080'"),
    ],
)
def test_the_application_port_is_taken(listener: Listener, cause: str, remedy: str) -> None:
    finding = one(listening=(listener, msgspec.structs.replace(listener, address="10.0.0.1")))
    # A service can be adopted; until then nothing of ours wants its port.
    assert (finding.code, finding.severity) == ("port-taken", "warning" if listener.unit else "blocking")
    assert cause in finding.cause
    assert remedy in finding.remedy


def test_our_own_proxy_may_have_the_port() -> None:
    proxy = Listener(address="0.0.0.0", port=8080, process="envoy", pid=9, unit="beanpole-proxy.service")
    assert found(listening=(proxy,), holder=Holder(store="st-mine")) == ()
    assert one(listening=(proxy,)).code == "port-taken"


def test_force_takes_the_server_over_and_says_from_whom() -> None:
    finding = one(msgspec.structs.replace(WANTED, force=True), holder=Holder(store="st-other", since="2026-03-01"))
    assert (finding.code, finding.severity) == ("held", "note")
    assert "st-other" in finding.cause
    assert "since 2026-03-01" in finding.cause


@pytest.mark.parametrize(
    ("machine", "boot", "code", "severity"),
    [
        (MACHINE, BOOT, "same-host", "blocking"),
        (None, BOOT, "same-host", "blocking"),
        (MACHINE, "another", "same-host", "blocking"),
        ("another", BOOT, "same-kernel", "warning"),
        ("another", "another", None, None),
        (None, None, None, None),
    ],
)
def test_two_names_for_one_host(machine: str | None, boot: str | None, code: str | None, severity: str | None) -> None:
    said = found(msgspec.structs.replace(WANTED, known=(Known(name="ml9", machine_id=machine, boot_id=boot),)))
    assert [(finding.code, finding.severity) for finding in said] == ([(code, severity)] if code else [])
    assert all("ml9" in finding.cause for finding in said)


def test_a_port_that_a_firewall_drops() -> None:
    finding = one(msgspec.structs.replace(WANTED, reach="filtered"), firewalls=("firewalld",))
    assert (finding.code, finding.severity) == ("port-filtered", "blocking")
    assert "--add-port=8080/tcp" in finding.remedy
    assert found(msgspec.structs.replace(WANTED, reach="open"), firewalls=("ufw",)) == ()


def test_root_needs_no_sudo() -> None:
    assert found(user="root", uid=0, sudo="missing") == ()


def test_a_silent_sudo_is_told_from_an_unknown_one() -> None:
    said = found(sudo=None, unfinished=("rights",), systemd=None, listening=None)
    assert [finding.code for finding in said] == ["sudo-silent", "unfinished"]
    assert "/etc/hosts" in said[0].remedy


@pytest.mark.parametrize(
    ("system", "words"), [("debian", "sudo apt-get install python3-venv"), ("amzn", "sudo dnf install")]
)
def test_packages_by_the_systems_own_means(system: str, words: str) -> None:
    assert words in one(os_id=system, pythons=python(3, 11, venv=False)).remedy


def test_a_directory_users_name_is_escaped_for_sudoers() -> None:
    remedy = one(user="CORP\\ann lee", sudo="password").remedy
    assert "'CORP\\\\ann\\ lee ALL=(ALL:ALL) NOPASSWD: ALL'" in remedy


def test_one_file_system_is_named_once() -> None:
    full = (disk(free=0), disk("/etc", free=0), disk("/tmp", free=0))
    assert one(disks=full).code == "disk-full"


def test_services_beside_us_are_a_note() -> None:
    services = tuple(Service(unit=f"s{number}.service") for number in range(7))
    finding = one(services=services)
    assert (finding.code, finding.severity) == ("services", "note")
    assert "7 services (s0.service, s1.service, s2.service, s3.service, s4.service and 2 more)" in finding.cause


def test_everything_at_once_and_what_blocks_first() -> None:
    said = found(
        msgspec.structs.replace(WANTED, skew=5_000),
        selinux="enforcing",
        sudo="password",
        pythons=(),
        services=(Service(unit="a.service"),),
        disks=(disk(free=0),),
    )
    assert [finding.severity for finding in said] == ["blocking"] * 3 + ["warning"] * 2 + ["note"]
    assert {finding.code for finding in said} == {
        "sudo-password",
        "python-missing",
        "disk-full",
        "clock",
        "selinux",
        "services",
    }


KEYS = """user uid sudo sudo_words init systemd systemd_state units_listed failed_unit python libc architecture
word_bits memory_kib disk_space disk_inodes mount writable listening_source listening listening_proc process_group
service os holder_hex var_app firewall selinux_enforcing machine_id boot_id host_name done"""
WORDS = st.sampled_from(["yes", "no", "0", "/", "/var/lib", "a 1 2 3 4% /"]) | st.text(max_size=20)
LINES = st.tuples(st.sampled_from(KEYS.split()), st.lists(WORDS, max_size=5).map("\t".join))


@given(st.lists(LINES, max_size=40), st.integers() | st.none(), st.booleans())
def test_strange_servers_get_whole_lines(lines: list[tuple[str, str]], skew: int | None, force: bool) -> None:
    text = "beanpole-facts\tbegin\n" + "\n".join(f"{key}\t{value}" for key, value in lines)
    known = (Known(name="ml9", machine_id=MACHINE, boot_id=BOOT),)
    for finding in findings(parse(text), Wanted(store="st", port=80, skew=skew, force=force, known=known)):
        assert finding.cause
        assert "\n" not in finding.cause + finding.remedy
        assert finding.remedy or finding.severity == "note"
