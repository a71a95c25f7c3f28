"""The lines of a server's report become facts, whatever else the server prints; nothing garbled raises."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.fleet.servers.facts import Facts, Listener, Python, skew
from beanpole.fleet.servers.reading import FactsUnreadable, parse

pytestmark = pytest.mark.pure

HOST_JSON = b'{"store":"st-other","since":"2026-03-01T02:00:00Z"}'

REPORT = f"""
beanpole-facts\tbegin
clock_began\t1700000000000
clock_step\t1
user\tec2-user
uid\t1000
sudo\tyes
sudo_words\t0
init\tsystemd
host_name\tml1
kernel\t6.1.0
architecture\tx86_64
word_bits\t64
machine_id\t3d1219c7c4c5404aaa1f6d2a48adfda4
boot_id\t71a7854b-e8eb-43fa-99cc-8225920fea3e
os\tID="amzn"
os\tID_LIKE="fedora"
os\tVERSION_ID="2023"
os\tPRETTY_NAME="Amazon Linux 2023"
libc\tglibc 2.34
cpus\t4
memory_kib\tMemTotal\t2048
memory_kib\tMemAvailable\t1024
memory_kib\tSwapTotal\t0
selinux_enforcing\t1
holder_hex\t {HOST_JSON.hex(" ")}
var_app\tdrwxr-xr-x 2 root root 4096 Mar  3 10:00 /var/app
var_app\tlrwxrwxrwx 1 root root 20 Mar  3 10:00 /var/app/current -> /var/lib/beanpole/i-1/current
firewall\tufw
done\tmachine
systemd\tsystemd 252 (252.16-1.amzn2023)
systemd_state\tdegraded
units_listed\tyes
failed_unit\tlogrotate.service
listening_source\tss
listening\tLISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=700,fd=3))
listening\tLISTEN 0 2048 [::]:8080 [::]:* users:(("gunicorn",pid=812,fd=5),("gunicorn",pid=810,fd=5))
listening\tLISTEN 0 4096 127.0.0.53%lo:53 0.0.0.0:*
listening_proc\t0: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1
process_group\t810\t0::/system.slice/pettracker-ml.service
service\tId=pettracker-ml.service
service\tMainPID=810
service\tUser=pets
service\tExecStart={{ path=/srv/gunicorn ; argv[]=/srv/gunicorn -b :8080 app:app ; ignore_errors=no ; pid=810 }}
service\tWorkingDirectory=/srv/pets
service\tFragmentPath=/etc/systemd/system/pettracker-ml.service
service\t
service\tId=systemd-journald.service
service\tMainPID=300
service\tFragmentPath=/usr/lib/systemd/system/systemd-journald.service
writable\tyes /var/lib
writable\tno /var
done\trights
python\t/usr/bin/python3\t3.9.16\t/usr/bin/python3.9\tyes\tyes
python\t/usr/bin/python3.9\t3.9.16\t/usr/bin/python3.9\tyes\tyes
python\t/usr/bin/python3.11\t3.11.2\t/usr/bin/python3.11\tyes\tno
python\t/usr/local/bin/python3.12\t
done\tpythons
disk_space\t/var/lib/beanpole\t/var/lib\t/dev/xvda1 8000 3000 5000 38% /
disk_inodes\t/var/lib/beanpole\t/var/lib\t/dev/xvda1 1000 400 600 40% /
disk_space\t/var/app\t/var\ttmpfs 0 0 0 - /var
disk_inodes\t/var/app\t/var\ttmpfs 0 0 0 - /var
mount\t/\txfs\tro,noexec
done\tdisks
clock_ended\t1700000000400
beanpole-facts\tend
"""


def test_a_whole_report() -> None:
    facts = parse(REPORT)
    assert facts.unfinished == ()
    assert (facts.user, facts.uid, facts.sudo, facts.powerful) == ("ec2-user", 1000, "yes", True)
    assert facts.elevation == ("sudo", "-n")
    assert (facts.init, facts.systemd, facts.systemd_state) == ("systemd", 252, "degraded")
    assert facts.failed_units == ("logrotate.service",)
    assert (facts.libc, facts.libc_version, facts.architecture, facts.word_bits) == ("glibc", (2, 34), "x86_64", 64)
    assert (facts.memory_total, facts.memory_available, facts.swap_total, facts.swap_free) == (
        2 << 20,
        1 << 20,
        0,
        None,
    )
    assert (facts.os_id, facts.os_like, facts.os_version, facts.os_name) == (
        "amzn",
        ("fedora",),
        "2023",
        "Amazon Linux 2023",
    )
    assert facts.machine_id == "3d1219c7c4c5404aaa1f6d2a48adfda4"
    assert facts.boot_id == "71a7854b-e8eb-43fa-99cc-8225920fea3e"
    assert facts.holder is not None
    assert (facts.holder.store, facts.holder.since) == ("st-other", "2026-03-01T02:00:00Z")
    assert [(entry.path, entry.kind, entry.target) for entry in facts.var_app] == [
        ("/var/app", "folder", None),
        ("/var/app/current", "link", "/var/lib/beanpole/i-1/current"),
    ]
    assert (facts.selinux, facts.firewalls, facts.clock_step) == ("enforcing", ("ufw",), 1)


def test_ports_are_named_by_the_oldest_of_their_processes() -> None:
    assert parse(REPORT).listening == (
        Listener(address="0.0.0.0", port=22, process="sshd", pid=700),
        Listener(address="127.0.0.53", port=53),
        Listener(address="::", port=8080, process="gunicorn", pid=810, unit="pettracker-ml.service"),
        Listener(address="127.0.0.1", port=8081),
    )


def test_services_are_those_somebody_made() -> None:
    services = parse(REPORT).services
    assert services is not None
    (service,) = services
    assert (service.unit, service.pid, service.user) == ("pettracker-ml.service", 810, "pets")
    assert (service.command, service.folder) == ("/srv/gunicorn -b :8080 app:app", "/srv/pets")


def test_a_unit_in_etc_is_somebodys_own_whatever_its_name() -> None:
    report = REPORT.replace("Id=pettracker-ml.service", "Id=cron.service")
    assert [service.unit for service in parse(report).services or ()] == ["cron.service"]


def test_disks_have_the_options_and_sizes_of_their_mount() -> None:
    home, app = parse(REPORT).disks
    assert (home.path, home.mount_point, home.file_system, home.options) == (
        "/var/lib/beanpole",
        "/",
        "xfs",
        ("ro", "noexec"),
    )
    assert (home.total, home.free, home.inodes_total, home.inodes_free) == (8000 * 1024, 5000 * 1024, 1000, 600)
    assert home.read_only
    assert home.writable is True
    assert (app.inodes_total, app.inodes_free, app.writable, app.read_only) == (None, None, False, True)


def test_an_interpreter_with_two_names_is_one() -> None:
    facts = parse(REPORT)
    assert facts.pythons == (
        Python(path="/usr/bin/python3", version=(3, 9, 16), executable="/usr/bin/python3.9", venv=True),
        Python(path="/usr/bin/python3.11", version=(3, 11, 2), executable="/usr/bin/python3.11", venv=False),
        Python(path="/usr/local/bin/python3.12"),
    )
    assert facts.python == facts.pythons[0]


@pytest.mark.parametrize(
    ("found", "chosen"),
    [
        ([("/usr/bin/python3", (3, 6, 8)), ("/usr/bin/python3.11", (3, 11))], "/usr/bin/python3.11"),
        ([("/home/ann/python/bin/python3", (3, 12)), ("/usr/bin/python3.9", (3, 9))], "/usr/bin/python3.9"),
        ([("/home/u/bin/python3", (3, 12))], "/home/u/bin/python3"),
        ([("/usr/bin/python3", (3, 8))], None),
        ([("/usr/bin/python3", None)], None),
        ([], None),
    ],
)
def test_the_agents_interpreter(found: list[tuple[str, tuple[int, ...] | None]], chosen: str | None) -> None:
    python = Facts(pythons=tuple(Python(path=path, version=version) for path, version in found)).python
    assert (python and python.path) == chosen


@pytest.mark.parametrize(
    ("said", "libc", "version"),
    [
        ("glibc 2.36", "glibc", (2, 36)),
        ("ldd (Debian GLIBC 2.36-9+deb12u10) 2.36 Copyright (C) 2022", "glibc", (2, 36)),
        ("ldd (GNU libc) 2.34 Copyright", "glibc", (2, 34)),
        ("musl libc (x86_64) Version 1.2.4 ", "musl", (1, 2, 4)),
        ("", None, None),
        ("glibc two", None, None),
    ],
)
def test_the_c_library(said: str, libc: str | None, version: tuple[int, ...] | None) -> None:
    facts = parse(f"beanpole-facts\tbegin\nlibc\t{said}\n")
    assert (facts.libc, facts.libc_version) == (libc, version)


def test_noise_around_the_report_and_a_terminals_line_ends_change_nothing() -> None:
    noisy = "Welcome to ml1!\nuser\tnobody\n" + REPORT.replace("\n", "\r\n") + "logout\r\nuser\tnobody\r\n"
    assert parse(noisy) == parse(REPORT)


def test_a_report_that_was_cut_says_what_is_missing() -> None:
    facts = parse(REPORT[: REPORT.index("done\trights")])
    assert facts.unfinished == ("rights", "pythons", "disks")
    assert facts.pythons is None
    assert facts.clock_ended is None


def test_unknown_is_not_empty() -> None:
    facts = parse("beanpole-facts\tbegin\n")
    assert (facts.listening, facts.services, facts.failed_units, facts.pythons) == (None, None, None, None)
    assert parse("beanpole-facts\tbegin\ndone\tpythons\n").pythons == ()


@pytest.mark.parametrize("content", ["", "zz", "7b", "5b 5d", "5b" * 8000, "ff fe"])
def test_a_holder_that_cannot_be_understood_is_still_one(content: str) -> None:
    holder = parse(f"beanpole-facts\tbegin\nholder_hex\t{content}\n").holder
    assert holder is not None
    assert holder.store is None


def test_a_server_cannot_write_to_the_terminal() -> None:
    assert parse("beanpole-facts\tbegin\nhost_name\tml1\x1b[2J\u202e\n").host_name == "ml1?[2J?"


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("", "answered nothing"),
        ("\n\n", "answered nothing"),
        ("This account is currently not available.\n", "This account is currently not available."),
        ("user\troot\nbeanpole-facts\tend\n", "no report"),
    ],
)
def test_what_is_no_report_is_refused_with_its_words(answer: str, words: str) -> None:
    with pytest.raises(FactsUnreadable, match=words):
        parse(answer)


@pytest.mark.parametrize(
    ("began", "ended", "step", "sent", "received", "expected"),
    [
        (1_000, 1_400, 1, 900, 1_500, 0),  # 100 ms each way, no skew
        (61_000, 61_400, 1, 900, 1_500, 59_900),  # a minute ahead, less what the way may explain
        (-60_000, -59_600, 1, 900, 1_500, -60_900),
        (6_000, 6_100, 1, 0, 10_000, 0),  # a slow way hides it
        (3_000, 3_000, 1000, 900, 1_100, 900),  # whole seconds only
        (None, 3_000, 1, 0, 1, None),
    ],
)
def test_skew_is_what_the_way_cannot_explain(
    began: int | None, ended: int, step: int, sent: int, received: int, expected: int | None
) -> None:
    facts = Facts(clock_began=began, clock_ended=ended, clock_step=step)
    assert skew(facts, sent, received) == expected


@given(st.text())
def test_any_text_is_a_report_or_refused(text: str) -> None:
    try:
        parse(text)
    except FactsUnreadable as refusal:
        assert str(refusal)


@st.composite
def garbled(draw: st.DrawFn) -> str:
    """A real report with lines cut, replaced, swapped, or values exchanged for anything."""
    lines = REPORT.split("\n")
    for _ in range(draw(st.integers(1, 12))):
        at = draw(st.integers(2, len(lines) - 1))
        key, tab, value = lines[at].partition("\t")
        cut = draw(st.integers(0, len(value)))
        other = draw(st.sampled_from(lines)).partition("\t")[2]
        anything = draw(st.text(max_size=30) | st.integers().map(str))
        lines[at] = key + tab + draw(st.sampled_from([value[:cut], value[:cut] + anything, anything, other]))
    return "\n".join(lines)


@given(garbled())
def test_a_garbled_report_never_raises(text: str) -> None:
    assert isinstance(parse(text), Facts)
