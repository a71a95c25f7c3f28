"""Real servers are made ready, run instances, and are as they were when everything was removed."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
from beanpole_site import wait_for
from bed import Bed, Server
from outfit import Outfit, Running
from traces import traces

from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.fleet.agent_program import agent_program
from beanpole.fleet.fleet import Fleet
from beanpole.fleet.servers import layout, removal
from beanpole.fleet.servers.failure import HeldByAnother, ProgramsMissing
from beanpole.fleet.servers.setup import Installed
from beanpole.store import hosts, instances

INSTANCE = "i-0123456789abcdef0"
OTHER = "i-0123456789abcdef1"

# All files with owners, modes and sizes, users and groups, units and what runs. What changes by itself is left out.
EVERYTHING = r"""
find / -xdev \( -path /proc -o -path /sys -o -path /tmp -o -path /run/systemd -o -path /run/user -o -path /run/sudo \
    -o -path /var/log -o -path /var/lib/systemd -o -path /run/log -o -path /dev -o -path /var/lib/sudo \) -prune \
    -o \( -type d -printf 'path %p %u:%g %m\n' \) -o \( ! -type d -printf 'path %p %u:%g %m %s %l\n' \) |
    grep -v -e '^path /etc/[a-z]*- ' -e '^path /etc/\.' -e sudo_as_admin -e '^path /var/tmp/systemd-private' | sort
cat /etc/passwd /etc/group
systemctl list-unit-files --no-legend --no-pager
systemctl list-units --all --plain --no-legend --full 'beanpole-*'
"""


@pytest.fixture
def outfit(tmp_path: Path, servers: list[Server]) -> Outfit:
    """With small stand-ins for uv and Envoy: sending 60 MB for each test would take most of the time."""
    return Outfit(tmp_path / "a", servers, small=True)


@pytest.fixture
def whole(tmp_path: Path, servers: list[Server]) -> Outfit:
    """With the real uv and Envoy."""
    return Outfit(tmp_path / "a", servers)


def everything(bed: Bed, name: str) -> list[str]:
    return bed.exec(name, "sh", "-s", text=EVERYTHING).splitlines()


async def install_all(running: Running, servers: list[Server]) -> list[Installed]:
    return list(await asyncio.gather(*(running.setup.install(running.server(each.name)) for each in servers)))


def test_five_servers_are_made_ready_at_once_and_the_second_time_nothing_is_to_do(
    bed: Bed, servers: list[Server], whole: Outfit, capsys: pytest.CaptureFixture[str]
) -> None:
    took = []
    sums = []
    for _ in range(2):
        began = time.monotonic()
        sums.append(whole.run(lambda running: install_all(running, servers)))
        took.append(time.monotonic() - began)
    with capsys.disabled():
        print(f"\ninstalled on {len(servers)} in {took[0]:.1f} s and {took[1]:.1f} s, {sums[0][0].sent} bytes each")
    assert all(each.changed and each.sent > 10_000_000 for each in sums[0])
    assert sums[1] == [Installed(changed=False, sent=0, waiting=())] * len(servers)
    with whole.database.read() as db:
        assert {row.python for row in hosts.listed(db)} == {"/usr/bin/python3.11"}
    for server in servers:
        name = server.name
        assert json.loads(bed.exec(name, "cat", layout.HOLDER))["store"] == whole.store
        assert bed.exec(name, f"{layout.BINARIES}/uv", "--version").startswith("uv ")
        assert whole.program.stem.removeprefix("agent-") in bed.exec(name, "python3", layout.PROGRAM, "--version")
        modes = bed.exec(name, "stat", "-c", "%a %U %n", *(layout.ROOT, layout.BLOBS, layout.LAYERS, layout.SOCKETS))
        expected = [(711, layout.ROOT), (700, layout.BLOBS), (755, layout.LAYERS), (700, layout.SOCKETS)]
        assert modes.splitlines() == [f"{mode} root {path}" for mode, path in expected]


def test_what_was_cut_goes_on(bed: Bed, servers: list[Server], whole: Outfit) -> None:
    """The network fails while Envoy is sent; later only the rest goes."""
    seen: list[tuple[int, int]] = []

    async def cut(running: Running) -> None:
        def progress(words: str, done: int, total: int) -> None:
            seen.append((done, total))
            if done > total // 2 and len(cutting) == 0:
                cutting.append(asyncio.create_task(asyncio.to_thread(bed.cut, "host1")))

        cutting: list[asyncio.Task[None]] = []
        running.server("host1")
        try:
            await running.setup.install(running.server("host1"), on_progress=progress)
        finally:
            await asyncio.gather(*cutting)

    with pytest.raises(Exception) as caught:
        whole.run(cut)
    assert getattr(caught.value, "unknown", False), caught.value
    done, total = seen[-1]
    assert total // 2 < done < total
    bed.join("host1")
    again = whole.run(lambda running: running.setup.install(running.server("host1")))
    # What was compressed to a third is counted as it goes over the wire.
    assert 0 < again.sent < total // 3
    envoy = bed.exec("host1", "sh", "-c", f"sha256sum {layout.BINARIES}/envoy-*").split()
    assert envoy[1].endswith(f"envoy-{envoy[0][:16]}")


def test_a_server_of_another_beanpole_is_left_alone_until_it_is_forced(
    bed: Bed, servers: list[Server], outfit: Outfit, tmp_path: Path
) -> None:
    other = Outfit(tmp_path / "b", servers, store="storeb", small=True)
    outfit.run(lambda running: running.setup.install(running.server("host1")))
    before = everything(bed, "host1")
    with pytest.raises(HeldByAnother, match=r"host1 is held by another Beanpole \(store storea\) since 2") as caught:
        other.run(lambda running: running.setup.install(running.server("host1")))
    assert "--force" in caught.value.remedy
    with pytest.raises(HeldByAnother):
        other.run(lambda running: removal.purge(running.server("host1")))
    assert everything(bed, "host1") == before
    other.run(lambda running: running.setup.install(running.server("host1"), force=True))
    assert json.loads(bed.exec("host1", "cat", layout.HOLDER))["store"] == "storeb"
    with pytest.raises(HeldByAnother, match="storeb"):
        outfit.run(lambda running: running.setup.install(running.server("host1")))


def test_a_server_without_programs_for_it_is_not_touched(
    bed: Bed, servers: list[Server], whole: Outfit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "sparc64")
    with pytest.raises(ProgramsMissing, match="there is no uv and no Envoy for that here") as caught:
        whole.run(lambda running: running.setup.install(running.server("host1")))
    assert str(whole.folder) in caught.value.remedy
    assert traces(bed, "host1") == []


def manifest(outfit: Outfit, texts: dict[str, str]) -> list[list[Any]]:
    """A bundle's files, which are blobs then."""
    rows = []
    for path, text in texts.items():
        kept = outfit.blobs.put([text.encode()])
        rows.append([path, 0o644, kept.sha256, kept.size])
    return rows


def test_an_instance_lives_and_ends(bed: Bed, servers: list[Server], outfit: Outfit) -> None:
    """From launch to terminate, with a job that works on what was brought."""
    before = everything(bed, "host1")
    outfit.run(lambda running: running.setup.install(running.server("host1")))
    ready = everything(bed, "host1")
    outfit.add(INSTANCE, servers[0])
    files = manifest(outfit, {"web.py": "print('here')\n", "lib/b.txt": "b" * 100_000})
    digests = [row[2] for row in files]
    told: list[tuple[str, int, int]] = []

    async def live(running: Running) -> None:
        place = running.place
        await place.launch(INSTANCE)
        await place.launch(INSTANCE)
        fleet = Fleet(outfit.database, place, place)
        assert (await (await fleet.client(INSTANCE)).hello())["role"] == "instance"
        sources = await asyncio.gather(
            *(place.bring(INSTANCE, digests, lambda *line: told.append(line)) for _ in range(3))
        )
        assert set(sources) == {layout.BLOBS}
        result = await fleet.job(
            INSTANCE, "k1", "fetch", {"release": "r1", "manifest": files, "source": sources[0]}, epoch=1, timeout=60
        )
        assert result == {"files": 2, "bytes": 100_014}

    outfit.run(live)
    assert told and {line[0] for line in told} == {"sending files"} and told[-1][1] == told[-1][2] == 100_014
    assert bed.exec("host1", "sh", "-c", f"cat {layout.home(INSTANCE)}/releases/r1/app/web.py") == "print('here')\n"
    assert bed.exec("host1", "getent", "passwd", layout.user(INSTANCE)).strip().endswith("nologin")
    unit = layout.agent_unit(INSTANCE)
    assert bed.exec("host1", "systemctl", "is-enabled", unit).strip() == "enabled"
    outfit.run(lambda running: running.place.terminate(INSTANCE))
    outfit.run(lambda running: running.place.terminate(INSTANCE))
    left = [line for line in everything(bed, "host1") if "/blobs" not in line]
    assert left == [line for line in ready if "/blobs" not in line]
    outfit.run(lambda running: removal.purge(running.server("host1")))
    outfit.run(lambda running: removal.purge(running.server("host1")))
    assert everything(bed, "host1") == before


def test_what_an_instance_of_a_broken_agent_left_goes_too(bed: Bed, servers: list[Server], outfit: Outfit) -> None:
    outfit.add(INSTANCE, servers[0])
    outfit.run(lambda running: running.place.launch(INSTANCE))
    user, unit = layout.user(INSTANCE), layout.agent_unit(INSTANCE)
    # An application's unit, a process of the user's without one, and a child of the agent's.
    bed.exec(
        "host1",
        "sh",
        "-s",
        text=f"""
        printf '[Service]\\nUser={user}\\nExecStart=/bin/sleep 1000\\n[Install]\\nWantedBy=multi-user.target\\n' \\
            >/etc/systemd/system/beanpole-{INSTANCE}-web-r1.service
        mkdir -p /etc/systemd/system/beanpole-{INSTANCE}-web-r1.service.d
        mkdir -p /var/app
        ln -s {layout.home(INSTANCE)}/current /var/app/current
        systemctl enable --quiet --now beanpole-{INSTANCE}-web-r1.service
        setpriv --reuid {user} --clear-groups setsid sleep 1001 >/dev/null 2>&1 &
        systemctl stop {unit}
        rm {layout.PROGRAM}
        """,
    )
    outfit.run(lambda running: running.place.terminate(INSTANCE))
    assert [line for line in traces(bed, "host1") if INSTANCE in line] == []
    assert "sleep" not in bed.exec("host1", "ps", "-eo", "args")
    assert bed.exec("host1", "sh", "-c", "ls -d /var/app 2>&1", check=False).startswith("ls:")


def test_a_server_that_is_away_says_nothing_about_its_instances(
    bed: Bed, servers: list[Server], outfit: Outfit
) -> None:
    outfit.add(INSTANCE, servers[0])
    outfit.run(lambda running: running.place.launch(INSTANCE))
    bed.kill("host1")

    async def ask(running: Running) -> None:
        assert await running.place.running(INSTANCE) is None
        with pytest.raises(AgentUnreachable, match=f"the state of {INSTANCE} on host1 is unknown"):
            await running.place.keep_alive(INSTANCE)
        with pytest.raises(AgentUnreachable, match="the state of host1 is unknown"):
            await running.place.bring(INSTANCE, ["0" * 64], lambda *line: None)
        with pytest.raises(AgentUnreachable, match="the state of host1 is unknown"):
            await running.place.terminate(INSTANCE)

    outfit.run(ask)
    bed.start("host1")
    # Boots with its agent, and can be ended now.
    outfit.run(lambda running: running.place.client(INSTANCE))
    outfit.run(lambda running: running.place.terminate(INSTANCE))
    assert [line for line in traces(bed, "host1") if INSTANCE in line] == []


def test_what_nobody_knows_any_more_ends_when_its_server_is_back(
    bed: Bed, servers: list[Server], outfit: Outfit, tmp_path: Path
) -> None:
    """Its environment ended meanwhile: here its row goes, and the database is another one afterwards."""
    outfit.add(INSTANCE, servers[0])
    outfit.add(OTHER, servers[0])

    async def begin(running: Running) -> None:
        await running.place.launch(INSTANCE)
        await running.place.launch(OTHER)
        bed.cut("host1")
        with pytest.raises(AgentUnreachable):
            await running.place.terminate(INSTANCE)
        forget(outfit, INSTANCE)
        with pytest.raises(AgentUnreachable):
            await running.place.clear_leftovers("h-host1")
        bed.join("host1")
        assert await running.place.clear_leftovers("h-host1") == [INSTANCE]
        assert not running.place.left

    outfit.run(begin)
    assert [line for line in traces(bed, "host1") if INSTANCE in line] == []
    # What another Beanpole holds, or left to itself, stays.
    stranger = Outfit(tmp_path / "b", servers, store="storeb", small=True)
    assert stranger.run(lambda running: running.place.clear_leftovers("h-host1")) == []
    assert outfit.run(lambda running: running.place.clear_leftovers("h-host1")) == []
    forget(outfit, OTHER)
    assert outfit.run(lambda running: running.place.clear_leftovers("h-host1")) == [OTHER]
    assert [line for line in traces(bed, "host1") if OTHER in line] == []


def forget(outfit: Outfit, instance_id: str) -> None:
    with outfit.database.write() as db:
        instances.remove(db, instance_id)


def test_an_agent_that_is_just_starting_is_not_started_again(bed: Bed, servers: list[Server], outfit: Outfit) -> None:
    """On a busy server it takes seconds until it says which program it is."""
    outfit.run(lambda running: running.setup.balancer_agent(running.server("host1")))
    bed.exec("host1", "rm", f"{layout.home(layout.PROXY)}/agent.json")
    pid = main_pid(bed, layout.PROXY)
    outfit.run(lambda running: running.setup.install(running.server("host1")))
    assert main_pid(bed, layout.PROXY) == pid


def main_pid(bed: Bed, agent: str) -> str:
    return bed.exec("host1", "systemctl", "show", "--value", "-p", "MainPID", layout.agent_unit(agent)).strip()


def other_program(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        patch.setattr("beanpole.fleet.agent_program.__version__", "9.9")
        return agent_program(folder)


def test_an_upgrade_touches_no_application_and_waits_for_jobs(
    bed: Bed, servers: list[Server], outfit: Outfit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outfit.add(INSTANCE, servers[0])
    files = manifest(outfit, {"web.py": ""})

    async def work(running: Running) -> None:
        await running.place.launch(INSTANCE)
        await running.setup.balancer_agent(running.server("host1"))
        source = await running.place.bring(INSTANCE, [files[0][2]], lambda *line: None)
        fleet = Fleet(outfit.database, running.place, running.place)
        fetch = {"release": "r1", "manifest": files, "source": source}
        await fleet.job(INSTANCE, "k1", "fetch", fetch, epoch=1, timeout=60)
        client = await fleet.client(INSTANCE)
        commands = [{"name": "01", "command": "env -i setsid sleep 1000 >/dev/null 2>&1 & sleep 2000"}]
        arguments = {"release": "r1", "stage": "Prepare", "commands": commands, "environment": {}, "timeout": 600}
        await client.put_job("k2", "run", arguments, 1)

    outfit.run(work)
    new = other_program(tmp_path / "programs", monkeypatch)
    upgraded = Outfit(tmp_path / "a", servers, program=new, small=True)

    async def versions(running: Running) -> dict[str, str]:
        server = running.server("host1")
        return {name: (await server.agent(name).hello())["version"] for name in (INSTANCE, layout.PROXY)}

    first = upgraded.run(lambda running: running.setup.install(running.server("host1")))
    assert first.waiting == (INSTANCE,)
    found = upgraded.run(versions)
    assert not found[INSTANCE].startswith("9.9+") and found[layout.PROXY].startswith("9.9+")

    async def finish(running: Running) -> Installed:
        await (await running.place.client(INSTANCE)).cancel_job("k2")
        return await running.setup.install(running.server("host1"))

    assert upgraded.run(finish).waiting == ()
    assert all(version.startswith("9.9+") for version in upgraded.run(versions).values())
    # What the command left in the background is a child of the agent's like any other.
    assert "sleep 1000" in bed.exec("host1", "ps", "-eo", "args=")
    assert not upgraded.run(lambda running: running.setup.install(running.server("host1"))).changed


def test_purge_leaves_a_server_as_it_was_and_leave_keeps_what_serves(
    bed: Bed, servers: list[Server], whole: Outfit
) -> None:
    before = everything(bed, "host1")
    whole.add(INSTANCE, servers[0])
    user = layout.user(INSTANCE)

    async def work(running: Running) -> None:
        await running.place.launch(INSTANCE)
        client = await running.setup.balancer_agent(running.server("host1"))
        path = running.setup.envoy_path(running.server("host1"))
        bootstrap = json.dumps({"admin": {"address": {"pipe": {"path": "admin.sock"}}}, "static_resources": {}})
        listen = {"address": "127.0.0.1", "port": 8080}
        await client.call("PUT", "/envoy", {"binary": path, "bootstrap": bootstrap, "listen": listen}, timeout=60)

    whole.run(work)
    bed.exec(
        "host1",
        "sh",
        "-s",
        text=f"""
        printf '[Service]\\nUser={user}\\nExecStart=/bin/sleep 1000\\n[Install]\\nWantedBy=multi-user.target\\n' \\
            >/etc/systemd/system/beanpole-{INSTANCE}-web-r1.service
        systemctl enable --quiet --now beanpole-{INSTANCE}-web-r1.service
        """,
    )
    serving = bed.exec("host1", "ps", "-eo", "pid=,args=").splitlines()
    serving = [line.strip() for line in serving if "envoy" in line or "sleep 1000" in line]
    assert len(serving) == 2
    whole.run(lambda running: removal.leave(running.server("host1")))
    after = [line.strip() for line in bed.exec("host1", "ps", "-eo", "pid=,args=").splitlines()]
    assert set(serving) <= set(after)
    assert not any("beanpole/agent" in line for line in after)
    places = f"{layout.HOLDER} {layout.PROGRAMS} {layout.SOCKETS}"
    assert bed.exec("host1", "sh", "-c", f"ls -d {places} 2>/dev/null", check=False) == ""
    assert envoy(bed) in " ".join(serving), "it is systemd's from now on, and was not started anew"
    killed = envoy(bed)
    bed.exec("host1", "kill", "-KILL", killed)
    wait_for("another Envoy", lambda: envoy(bed) not in (killed, "0"))
    bed.kill("host1")
    bed.start("host1")
    booted = bed.exec("host1", "ps", "-eo", "args=")
    assert "envoy-" in booted and "sleep 1000" in booted and "beanpole/agent" not in booted
    kept = envoy(bed)

    async def come_back(running: Running) -> dict[str, Any]:
        return await (await running.setup.balancer_agent(running.server("host1"))).call("GET", "/envoy")

    found = whole.run(come_back)
    assert (str(found["pid"]), found["live"]) == (kept, True), "whoever comes back takes it up as it is"
    assert f"beanpole-{layout.PROXY}.service" not in bed.exec("host1", "ls", "/etc/systemd/system")
    whole.run(lambda running: removal.purge(running.server("host1")))
    assert set(everything(bed, "host1")) ^ set(before) == set()


def envoy(bed: Bed) -> str:
    """The process that systemd keeps in the place of an agent's, "0" while there is none."""
    unit = f"beanpole-{layout.PROXY}.service"
    return bed.exec("host1", "systemctl", "show", "--property=MainPID", "--value", unit).strip()


def test_what_nothing_needs_any_more_is_pruned(bed: Bed, servers: list[Server], outfit: Outfit) -> None:
    outfit.add(INSTANCE, servers[0])
    files = manifest(outfit, {"a": "a", "b": "b", "c": "c"})
    a, b, c = (row[2] for row in files)

    async def work(running: Running) -> None:
        await running.place.launch(INSTANCE)
        await running.place.bring(INSTANCE, [a, b, c], lambda *line: None)

    outfit.run(work)
    place = f"{layout.BLOBS}/%s/%s"
    paths = {digest: place % (digest[:2], digest) for digest in (a, b, c)}
    bed.exec("host1", "mkdir", f"{layout.LAYERS}/k1", f"{layout.LAYERS}/k2")
    bed.exec("host1", "touch", "-d", "2 hours ago", paths[a], paths[b], f"{layout.LAYERS}/k1", f"{layout.LAYERS}/k2")
    assert outfit.run(lambda running: running.place.prune("h-host1", [a], ["k1"])) == 2
    assert bed.exec("host1", "ls", layout.LAYERS).split() == ["k1"]
    there = bed.exec("host1", "find", layout.BLOBS, "-type", "f")
    assert paths[a] in there and paths[b] not in there and paths[c] in there
    # Gone is not known for ever: it comes back when it is needed.
    outfit.run(lambda running: running.place.bring(INSTANCE, [b], lambda *line: None))
    assert paths[b] in bed.exec("host1", "find", layout.BLOBS, "-type", "f")
