"""Applications on a server are systemd units: they outlive the agent, a reboot, and what people do by hand."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import Bed, Server
from traces import traces
from unit_site import AGENT, HOME, INSTANCE, UNITS, USER, UnitSite, eventually

from beanpole.fleet.agent_client import JobFailed
from beanpole.fleet.agent_program import agent_program

WORKER = "echo at work; exec sleep 300"
HEALTH = {"path": "/", "codes": [[200, 399]], "timeout": 2}


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agent_program(tmp_path_factory.mktemp("program"))


@pytest.fixture
def site(bed: Bed, servers: list[Server], tmp_path: Path, program: Path) -> Iterator[UnitSite]:
    """A server with an agent that runs."""
    site = UnitSite(bed, servers[0], tmp_path, program)
    yield site.install().start()
    site.close()


def prepared(site: UnitSite, release: str, processes: dict[str, str] | None = None, **more: Any) -> str:
    lines = processes if processes is not None else {"web": "python3 -S web.py"}
    return site.prepare(release, lines, **more)


def run_web(site: UnitSite, release: str, **more: Any) -> dict[str, Any]:
    return site.run_web(release, **{"deadline": 60, **more})


def deployed(site: UnitSite, release: str = "r1", body: str = "fine", **processes: str) -> dict[str, Any]:
    """A release that serves and is the boot target."""
    prepared(site, release, {"web": "python3 -S web.py", **processes}, environment={"BODY": body})
    found = run_web(site, release)
    site.job("switch", release=release, settle=0, grace=5)
    site.job("commit", release=release, keep=["r1"])
    return found


def test_a_release_goes_from_unproven_to_enabled(site: UnitSite) -> None:
    late = "while ! test -e ready; do sleep 0.05; done; exec python3 -S web.py"
    prepared(site, "r1", {"web": late, "worker": WORKER})
    unit = site.unit("r1")
    key = site.put("start", release="r1", health=HEALTH, deadline=60, fixed_port=None)
    eventually("it starts", lambda: site.process("r1").get("pid"))
    assert site.show(unit, "Restart", "UnitFileState", "User") == ["no", "disabled", USER]
    assert site.sh(f"cat /proc/{site.process('r1')['pid']}/oom_score_adj") == "200"

    site.sh(f"touch {HOME}/releases/r1/app/ready")
    found = site.ask(lambda client: client.wait_job(key))

    assert site.show(unit, "Restart", "UnitFileState", "MainPID") == ["always", "disabled", str(found["pid"])]
    site.job("switch", release="r1", settle=0, grace=5)
    site.job("commit", release="r1", keep=[])
    for name in ("web", "worker"):
        pid, of = str(site.process("r1", name)["pid"]), site.unit("r1", name)
        assert site.sh(f"systemctl is-enabled {of}") == "enabled"
        eventually("it is shown", lambda of=of: site.show(of, "UnitFileState") == ["enabled"])
        properties = site.show(of, "Restart", "MainPID", "NeedDaemonReload")
        assert properties == ["always", pid, "no"]
        assert site.sh(f"cat /proc/{pid}/oom_score_adj") == site.sh("cat /proc/1/oom_score_adj")
    assert site.answer(found["port"]) == "fine"
    assert site.sh(f"stat -c %U /proc/{found['pid']}") == USER


ODD = {
    "QUOTES": 'it\'s "so" `id` $HOME ${HOME} $$ %h %% \\ \\n \\',
    "LINES": "\none\n\n  two\t\n",
    "COMMENT": "# none ; neither",
    "BLANKS": "  a  b  ",
    "EMPTY": "",
    "UNICODE": "ünï ✓ 🫘 \ufffe \U0010ffff",
    "CONTROL": "\x01\x1b[0m\r\n\x7f",
    "BYTES": "\udcff\udc80",
    "LONG": "x" * 100_000,
    "odd.name-of/a:property": "1",
    "1ST": "2",
    "USER": "mine",
}


def test_an_environment_arrives_exactly(site: UnitSite) -> None:
    # The shell's own, because some shells do not hand on variables with names that are none to them.
    prepared(site, "r1", {"web": 'cat /proc/$$/environ > seen; exec python3 -S web.py "100% \\$HOME"'}, environment=ODD)
    run_web(site, "r1")

    data = base64.b64decode(site.sh(f"base64 {HOME}/releases/r1/app/seen"))
    pairs = (os.fsdecode(each).partition("=") for each in data.removesuffix(b"\0").split(b"\0"))
    seen = {name: value for name, _, value in pairs}

    ours = {
        "BEANPOLE_ADDRESS": "127.0.0.7",
        "BEANPOLE_PROCESS": seen["BEANPOLE_PROCESS"],
        "HOME": f"{HOME}/home",
        "LANG": "C.UTF-8",
        "LOGNAME": USER,
        "PATH": seen["PATH"],
        "PORT": str(site.process("r1")["port"]),
        "PYTHONUNBUFFERED": "1",
    }
    assert seen == {**ours, **ODD}
    assert seen["BEANPOLE_PROCESS"].startswith(json.loads(site.sh(f"cat {HOME}/home.json"))["id"])
    assert "/usr/bin" in seen["PATH"].split(":")
    command = site.sh(f"tr '\\0' '\\n' < /proc/{site.process('r1')['pid']}/cmdline")
    assert command.splitlines()[-1] == "100% $HOME"


def test_a_variable_that_cannot_be_given_fails_the_start_with_its_name(site: UnitSite) -> None:
    prepared(site, "r1", environment={"BIG": "x" * 200_000})

    with pytest.raises(JobFailed, match="environment variable BIG is longer than"):
        run_web(site, "r1")

    assert site.sh(f"ls {UNITS} | grep -c {INSTANCE}-web", check=False) == "0"


def test_secrets_are_roots_and_what_is_the_users_is_in_its_folders(site: UnitSite) -> None:
    prepared(site, "r1", environment={"KEY": "s3cret"})
    site.job("run", release="r1", stage="build", environment={}, layer=None, timeout=60, commands=[
        {"name": "build", "command": "mkdir -p made/deep && touch made/deep/file && ln -s /etc/shadow made/link && "
         "mkdir -p ~/.cache && touch ~/.cache/file"},
    ])  # fmt: skip
    lines = [{"name": "web", "command": "python3 -S web.py"}]
    site.job("prepare", release="r1", processes=lines, environment={"KEY": "s3cret"}, layer=None)
    pid = run_web(site, "r1")["pid"]

    app = f"{HOME}/releases/r1/app"
    owners = site.sh(f"stat -c '%U %n' {app} {app}/web.py {app}/made/deep/file {app}/made/link {HOME}/home")
    assert {line.split()[0] for line in owners.splitlines()} == {USER}
    # Where no application can put anything: root follows links.
    assert site.sh(f"stat -c '%U %a' {HOME}/commands {HOME}/commands/.cache/file | sort -u") == "root 644\nroot 700"
    assert site.sh("stat -c %U /etc/shadow") == "root"
    for who in (USER, site.server.user):
        as_user = f"setpriv --reuid {who} --regid {who} --clear-groups"
        found = site.sh(
            f"{as_user} grep -rls s3cret {HOME} {UNITS} /run/systemd /proc/[0-9]*/environ || true; "
            f"{as_user} systemctl show {site.unit('r1')} | grep s3cret || true",
            check=False,
        )
        # A process may read its own environment, and that of others of its user.
        assert found in ("", *([f"/proc/{pid}/environ"] if who == USER else [])), found
        assert site.sh(f"{as_user} touch {HOME}/x {HOME}/releases/x 2>&1 || true", check=False).count("denied") == 2
    assert site.sh(f"{as_user} cat {app}/web.py | head -c 7", check=False) != ""
    site.sh(f"setpriv --reuid {USER} --regid {USER} --clear-groups touch {app}/mine {HOME}/home/mine")


def test_a_killed_application_is_started_again_by_systemd_and_followed(site: UnitSite) -> None:
    before = deployed(site)
    site.sh(f"kill -9 {before['pid']}")

    event = site.told("Process web of release r1 ended")
    assert "(signal SIGKILL); it is started again in 1 s" in event["message"]
    assert event["detail"]["last_lines"] == ["web begins"]
    site.told("Process web of release r1 was started again (restart 1)")

    after = site.process("r1")
    assert (after["port"], after["restarts"], after["state"]) == (before["port"], 1, "running")
    assert str(after["pid"]) == site.show(site.unit("r1"), "MainPID")[0] != str(before["pid"])
    assert after["last_exit"]["words"] == "signal SIGKILL"


def test_an_application_is_started_again_while_no_agent_watches(site: UnitSite) -> None:
    before = deployed(site, worker=WORKER)
    site.kill()
    site.sh(f"kill -9 {before['pid']}")
    eventually("systemd starts it", lambda: site.show(site.unit("r1"), "MainPID")[0] not in ("0", str(before["pid"])))
    worker = site.show(site.unit("r1", "worker"), "MainPID")[0]

    site.start()

    site.told("Process web of release r1 had ended while no agent watched it, and was started again")
    assert site.process("r1")["pid"] == int(site.show(site.unit("r1"), "MainPID")[0])
    assert site.process("r1")["restarts"] == 1
    assert site.process("r1", "worker")["pid"] == int(worker)
    assert site.answer(before["port"]) == "fine"


def test_a_unit_that_an_administrator_stops_stays_stopped_until_it_is_started(site: UnitSite) -> None:
    before = deployed(site)
    unit = site.unit("r1")
    site.sh(f"systemctl stop {unit}")

    site.told(f"its unit {unit} was stopped by hand")
    assert eventually("it is halted", lambda: site.process("r1")["state"] == "halted")
    assert site.process("r1")["pid"] is None
    site.kill()
    site.start()
    assert eventually("it is halted", lambda: site.process("r1")["state"] == "halted")
    assert site.show(unit, "ActiveState") == ["inactive"]
    assert len([each for each in site.events() if "by hand" in each["message"]]) == 1

    site.sh(f"systemctl start {unit}")
    site.told("Process web of release r1 was started by hand")
    assert site.process("r1")["state"] == "running"
    assert site.answer(before["port"]) == "fine"


def test_a_halted_unit_runs_again_with_the_next_deployment(site: UnitSite) -> None:
    deployed(site)
    site.sh(f"systemctl stop {site.unit('r1')}")
    eventually("it is halted", lambda: site.process("r1")["state"] == "halted")

    port = run_web(site, "r1")["port"]

    assert site.process("r1")["state"] == "running"
    assert site.answer(port) == "fine"


def test_a_restart_by_hand_is_followed(site: UnitSite) -> None:
    before = deployed(site)
    site.sh(f"systemctl restart {site.unit('r1')}")

    after = eventually("it is followed", lambda: found if (found := site.process("r1")).get("pid") else None)
    eventually("another process", lambda: site.process("r1")["pid"] not in (None, before["pid"]))
    assert (after["port"], site.process("r1")["state"]) == (before["port"], "running")
    assert not [each for each in site.events() if "by hand" in each["message"]]


@pytest.mark.parametrize("agent", [True, False], ids=["agent enabled", "agent disabled"])
def test_after_a_reboot_what_was_committed_runs_once_and_nothing_else(site: UnitSite, agent: bool) -> None:
    before = deployed(site, worker=WORKER)
    prepared(site, "r2", {"web": "python3 -S web.py", "worker": WORKER}, environment={"BODY": "second"})
    second = run_web(site, "r2")  # and no commit

    site.reboot(agent)

    eventually("it serves", lambda: site.answer(before["port"]) == "fine")
    pid = site.show(site.unit("r1"), "MainPID")[0]
    if not agent:
        assert site.sh(f"systemctl is-active {AGENT}", check=False) == "inactive"
        site.start()
    found = eventually("it is adopted", lambda: site.process("r1") if site.process("r1").get("pid") else None)
    assert (str(found["pid"]), found["port"], found["restarts"]) == (pid, before["port"], 0)
    assert site.process("r1", "worker")["state"] == "running"
    assert site.process("r2") == {}
    assert site.answer(second["port"]) == ""
    running = site.sh(f"systemctl list-units --plain --no-legend 'beanpole-{INSTANCE}-*' | cut -d' ' -f1")
    assert sorted(running.split()) == sorted([site.unit("r1"), site.unit("r1", "worker")])
    assert site.sh("pgrep -cf 'web.py'") == "1"


def test_a_commit_that_the_power_cut_is_made_good_by_the_agent(site: UnitSite) -> None:
    before = deployed(site)
    prepared(site, "r2", environment={"BODY": "second"})
    second = run_web(site, "r2")
    # As after the second of its three steps: the others are disabled, `current` is the new one, which is not enabled.
    site.sh(f"rm {UNITS}/multi-user.target.wants/beanpole-{INSTANCE}-*; ln -sfn releases/r2 {HOME}/current")

    site.reboot(agent=True)

    eventually("it serves", lambda: site.answer(second["port"]) == "second")
    assert site.answer(before["port"]) == ""
    assert site.show(site.unit("r2"), "UnitFileState", "Restart") == ["enabled", "always"]


def test_a_stop_first_release_that_fails_brings_the_old_one_back(site: UnitSite) -> None:
    port = deployed(site)["port"]
    prepared(site, "r2", texts={"web.py": "import nothing_of_the_kind\n"}, stop_first=True)

    with pytest.raises(JobFailed, match=r"web ended after .* \(exit status 1\)") as failure:
        run_web(site, "r2", fixed_port=port)

    assert "nothing_of_the_kind" in failure.value.last_lines[-1]
    site.told("Release r1 runs again instead of r2: the new one could not be started")
    assert eventually("r1 serves", lambda: site.answer(port) == "fine")
    assert site.show(site.unit("r1"), "UnitFileState") == ["enabled"]
    assert site.show(site.unit("r2"), "ActiveState", "MainPID") == ["inactive", "0"]


def test_without_a_verdict_the_old_release_runs_again_also_after_a_reboot(site: UnitSite) -> None:
    port = deployed(site)["port"]
    prepared(site, "r2", stop_first=True, environment={"BODY": "second"})
    run_web(site, "r2", verdict=3600)
    assert site.show(site.unit("r1"), "ActiveState", "UnitFileState") == ["inactive", "enabled"]

    site.reboot(agent=False)

    eventually("r1 serves", lambda: site.answer(port) == "fine")
    site.start()
    assert site.process("r1")["state"] == "running"
    assert site.process("r2") == {}


@pytest.mark.parametrize("moment", ["unit written", "started", "waiting"])
def test_an_agent_that_dies_amid_a_start_leaves_one_process_or_none(site: UnitSite, moment: str) -> None:
    late = "while ! test -e ready; do sleep 0.05; done; exec python3 -S web.py"
    prepared(site, "r1", {"web": late})
    arguments = {"release": "r1", "health": HEALTH, "deadline": 60, "fixed_port": None}
    key = site.put("start", **arguments)
    pid = eventually("it runs", lambda: site.process("r1").get("pid"))
    site.kill()
    table = json.loads(site.sh(f"cat {HOME}/processes.json"))
    if moment != "waiting":
        table["processes"][0]["identity"] = None
    site.sh(f"cat > {HOME}/processes.json <<'END'\n{json.dumps(table)}\nEND")
    if moment == "unit written":
        site.sh(f"systemctl stop {site.unit('r1')}")

    site.start()

    state = site.process("r1")["state"]
    assert state == ("stopped" if moment == "unit written" else "starting")
    site.sh(f"touch {HOME}/releases/r1/app/ready")
    found = site.job("start", job_key=key, **arguments)
    assert (found["pid"] == pid) == (moment != "unit written")
    assert site.sh("pgrep -cf 'web.py'") == "1"


def test_a_unit_that_nobody_knows_of_is_ended_and_removed(site: UnitSite) -> None:
    before = deployed(site)
    site.kill()
    site.sh(f"rm {HOME}/processes.json")

    site.start()

    after = eventually("it runs", lambda: site.process("r1") if site.process("r1").get("pid") else None)
    assert after["pid"] != before["pid"]
    assert site.sh("pgrep -cf 'web.py'") == "1"
    assert site.show(site.unit("r1"), "UnitFileState") == ["enabled"]


def test_stop_waits_for_its_grace_and_says_whether_it_had_to_kill(site: UnitSite) -> None:
    stubborn = "trap '' TERM; touch deaf; while :; do sleep 1; done"
    gentle = "trap 'sleep 1; touch left; exit 0' TERM; touch ready; while :; do sleep 0.1; done"
    prepared(site, "r1", {"web": "python3 -S web.py", "stubborn": stubborn, "gentle": gentle})
    run_web(site, "r1")
    site.job("switch", release="r1", settle=0)
    app = f"{HOME}/releases/r1/app"
    eventually("both listen to signals", lambda: site.sh(f"cd {app} && ls deaf ready", check=False).count("\n") == 1)

    assert site.job("stop", release="r1", names=["gentle"], grace=200) == {"killed": False}
    site.sh(f"test -e {app}/left")
    assert site.show(site.unit("r1", "gentle"), "TimeoutStopUSec") == ["3min 30s"]
    assert site.job("stop", release="r1", names=["stubborn"], grace=0.5) == {"killed": True}
    assert site.process("r1", "stubborn")["state"] == "stopped"
    assert site.show(site.unit("r1", "stubborn"), "ActiveState", "MainPID")[1] == "0"


def test_a_removed_release_leaves_no_unit(site: UnitSite) -> None:
    deployed(site, "r1")
    deployed(site, "r2")
    site.job("stop", release="r1", names=None, grace=5)

    assert site.job("commit", release="r2", keep=[]) == {"removed": ["r1"]}

    left = site.sh(f"ls {UNITS} {UNITS}/multi-user.target.wants {HOME}/units")
    assert "-r1" not in left
    assert left.count("-web-r2.service") == 3
    assert "-r1" not in site.sh(f"systemctl list-units --all 'beanpole-{INSTANCE}-*'")


def test_a_shutdown_leaves_nothing(site: UnitSite) -> None:
    deployed(site, worker=WORKER, dies="exit 3")
    prepared(site, "r2", texts={"web.py": "raise SystemExit(3)\n"})
    with pytest.raises(JobFailed):
        run_web(site, "r2")

    site.ask(lambda client: client.shutdown(processes=True))

    eventually("the agent ends", lambda: site.sh(f"systemctl is-active {AGENT}", check=False) == "inactive")
    site.sh(f"systemctl disable {AGENT} 2>&1; rm -r {UNITS}/{AGENT} /var/lib/beanpole /run/beanpole; userdel {USER}")
    site.sh("systemctl daemon-reload")
    site.hang_up()
    eventually("it has ended", lambda: site.sh("pgrep -f 'agent.pyz stdi[o]'", check=False) == "")
    assert traces(site.bed, site.server.name) == []
    assert site.sh(f"find /etc/systemd /run/systemd -name '*{INSTANCE}*'") == ""


def test_a_missing_user_is_said_with_its_remedy(site: UnitSite) -> None:
    prepared(site, "r1")
    site.sh(f"userdel {USER}")

    for kind in ("preflight", "start"):
        with pytest.raises(JobFailed, match=f"the system user {USER}.* does not exist") as failure:
            site.job("preflight") if kind == "preflight" else run_web(site, "r1")
        assert "useradd" in failure.value.remedy


def test_a_full_disk_fails_a_start_and_leaves_what_runs(site: UnitSite) -> None:
    before = deployed(site)
    prepared(site, "r2")
    site.bed.fill(site.server.name)

    with pytest.raises(Exception, match=r"full|No space"):
        run_web(site, "r2")

    assert site.answer(before["port"]) == "fine"
    site.bed.unfill(site.server.name)
    assert run_web(site, "r2")["port"] != before["port"]


def test_a_process_that_dies_every_second_is_not_told_every_second(site: UnitSite) -> None:
    deployed(site, dies="sleep 0.1; exit 3")

    eventually("it died often", lambda: site.process("r1", "dies")["restarts"] >= 8)

    told = [each for each in site.events() if "dies of release r1 ended" in each["message"]]
    assert 2 <= len(told) <= 5
    assert "(exit status 3)" in told[0]["message"]


def kill_agent_when(site: UnitSite, condition: str) -> None:
    """kill -9 for the agent that runs now, as soon as the shell finds that condition true."""
    pid = site.show(AGENT, "MainPID")[0]
    script = f"until {condition}; do :; done; kill -9 {pid}"
    site.sh(f"timeout 120 sh -c '{script}' < /dev/null > /dev/null 2>&1 &")


@pytest.mark.parametrize(
    ("kind", "condition"),
    [
        ("start", "test -e {home}/units/{unit}.env"),
        ("start", "test -e {units}/{unit}"),
        ("start", "test -e {home}/releases/r2/app/began"),
        ("start", "grep -q Restart=always {units}/{unit}"),
        ("commit", "test ! -e {units}/multi-user.target.wants/{old}"),
        ("commit", 'test "$(readlink {home}/current)" = releases/r2'),
        ("commit", "test -e {units}/multi-user.target.wants/{unit}"),
    ],
)
def test_an_agent_that_is_killed_at_any_moment_is_replaced_and_the_job_done(
    site: UnitSite, kind: str, condition: str
) -> None:
    before = deployed(site)
    prepared(site, "r2", {"web": "touch began; exec python3 -S web.py"}, environment={"BODY": "second"})
    arguments: dict[str, Any] = {"release": "r2"}
    if kind == "start":
        arguments.update(health=HEALTH, deadline=60, fixed_port=None)
    else:
        run_web(site, "r2")
        arguments.update(keep=["r1"])
    places = {"home": HOME, "units": UNITS, "unit": site.unit("r2"), "old": site.unit("r1")}
    kill_agent_when(site, condition.format(**places))
    key = site.put(kind, **arguments)
    eventually("the agent is dead", lambda: site.sh(f"systemctl is-active {AGENT}", check=False) == "failed")

    site.start()
    site.job(kind, job_key=key, **arguments)

    assert site.process("r1")["pid"] == before["pid"]
    second = site.process("r2")
    assert (second["state"], site.answer(second["port"])) == ("running", "second")
    assert site.sh("pgrep -cf 'web.py'") == "2"
    enabled = {release: site.show(site.unit(release), "UnitFileState")[0] for release in ("r1", "r2")}
    target = "r1" if kind == "start" else "r2"
    assert enabled == {release: "enabled" if release == target else "disabled" for release in ("r1", "r2")}
