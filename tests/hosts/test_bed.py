"""The test bed does what its README says; what is tested on it rests on that."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from bed import Bed, BedFailed, Server
from traces import remove_traces, traces

PATIENCE = 30.0  # seconds for what must come, such as what TCP sends again after a cut
SILENCE = 0.7  # seconds without a byte that a test takes for silence
ELSEWHERE = "192.0.2.1"  # an address that no network has (RFC 5737)


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    """A connection that has heard sshd's name, so that all that comes after it is news."""
    with socket.create_connection((server.address, server.port), timeout=PATIENCE) as connection:
        with connection.makefile("rb", buffering=0) as lines:
            assert lines.readline().startswith(b"SSH-")
        yield connection


def connects(server: Server) -> bool:
    """False when the attempt is met by silence; a refusal is an error."""
    try:
        socket.create_connection((server.address, server.port), timeout=SILENCE).close()
    except TimeoutError:
        return False
    return True


@contextmanager
def started(words: list[str], folder: Path | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process with pipes, that ends with the test in any case."""
    with subprocess.Popen(words, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as process:
        try:
            yield process
        finally:
            process.kill()


def lines_of(stream: int, count: int, seconds: float) -> bytes:
    """What comes until it has so many lines, or until nothing comes for so long."""
    got = b""
    while got.count(b"\n") < count and select.select([stream], [], [], seconds)[0]:
        more = os.read(stream, 4096)
        if not more:
            break
        got += more
    return got


def boot_id(bed: Bed, name: str) -> str:
    return bed.exec(name, "cat", "/proc/sys/kernel/random/boot_id").strip()


def test_every_host_admits_its_user_and_sudo_needs_no_password(bed: Bed, servers: list[Server]) -> None:
    assert [server.name for server in servers] == ["host1", "host2", "host3", "host4", "host5"]
    for server in servers:
        done = bed.ssh(server.name, "hostname; id -un; sudo -n id -un")
        assert done.stdout.split() == [server.name, server.user, "root"], done.stderr


def test_nobody_else_is_admitted(bed: Bed, servers: list[Server]) -> None:
    as_root = bed.ssh("host1", "true", options=("User=root",))
    without_key = bed.ssh("host1", "true", options=("PubkeyAuthentication=no",))
    for refused in (as_root, without_key):
        assert refused.returncode == 255
        assert "Permission denied" in refused.stderr


def test_no_name_resolves_and_nothing_beyond_the_bridge_is_reached(bed: Bed, servers: list[Server]) -> None:
    assert bed.control in bed.exec("host1", "getent", "ahostsv4", "control")
    with pytest.raises(BedFailed, match="exit 2"):  # getent: no such name
        bed.exec("host1", "getent", "ahostsv4", "example.org")
    with pytest.raises(BedFailed, match="Network is unreachable"):
        bed.exec("host1", "ip", "route", "get", ELSEWHERE)


def test_a_killed_host_falls_silent_and_comes_back_with_its_disk(bed: Bed, servers: list[Server]) -> None:
    before = boot_id(bed, "host2")
    bed.ssh("host2", "echo kept > note")
    with connected(servers[1]) as connection:
        bed.kill("host2")
        connection.settimeout(SILENCE)
        with pytest.raises(TimeoutError):  # neither an end nor a reset
            while connection.recv(4096):
                pass
    assert not connects(servers[1])
    bed.start("host2")
    assert bed.ssh("host2", "cat note").stdout == "kept\n"
    assert boot_id(bed, "host2") != before


def test_a_stopped_host_ends_its_connections(bed: Bed, servers: list[Server]) -> None:
    with connected(servers[1]) as connection:
        bed.stop("host2")
        while connection.recv(4096):
            pass
    assert bed.status()["host2"]["state"] == "off"
    with pytest.raises(BedFailed, match="host2 is off"):
        bed.freeze("host2")


def test_a_cut_times_out_and_join_revives_an_open_connection(bed: Bed, servers: list[Server]) -> None:
    with started(bed.ssh_words("host3", "cat")) as session:
        assert session.stdin
        assert session.stdout
        session.stdin.write(b"before\n")
        assert lines_of(session.stdout.fileno(), 1, PATIENCE) == b"before\n"
        bed.cut("host3")
        session.stdin.write(b"during\n")
        assert lines_of(session.stdout.fileno(), 1, SILENCE) == b""
        assert not connects(servers[2])
        assert bed.exec("host3", "cat", "/sys/class/net/eth0/carrier").strip() == "1"
        bed.join("host3")
        assert lines_of(session.stdout.fileno(), 1, PATIENCE) == b"during\n"
        session.stdin.close()
        assert session.wait(PATIENCE) == 0


def test_a_frozen_host_accepts_and_says_nothing_until_it_thaws(bed: Bed, servers: list[Server]) -> None:
    bed.freeze("host4")
    with socket.create_connection((servers[3].address, servers[3].port), timeout=SILENCE) as connection:
        with pytest.raises(TimeoutError):
            connection.recv(4)
        bed.thaw("host4")
        connection.settimeout(PATIENCE)
        assert connection.recv(4) == b"SSH-"


def test_a_slow_host_takes_longer_for_each_round_trip(bed: Bed, servers: list[Server]) -> None:
    ping = ["ping", "-q", "-c", "1", "-W", "10", "host5"]
    fastest = "s|.* = ([0-9]+).*|\\1|p"
    bed.slow("host5", 300)
    # A delay has a lower bound on the slowest machine too.
    assert int(bed.exec("host1", "sh", "-c", f"{' '.join(ping)} | sed -nE '{fastest}'")) >= 300
    bed.slow("host5", 0, loss=100)
    with pytest.raises(BedFailed, match="100% packet loss"):
        bed.exec("host1", "ping", "-q", "-c", "2", "-i", "0.2", "-W", "1", "host5")


def test_a_full_disk_refuses_root_too_and_the_host_runs_on(bed: Bed, servers: list[Server]) -> None:
    write = "head -c 100000 /dev/zero > big && rm big && echo written"
    bed.fill("host5")
    refused = bed.ssh("host5", f"sudo sh -c '{write}'; sudo rm -f big")
    assert "No space left on device" in refused.stderr
    assert refused.stdout == ""
    bed.unfill("host5")
    assert bed.ssh("host5", write).stdout == "written\n"


def test_a_reset_host_is_empty_and_has_another_key_if_told(bed: Bed, servers: list[Server], tmp_path: Path) -> None:
    known = tmp_path / "known_hosts"
    known.write_text(bed.known_hosts.read_text())
    pinned = (f"UserKnownHostsFile={known}",)
    machine = bed.ssh("host1", "touch note; cat /etc/machine-id", options=pinned).stdout

    bed.reset("host1")
    same = bed.ssh("host1", "ls; cat /etc/machine-id", options=pinned)
    assert same.returncode == 0, same.stderr
    assert same.stdout != machine
    assert "note" not in same.stdout

    bed.reset("host1", new_key=True)
    changed = bed.ssh("host1", "true", options=pinned)
    assert changed.returncode == 255
    assert "IDENTIFICATION HAS CHANGED" in changed.stderr
    assert bed.host("host1").host_key != servers[0].host_key
    assert bed.ssh("host1", "true").returncode == 0


def test_up_ends_all_faults(bed: Bed, servers: list[Server]) -> None:
    bed.fill("host1")
    bed.cut("host2")
    bed.slow("host3", 50, loss=1)
    bed.freeze("host4")
    bed.kill("host5")
    bed.up(len(servers))
    for name, row in bed.status().items():
        faults = (row["state"], row["cut"], row["slow_ms"], row["loss_percent"], row["filled"])
        assert faults == ("on", False, 0, 0, False), name
        assert bed.ssh(name, "echo x > note && cat note").stdout == "x\n"


def test_only_a_host_with_traces_of_ours_is_reset(bed: Bed, servers: list[Server]) -> None:
    assert traces(bed, "host2") == []
    unit = "[Service]\\nExecStart=/usr/bin/tail -f /run/beanpole/log\\n"
    bed.exec("host2", "mkdir", "-p", "/var/lib/beanpole", "/run/beanpole", "/var/app")
    bed.exec("host2", "touch", "/run/beanpole/log")
    bed.exec("host2", "useradd", "--system", "--user-group", "bp-one")
    bed.exec("host2", "sh", "-c", f"printf '{unit}' > /etc/systemd/system/beanpole-one.service")
    bed.exec("host2", "systemctl", "start", "beanpole-one.service")
    seen = traces(bed, "host2")
    process = [line for line in seen if line.startswith("process ")]
    assert set(seen) - set(process) == {
        "path /var/lib/beanpole",
        "path /run/beanpole",
        "path /var/app",
        "path /etc/systemd/system/beanpole-one.service",
        "user bp-one",
        "group bp-one",
        "unit beanpole-one.service",
    }
    assert len(process) == 1
    assert "tail -f" in process[0]
    before = {server.name: boot_id(bed, server.name) for server in servers}
    remove_traces(bed, servers)
    assert traces(bed, "host2") == []
    assert [name for name, boot in before.items() if boot_id(bed, name) != boot] == ["host2"]


ANOTHER = """
import signal
from bed import Bed
from plot import Plot
with Plot() as plot:
    Bed(plot).up(1)
    print(plot.number, flush=True)
    signal.pause()
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_a_bed_ends_with_the_process_that_made_it_and_leaves_others_alone(
    bed: Bed, servers: list[Server], end: signal.Signals
) -> None:
    folder = Path(__file__).parent
    with started([sys.executable, "-c", ANOTHER], folder) as other:
        assert other.stdout
        number = int(other.stdout.readline())
        bridge = Path(f"/sys/class/net/bp{number}-br")
        assert bridge.exists()
        assert bed.environment["TESTBED_NAME"] != f"bp{number}"
        other.send_signal(end)
        other.wait(PATIENCE)
    limit = time.monotonic() + PATIENCE
    while bridge.exists() and time.monotonic() < limit:
        time.sleep(0.05)
    assert not bridge.exists()
    assert all(row["state"] == "on" for row in bed.status().values())
