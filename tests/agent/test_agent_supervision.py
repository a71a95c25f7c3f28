"""What runs goes on running: deaths, restarts, adoption, orphans, the change from one release to the next."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_site import HEALTH, PYTHON, WEB, Site, alive, eventually

from beanpole.agent.kernel import Kernel, this_kernel
from beanpole.agent.process import Process, Spawn
from beanpole.fleet.agent_client import JobFailed

WORKER = "echo at work; exec sleep 300"


def deployed(site: Site, release: str = "r1", **processes: str) -> str:
    """A release that serves and is the boot target."""
    site.prepare(release, {"web": f"{PYTHON} web.py", **processes})
    site.run_web(release)
    site.job("switch", release=release, settle=0, grace=5)
    site.job("commit", release=release, keep=[])
    return release


def told(site: Site, words: str) -> dict[str, Any]:
    """The first event whose message holds these words."""
    return eventually(words, lambda: next((each for each in site.events() if words in each["message"]), None))


def marked(site: Site) -> set[int]:
    """Living processes that this home has ever started."""
    prefix = json.loads((site.home / "home.json").read_text())["id"]
    return set(this_kernel().marked(prefix))


def test_the_next_agent_adopts_what_runs(site: Site) -> None:
    deployed(site, worker=WORKER)
    before = {each["name"]: each["pid"] for each in site.state()["processes"]}
    site.kill()

    site.start()

    assert {each["name"]: each["pid"] for each in site.state()["processes"]} == before
    assert {each["state"] for each in site.state()["processes"]} == {"running"}
    os.kill(before["worker"], signal.SIGTERM)
    event = told(site, "Process worker of release r1 ended")
    assert event["detail"]["exit"]["words"] == "unknown"
    assert event["detail"]["last_lines"][0].startswith("at work")


def test_a_process_that_dies_is_started_again_on_its_port(site: Site) -> None:
    deployed(site)
    before = site.process("r1")
    os.kill(before["pid"], signal.SIGKILL)

    event = told(site, "Process web of release r1 ended")
    assert "(signal SIGKILL); it is started again in 1 s" in event["message"]
    assert event["severity"] == "WARN"
    told(site, "Process web of release r1 was started again (restart 1)")
    after = site.process("r1")
    assert (after["port"], after["restarts"], after["state"]) == (before["port"], 1, "running")
    assert after["pid"] != before["pid"]
    assert after["last_exit"]["words"] == "signal SIGKILL"


def test_what_a_died_leader_left_is_ended_before_the_restart(site: Site) -> None:
    left = "sleep 300 & echo $! > child; wait"
    deployed(site, worker=left)
    child = int(eventually("the child is there", lambda: (site.home / "releases/r1/app/child").read_text().strip()))
    os.kill(site.process("r1", "worker")["pid"], signal.SIGKILL)

    told(site, "Process worker of release r1 ended")

    assert not alive(child)


def test_deaths_while_no_agent_watched_are_made_good(site: Site) -> None:
    deployed(site)
    pid = site.process("r1")["pid"]
    site.kill()
    os.kill(pid, signal.SIGKILL)

    site.start()

    told(site, "had ended while no agent watched it")
    assert eventually("web runs again", lambda: site.process("r1").get("pid")) != pid


def test_what_was_stopped_stays_stopped(site: Site) -> None:
    deployed(site, worker=WORKER)
    assert site.job("stop", release="r1", names=["worker"], grace=5) == {"killed": False}
    site.kill()

    site.start()

    assert site.process("r1", "worker")["state"] == "stopped"
    assert site.process("r1")["state"] == "running"


def test_stop_ends_the_whole_group_and_says_whether_it_had_to_kill(site: Site) -> None:
    stubborn = "trap '' TERM; (trap '' TERM; echo $$ > child; while :; do sleep 1; done) & wait"
    deployed(site, stubborn=stubborn)
    eventually("it ignores signals", lambda: (site.home / "releases/r1/app/child").exists())

    assert site.job("stop", release="r1", names=["stubborn"], grace=0.2) == {"killed": True}

    assert marked(site) == {site.process("r1")["pid"]}


class SlowKernel(Kernel):
    """It takes so long to look for marks that whatever a signal sets off is under way then."""

    def marked(self, prefix: str) -> dict[int, str]:
        time.sleep(0.2)
        return super().marked(prefix)


def test_what_a_process_starts_to_leave_in_good_order_is_not_told_to_end_too(tmp_path: Path) -> None:
    line = "trap 'sleep 0.5 && touch done; exit 0' TERM; touch ready; while :; do sleep 0.1; done"

    async def stop() -> bool:
        with (tmp_path / "output").open("wb") as output:
            spawn = Spawn(line, tmp_path, {"PATH": os.environ["PATH"]}, "t-good-order", output.fileno())
            process = Process.start(SlowKernel(), spawn)
        while not (tmp_path / "ready").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        return await process.stop(10.0)

    assert asyncio.run(asyncio.wait_for(stop(), 30.0)) is False
    assert (tmp_path / "done").exists()


def test_what_fled_into_a_session_of_its_own_is_found(site: Site) -> None:
    flee = f"{PYTHON} -c 'import os, time; os.fork() or os.setsid(); time.sleep(300)'"
    deployed(site, worker=flee)
    eventually("web and both of the worker run", lambda: len(marked(site)) == 3)

    site.job("stop", release="r1", names=None, grace=5)

    assert marked(site) == set()


def test_a_process_that_was_started_and_not_written_down_is_found(site: Site) -> None:
    site.prepare("r1")
    site.run_web("r1")
    pid = site.process("r1")["pid"]
    site.kill()
    table = site.home / "processes.json"
    content = json.loads(table.read_text())
    content["processes"][0]["identity"] = None  # as if kill -9 came between fork and the note of its pid
    table.write_text(json.dumps(content))

    site.start()

    assert site.process("r1")["pid"] == pid


def test_a_process_that_nobody_knows_of_is_ended(site: Site) -> None:
    site.prepare("r1")
    site.run_web("r1")
    pid = site.process("r1")["pid"]
    site.kill()
    (site.home / "processes.json").unlink()

    site.start()

    assert not alive(pid)


def test_a_process_that_was_never_started_ends_nobody_elses(site: Site, new_site: Callable[..., Site]) -> None:
    other = new_site("other").start()
    deployed(other)
    pid = other.process("r1")["pid"]
    deployed(site)
    site.kill()
    table = site.home / "processes.json"
    content = json.loads(table.read_text())
    content["processes"][0].update(mark="", identity=None)
    table.write_text(json.dumps(content))

    site.start()

    eventually("web runs", lambda: site.process("r1").get("pid"))
    assert alive(pid)


def test_a_pid_that_now_belongs_to_somebody_else_is_never_touched(site: Site) -> None:
    deployed(site, worker=WORKER)
    site.kill()
    stranger = subprocess.Popen(["sleep", "300"], start_new_session=True)
    try:
        table = site.home / "processes.json"
        content = json.loads(table.read_text())
        worker = next(each for each in content["processes"] if each["name"] == "worker")
        os.kill(worker["identity"][0], signal.SIGKILL)
        worker["identity"][0] = stranger.pid
        table.write_text(json.dumps(content))

        site.start()
        eventually("a new worker runs", lambda: site.process("r1", "worker")["pid"])
        site.job("stop", release="r1", names=None, grace=1)

        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_the_boot_target_starts_after_a_reboot_and_nothing_else(site: Site) -> None:
    deployed(site, "r1", worker=WORKER)
    port = site.process("r1")["port"]
    site.prepare("r2")
    site.run_web("r2")
    site.job("stop", release="r1", names=None, grace=5)
    site.end()
    for pid in marked(site):
        os.kill(pid, signal.SIGKILL)
    table = site.home / "processes.json"
    table.write_text(json.dumps({**json.loads(table.read_text()), "boot": "the one before"}))

    site.start()

    eventually("web runs", lambda: site.process("r1").get("state") == "running")
    assert site.process("r1")["port"] == port
    assert eventually("the worker runs", lambda: site.process("r1", "worker").get("pid"))
    assert site.process("r2") == {}


def test_two_releases_of_one_worker_never_run_at_once(site: Site, tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    leave = f"trap 'sleep 0.2; rmdir {lock}; exit 0' TERM"
    only = f"mkdir {lock} || {{ touch {tmp_path}/twice; exit 1; }}; {leave}; sleep 300 & wait"
    deployed(site, "r1", worker=only)
    eventually("the first worker has the lock", lock.exists)
    site.prepare("r2", {"web": f"{PYTHON} web.py", "worker": only, "clock": "exec sleep 300"})
    site.run_web("r2")

    changed = site.job("switch", release="r2", settle=0.3, grace=5)

    assert changed == {"stopped": ["worker"], "started": ["worker", "clock"]}
    assert not (tmp_path / "twice").exists()
    assert site.process("r1", "worker")["state"] == "stopped"
    assert site.process("r1")["state"] == "running"
    assert site.job("switch", release="r2") == {"stopped": [], "started": []}


def test_a_worker_that_cannot_work_brings_the_old_one_back(site: Site) -> None:
    deployed(site, "r1", worker=WORKER)
    site.prepare("r2", {"web": f"{PYTHON} web.py", "worker": "echo no queue; exit 7"})
    site.run_web("r2")

    with pytest.raises(JobFailed, match=r"process worker ended at once \(exit status 7\)") as failure:
        site.job("switch", release="r2", grace=5)

    assert failure.value.last_lines == ("no queue",)
    assert site.process("r1", "worker")["state"] == "running"
    assert site.process("r2", "worker")["state"] == "stopped"


def test_commit_sets_the_boot_target_and_prunes(site: Site) -> None:
    deployed(site, "r1")
    deployed(site, "r2")
    site.fetch("r3", {})
    site.fetch("r4", {})
    site.prepare("r5")
    site.run_web("r5")

    assert site.job("commit", release="r5", keep=["r2", "r4"]) == {"removed": ["r3"]}

    assert site.state()["boot"] == "r5"
    assert site.state()["releases"] == ["r1", "r2", "r4", "r5"]  # r1 still runs
    assert (site.home / "current").resolve() == (site.home / "releases" / "r5").resolve()


def test_a_new_release_is_the_likelier_victim_until_it_is_committed(site: Site) -> None:
    base = this_kernel().oom_score(site.pid)
    if base is None:
        pytest.skip("no OOM scores on this system")
    site.prepare("r1")
    pid = site.run_web("r1")["pid"]
    assert this_kernel().oom_score(pid) == 200

    site.job("commit", release="r1", keep=[])

    assert this_kernel().oom_score(pid) == base


def test_a_stop_first_release_takes_the_others_place(site: Site) -> None:
    deployed(site, "r1")
    port = site.process("r1")["port"]
    site.prepare("r2", stop_first=True)

    assert site.run_web("r2", fixed_port=port)["port"] == port

    assert site.process("r1")["state"] == "stopped"
    assert (site.home / "undo.json").exists()
    site.job("commit", release="r2", keep=["r1"])
    assert not (site.home / "undo.json").exists()


def test_a_stop_first_release_that_fails_brings_the_old_one_back(site: Site) -> None:
    deployed(site, "r1")
    port = site.process("r1")["port"]
    site.prepare("r2", texts={"web.py": "import nothing_of_the_kind\n"}, stop_first=True)

    with pytest.raises(JobFailed, match="web ended after"):
        site.run_web("r2", fixed_port=port)

    told(site, "Release r1 runs again instead of r2: the new one could not be started")
    assert (site.process("r1")["state"], site.process("r1")["port"]) == ("running", port)


def test_the_way_back_leads_past_a_release_that_had_no_verdict(site: Site) -> None:
    deployed(site, "r1")
    site.run_web(site.prepare("r2", stop_first=True))
    site.prepare("r3", texts={"web.py": "import nothing_of_the_kind\n"}, stop_first=True)

    with pytest.raises(JobFailed):
        site.run_web("r3")

    told(site, "Release r1 runs again instead of r3")
    assert site.process("r2")["state"] == "stopped"


def test_without_a_verdict_in_time_the_old_release_runs_again(site: Site) -> None:
    deployed(site, "r1", worker=WORKER)
    site.prepare("r2", stop_first=True)
    site.run_web("r2", verdict=0.5)

    told(site, "Release r1 runs again instead of r2: no verdict came in time")

    assert site.process("r1")["state"] == "running"
    assert site.process("r2")["state"] == "stopped"


def test_an_agent_that_dies_amid_a_stop_first_start_leaves_no_outage(site: Site) -> None:
    deployed(site, "r1")
    site.prepare("r2", {"web": "touch began; exec sleep 300"}, stop_first=True)
    key = site.put("start", release="r2", health=HEALTH, deadline=60, fixed_port=None)
    eventually("the new one begins", lambda: (site.home / "releases/r2/app/began").exists())
    identity = eventually(
        "its identity is written down",
        lambda: json.loads((site.home / "processes.json").read_text())["processes"][-1]["identity"],
    )
    site.kill()
    os.kill(identity[0], signal.SIGKILL)

    site.start()

    told(site, "Release r1 runs again instead of r2: its start was interrupted")
    assert site.ask(lambda client: client.get_job(key)).state == "interrupted"


def test_a_start_that_the_agents_death_interrupted_goes_on_with_the_same_process(site: Site) -> None:
    late = f"while ! test -e ready; do sleep 0.05; done; exec {PYTHON} web.py"
    site.prepare("r1", {"web": late})
    arguments = {"release": "r1", "health": HEALTH, "deadline": 15, "fixed_port": None}
    key = site.put("start", **arguments)
    pid = eventually("it runs", lambda: site.process("r1").get("pid"))
    site.kill()
    site.start()
    assert site.process("r1")["state"] == "starting"
    (site.home / "releases/r1/app/ready").touch()

    assert site.job("start", job_key=key, **arguments)["pid"] == pid
    assert site.process("r1")["state"] == "running"


@pytest.mark.slow
def test_killing_the_agent_after_each_step_of_a_deployment_changes_nothing(site: Site) -> None:
    deployed(site, "r1", worker=WORKER)
    served = site.process("r1")["pid"]
    manifest = site.files({"web.py": WEB, "note": "r2"})
    lines = [{"name": "web", "command": f"{PYTHON} web.py"}, {"name": "worker", "command": WORKER}]
    steps: list[tuple[str, dict[str, Any]]] = [
        ("fetch", {"release": "r2", "manifest": manifest, "source": str(site.blobs)}),
        ("prepare", {"release": "r2", "processes": lines, "environment": {}, "layer": None}),
        ("start", {"release": "r2", "health": HEALTH, "deadline": 15, "fixed_port": None}),
        ("gate", {"release": "r2", "health": HEALTH, "checks": 2, "interval": 0.01, "deadline": 5}),
        ("switch", {"release": "r2", "settle": 0.1, "grace": 5}),
        ("commit", {"release": "r2", "keep": ["r1"]}),
    ]
    results = []
    for kind, arguments in steps:
        results.append(site.job(kind, job_key=f"op/{kind}", **arguments))
        site.kill()
        assert alive(served)
        site.start()
        assert site.job(kind, job_key=f"op/{kind}", **arguments) == results[-1]

    site.job("stop", release="r1", names=None, grace=5)
    running = {(each["release"], each["name"]) for each in site.state()["processes"] if each["state"] == "running"}
    assert running == {("r2", "web"), ("r2", "worker")}
    assert site.process("r2")["pid"] == results[2]["pid"]
    assert len(marked(site)) == 2
    assert site.state()["boot"] == "r2"


def test_without_proc_ps_tells_the_same() -> None:
    if shutil.which("ps", path="/bin") is None:
        pytest.skip("no /bin/ps here")
    from beanpole.agent.kernel import PsKernel

    child = subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    try:
        kernel = PsKernel()
        identity = kernel.identity(child.pid)
        assert identity is not None
        assert kernel.alive(identity)
        assert kernel.leads(child.pid)
        assert kernel.group(child.pid) == [child.pid]
        assert kernel.resident([child.pid]) > 0
    finally:
        child.kill()
        child.wait()
    assert not kernel.alive(identity)
