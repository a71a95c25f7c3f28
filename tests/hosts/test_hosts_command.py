"""`beanpole hosts` and `beanpole ssh` against real servers: what stands in the way is told, and changes nothing.

The API is in this process; making a server ready is a double's work, all that is seen on the servers is real.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "services"))
from api_site import ApiSite, api_site
from bed import Bed, Server
from served import KEY, session
from traces import traces

from beanpole import cli
from beanpole.store import hosts, instances
from beanpole.store.instances import Instance

OLD_PYTHON = r"""#!/bin/sh
printf '3.8.10\t/usr/bin/python3.8\tyes\tyes\n'
"""


@dataclass(frozen=True)
class Done:
    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiSite]:
    with api_site(tmp_path_factory.mktemp("site"), session()) as made:
        yield made


@pytest.fixture
def run(site: ApiSite, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command whose control plane has no hosts and no environments to begin with."""
    for name, value in (
        ("AWS_ENDPOINT_URL", site.url),
        ("AWS_ACCESS_KEY_ID", KEY.id),
        ("AWS_SECRET_ACCESS_KEY", KEY.secret),
    ):
        monkeypatch.setenv(name, value)
    api = site.client("beanpole")
    for host in api.describe_hosts()["Hosts"]:
        with site.control.database.write() as db:
            for each in hosts.instances_on(db, host["HostId"]):
                instances.remove(db, each)
            hosts.remove(db, host["HostId"])
    site.setup.installed.clear()

    def command(*words: str) -> Done:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main(words)
        written = capfd.readouterr()
        assert isinstance(ended.value.code, int)
        return Done(ended.value.code, written.out, written.err)

    return command


def words_of(server: Server, user: str = "", port: int = 0) -> str:
    return f"{user or server.user}@{server.address}:{port or server.port}"


def add(run: Run, server: Server, *more: str, user: str = "", port: int = 0, key: Path | None = None) -> Done:
    named = () if "--name" in more else ("--name", server.name)
    return run("hosts", "add", words_of(server, user, port), "--key", str(key or server.key), "--yes", *named, *more)


def known(site: ApiSite) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = site.client("beanpole").describe_hosts()["Hosts"]
    return found


def refused(done: Done) -> tuple[str, str]:
    """The one line of cause and the one of remedy."""
    assert done.status == 1, done
    error, remedy = done.err.strip().splitlines()
    assert error.startswith("Error: "), done.err
    assert remedy.startswith("Remedy: "), done.err
    return error.removeprefix("Error: "), remedy.removeprefix("Remedy: ")


@pytest.fixture
def broken(bed: Bed, servers: list[Server]) -> Iterator[Callable[[str], None]]:
    """Breaks host1 by a script that root runs there; afterwards it is as new."""

    def breaks(script: str) -> None:
        bed.exec("host1", "sh", "-e", "-s", text=script)

    yield breaks
    bed.reset("host1")


def test_a_good_server_is_added_listed_and_checked(
    bed: Bed, servers: list[Server], site: ApiSite, run: Run, tmp_path: Path
) -> None:
    done = add(run, servers[0], "--label", "gpu,big")
    assert done.status == 0, done
    assert "host1: ready" in done.out
    assert "New environments live on these servers" in done.out
    assert site.setup.installed == [("host1", False)]
    listed = json.loads(run("hosts", "list", "--json").out)
    (host,) = listed["hosts"]
    assert (host["state"], host["reachable"], host["labels"]) == ("ready", "yes", ["gpu", "big"])
    assert host["memory_available"] > 2**20
    assert listed["default_location"] == "ssh"
    assert re.search(r"host1 +admin@\S+ +gpu,big +8080 +ready +yes +0 ", run("hosts", "list").out)
    checked = run("hosts", "check")
    assert checked.status == 0, checked
    assert "host1: ok" in checked.out
    assert "Python 3.11" in checked.out
    assert "ports in use: 22 (ssh.service)" in checked.out
    assert traces(bed, "host1") == []


def test_several_at_once_from_an_ssh_configuration(bed: Bed, servers: list[Server], site: ApiSite, run: Run) -> None:
    done = run("hosts", "add", "--ssh-config", str(bed.ssh_config), "--yes", "--json")
    assert done.status == 0, done
    assert {each["name"]: each["outcome"] for each in json.loads(done.out)["hosts"]} == {
        server.name: "ready" for server in servers
    }
    assert len(known(site)) == len(servers)


def test_an_inventory_and_one_of_its_hosts_that_cannot_be_added(
    bed: Bed, servers: list[Server], site: ApiSite, run: Run, tmp_path: Path
) -> None:
    inventory = tmp_path / "hosts.ini"
    lines = [
        f"{each.name} ansible_host={each.address} ansible_user={each.user} ansible_port={each.port} "
        f"ansible_ssh_private_key_file={each.key}"
        for each in servers[:2]
    ]
    inventory.write_text("\n".join(["[web]", lines[0], lines[1].replace("ansible_user=admin", "ansible_user=eve"), ""]))
    done = run("hosts", "add", "--inventory", str(inventory), "--group", "web", "--yes")
    assert done.status == 1, done
    assert "Error: 1 of 2 hosts was not added: host2." in done.err
    assert "refused the user eve" in done.out
    assert [host["Name"] for host in known(site)] == ["host1"]
    unknown = run("hosts", "add", "--inventory", str(inventory), "--group", "db", "--yes")
    assert (unknown.status, "has no group db" in unknown.err, "It has: web." in unknown.err) == (2, True, True)


def test_only_the_key_that_was_accepted_is_pinned(bed: Bed, servers: list[Server], site: ApiSite, run: Run) -> None:
    words = ("hosts", "add", words_of(servers[0]), "--key", str(servers[0].key), "--name", "host1")
    unasked = run(*words)
    assert unasked.status == 2
    fingerprint = re.search(r"SHA256:\S+", unasked.err)
    assert fingerprint is not None
    assert "nobody is here to compare it" in unasked.err
    wrong = run(*words, "--accept-host-key", "SHA256:" + "A" * 43)
    assert (wrong.status, "none of those that --accept-host-key names" in wrong.err) == (3, True)
    assert known(site) == []
    assert run(*words, "--accept-host-key", fingerprint[0]).status == 0
    assert known(site)[0]["HostKey"] == " ".join(servers[0].host_key.split()[:2])


def test_a_wrong_user_a_wrong_key_and_a_wrong_port(
    bed: Bed, servers: list[Server], site: ApiSite, run: Run, tmp_path: Path
) -> None:
    other = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(other)], check=True)
    cause, remedy = refused(add(run, servers[0], user="eve"))
    assert "refused the user eve" in cause
    assert "authorized_keys" in remedy
    cause, remedy = refused(add(run, servers[0], key=other))
    assert f"with the key {other}" in cause
    cause, remedy = refused(add(run, servers[0], key=tmp_path / "none"))
    assert "cannot be used" in cause
    assert remedy == "Name the private key's file, one that you may read."
    cause, remedy = refused(add(run, servers[0], port=2222))
    assert "refuses connections at port 2222" in cause
    assert known(site) == []
    assert traces(bed, "host1") == []


BREAKS = {
    "no sudo": (
        "mv /usr/bin/sudo /usr/bin/sudo.away",
        "there is no sudo, and admin is not root",
        "apt-get install sudo",
    ),
    "sudo with a password": (
        "for file in /etc/sudoers /etc/sudoers.d/*; do sed -i 's/NOPASSWD://' $file; done",
        "sudo asks admin for a password",
        "NOPASSWD: ALL",
    ),
    "no python": (
        "mkdir /away; mv /usr/bin/python3* /away",
        "there is no python3; the agent needs 3.9 or later",
        "`sudo apt-get install python3`",
    ),
    "old python": (
        "mkdir /away; mv /usr/bin/python3* /away; "
        f"cat > /usr/bin/python3 <<'END'\n{OLD_PYTHON}END\nchmod 755 /usr/bin/python3",
        "Python is 3.8.10 (/usr/bin/python3); the agent needs 3.9 or later",
        "`sudo apt-get install python3.9`",
    ),
    "read-only": (
        "mkdir -p /var/lib/beanpole; mount --bind /var/lib/beanpole /var/lib/beanpole; "
        "mount -o remount,ro,bind /var/lib/beanpole",
        "the file system /var/lib/beanpole is read-only (needed for /var/lib/beanpole)",
        "mount -o remount,rw /var/lib/beanpole",
    ),
    "held by another": (
        "mkdir -p /var/lib/beanpole; cd /var/lib/beanpole; "
        'echo \'{"store": "st-other", "since": "2026-01-02"}\' > host.json',
        "the server is held by another Beanpole (store st-other) since 2026-01-02",
        "add --force to take the server over",
    ),
    "port taken": (
        "systemd-run --quiet --scope --unit=shop setsid -f python3 -m http.server 8080 > /dev/null 2>&1; "
        "until ss -Hltn 'sport = :8080' | grep -q 8080; do sleep 0.05; done",
        "the application port 8080 is held by python3",
        "choose another with --app-port",
    ),
}


@pytest.mark.parametrize("what", BREAKS)
def test_what_stands_in_the_way_is_one_line_and_one_of_remedy(
    what: str, bed: Bed, servers: list[Server], broken: Callable[[str], None], site: ApiSite, run: Run
) -> None:
    script, because, advice = BREAKS[what]
    broken(script)
    before = traces(bed, "host1")
    cause, remedy = refused(add(run, servers[0]))
    assert cause.startswith(f"host1: {because}")
    assert advice in remedy
    assert known(site) == []
    assert site.setup.installed == []
    assert traces(bed, "host1") == before


def test_a_full_disk(bed: Bed, servers: list[Server], site: ApiSite, run: Run) -> None:
    bed.fill("host1")
    try:
        cause, remedy = refused(add(run, servers[0]))
    finally:
        bed.unfill("host1")
    assert re.match(r"host1: / has \d+ MiB free; /var/lib/beanpole needs 1.0 GiB", cause)
    assert "du -xh" in remedy
    assert known(site) == []


def test_several_faults_are_said_at_once(
    bed: Bed, servers: list[Server], broken: Callable[[str], None], site: ApiSite, run: Run
) -> None:
    broken(f"{BREAKS['sudo with a password'][0]}; {BREAKS['no python'][0]}")
    done = add(run, servers[0])
    assert done.status == 1
    assert done.out.count("  blocks: ") == 2
    assert done.out.count("    remedy: ") >= 2
    assert "Error: host1 was not added." in done.err
    assert known(site) == []


def test_a_server_that_forbids_forwarding_is_a_good_one(
    bed: Bed, servers: list[Server], broken: Callable[[str], None], site: ApiSite, run: Run
) -> None:
    broken("echo 'DisableForwarding yes' > /etc/ssh/sshd_config.d/0.conf; systemctl reload ssh")
    assert add(run, servers[0]).status == 0
    assert known(site)[0]["State"] == "ready"


def test_two_names_for_one_host(
    bed: Bed, servers: list[Server], broken: Callable[[str], None], site: ApiSite, run: Run
) -> None:
    broken("printf 'Port 22\\nPort 2222\\n' > /etc/ssh/sshd_config.d/0.conf; systemctl restart ssh")
    assert add(run, servers[0]).status == 0
    cause, remedy = refused(add(run, servers[0], "--name", "other", port=2222))
    assert cause.startswith("other: two names for one host: this is host1")
    assert "use the name host1" in remedy
    assert [host["Name"] for host in known(site)] == ["host1"]


def test_a_changed_host_key_is_said_by_every_command(bed: Bed, servers: list[Server], site: ApiSite, run: Run) -> None:
    assert add(run, servers[0]).status == 0
    bed.reset("host1", new_key=True)
    checked = run("hosts", "check", "host1")
    assert checked.status == 1
    assert "is pinned; nothing was sent" in checked.out
    listed = run("hosts", "list")
    assert "is pinned; nothing was sent" in listed.err
    removed = run("hosts", "remove", "host1", "--yes")
    assert removed.status == 1
    assert "is pinned; nothing was sent" in removed.err
    shell = run("ssh", "host1", "-c", "true")
    assert shell.status == 255
    assert "IDENTIFICATION HAS CHANGED" in shell.err or "Host key verification failed" in shell.err
    assert run("hosts", "remove", "host1", "--yes", "--force").status == 0
    assert known(site) == []


def test_a_silent_server_is_unknown_and_named_so(bed: Bed, servers: list[Server], site: ApiSite, run: Run) -> None:
    assert add(run, servers[1]).status == 0
    with site.control.database.read() as db:
        (host,) = hosts.listed(db)
    bed.cut("host2")
    try:
        site.client("beanpole").set_default_location(Location="local")
        listed = json.loads(run("hosts", "list", "--json").out)["hosts"]
        checked = run("hosts", "check", "--json")
    finally:
        bed.join("host2")
    assert listed[0]["reachable"] in ("unknown", "yes")  # yes: the connection's next sign of life is not due yet
    assert checked.status == 1
    (report,) = json.loads(checked.out)["hosts"]
    assert report["blocked"]
    assert host.name == "host2"


def test_ssh_runs_a_command_and_passes_its_exit_status(
    bed: Bed, servers: list[Server], site: ApiSite, run: Run
) -> None:
    assert add(run, servers[0]).status == 0
    done = run("ssh", "host1", "-c", "hostname; id -un; exit 7")
    assert (done.status, done.out.split()) == (7, ["host1", "admin"])
    unknown = run("ssh", "host9")
    assert (unknown.status, "There is no instance and no host host9." in unknown.err) == (3, True)


def test_ssh_becomes_the_application(
    bed: Bed, servers: list[Server], broken: Callable[[str], None], site: ApiSite, run: Run
) -> None:
    assert add(run, servers[0]).status == 0
    made = {"environment": {"GREETING": "hello $HOME 'x'"}, "layer": "/var/lib/beanpole/layers/k"}
    home = "/var/lib/beanpole/instances/i-1"
    broken(
        f"useradd --system bp-i-1; mkdir -p {home}/releases/d/app {home}/home; cd {home}; ln -s releases/d current\n"
        f"cat > releases/d/release.json <<'END'\n{json.dumps(made)}\nEND\nchmod 600 releases/d/release.json"
    )
    environment = site.environment()
    with site.control.database.write() as db:
        (host,) = hosts.listed(db)
        instances.add(db, Instance("i-1", environment, "running", "127.0.0.9", 1, 0, host=host.id))
    look = 'id -un; pwd; echo "$GREETING"; echo "$PATH"; exit 3'
    done = run("ssh", "i-1", "--app-env", "-c", look)
    user, folder, greeting, path = done.out.splitlines()
    assert (done.status, user, folder) == (3, "bp-i-1", f"{home}/releases/d/app")
    assert greeting == "hello $HOME 'x'"
    assert path.startswith("/var/lib/beanpole/layers/k/bin:")
