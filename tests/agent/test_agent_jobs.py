"""Jobs: one run per key, whoever asks and however often; cancelled, interrupted and outdated orders."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from agent_site import Site, alive, eventually

from beanpole.agent.jobs import KEPT
from beanpole.fleet.agent_client import (
    AgentClient,
    AgentRefused,
    JobCancelled,
    JobFailed,
    JobOverdue,
    OtherStore,
    StaleEpoch,
)


@pytest.fixture
def site(shared_site: Site) -> Site:
    return shared_site


@pytest.fixture
def own_site(new_site: Callable[..., Site]) -> Site:
    """For tests that end its agent."""
    return new_site().start()


def command(line: str, **more: object) -> dict[str, object]:
    return {"name": "one", "command": line, "cwd": None, "env": {}, "test": None, "ignore_errors": False, **more}


def stage(line: str) -> dict[str, object]:
    return {"release": "r1", "stage": "predeploy", "commands": [command(line)], "environment": {}, "layer": None}


def waiting(site: Site, name: str) -> int:
    """The pid that a command wrote into its file."""
    path = site.home / "releases" / "r1" / "app" / name
    return int(eventually(f"{name} is written", lambda: path.read_text().strip() if path.exists() else ""))


def test_the_same_key_runs_once(site: Site) -> None:
    site.fetch("r1", {})
    for _ in range(3):
        site.job("run", job_key="op-1/run i-1", **stage("echo x >> ../runs"))

    assert (site.home / "releases" / "r1" / "runs").read_text() == "x\n"


def test_a_failed_job_is_not_repeated_and_keeps_its_error(own_site: Site) -> None:
    own_site.fetch("r1", {})
    for _ in range(2):
        with pytest.raises(JobFailed) as failure:
            own_site.job("run", job_key="k", **stage("echo x >> ../runs; echo broken; exit 3"))
        assert (failure.value.stage, failure.value.exit_status) == ("predeploy", 3)
        assert failure.value.last_lines == ("broken",)
        own_site.end()
        own_site.start()

    assert (own_site.home / "releases" / "r1" / "runs").read_text() == "x\n"


def test_an_older_epoch_is_refused_also_by_the_next_agent(own_site: Site) -> None:
    own_site.epoch = 7
    own_site.job("preflight")
    own_site.epoch = 6
    with pytest.raises(StaleEpoch):
        own_site.job("preflight")
    own_site.kill()
    own_site.start()
    with pytest.raises(StaleEpoch) as refusal:
        own_site.job("preflight")

    assert refusal.value.body["epoch"] == 7


def test_another_control_plane_is_refused(site: Site) -> None:
    with pytest.raises(OtherStore):
        asyncio.run(site.client("store-2").run_job("k-other", "preflight", {}, 1))


def test_cancelling_ends_everything_that_the_job_started(site: Site) -> None:
    site.fetch("r1", {})
    key = site.put("run", **stage("sleep 300 & echo $! > child; echo $$ > leader; wait"))
    pids = [waiting(site, "child"), waiting(site, "leader")]

    assert site.ask(lambda client: client.cancel_job(key, site.epoch)).state == "cancelled"

    assert not any(alive(pid) for pid in pids)
    with pytest.raises(JobCancelled):
        site.job("run", job_key=key, **stage("true"))


def test_a_command_that_ignores_sigterm_is_killed(site: Site) -> None:
    site.fetch("r1", {})
    key = site.put("run", **stage("trap '' TERM; echo $$ > leader; while :; do sleep 1; done"))
    pid = waiting(site, "leader")

    site.ask(lambda client: client.cancel_job(key))

    assert not alive(pid)


def test_a_job_that_the_agents_death_interrupted_runs_again(own_site: Site) -> None:
    own_site.fetch("r1", {})
    line = "echo $$ > leader; test -e ../second && exit 0; touch ../second; sleep 300"
    key = own_site.put("run", **stage(line))
    orphan = waiting(own_site, "leader")
    own_site.kill()
    assert alive(orphan)

    own_site.start()

    eventually("the orphan of the interrupted job is ended", lambda: not alive(orphan))
    assert own_site.ask(lambda client: client.get_job(key)).state == "interrupted"
    assert own_site.job("run", job_key=key, **stage(line)) == {"ran": 1, "skipped": 0, "ignored": 0}


def test_an_agent_that_ends_ends_what_its_jobs_run(own_site: Site) -> None:
    own_site.fetch("r1", {})
    key = own_site.put("run", **stage("echo $$ > leader; sleep 300"))
    pid = waiting(own_site, "leader")

    own_site.end()
    assert not alive(pid)
    own_site.start()

    assert own_site.ask(lambda client: client.get_job(key)).state == "interrupted"


def test_a_client_that_waits_gets_over_the_agents_restart(own_site: Site) -> None:
    own_site.fetch("r1", {})
    line = "echo $$ > leader; test -e ../second && exit 0; touch ../second; sleep 300"

    async def restart_meanwhile() -> dict[str, object]:
        job = asyncio.ensure_future(own_site.client().run_job("k", "run", stage(line), 1))
        await asyncio.to_thread(waiting, own_site, "leader")
        await asyncio.to_thread(own_site.kill)
        await asyncio.to_thread(own_site.start_again)
        return await job

    assert asyncio.run(restart_meanwhile())["ran"] == 1


def test_records_hold_no_arguments(site: Site) -> None:
    site.fetch("r1", {})
    site.job("prepare", release="r1", processes=[], environment={"TOKEN": "s3cret"}, layer=None)

    assert not any("s3cret" in path.read_text() for path in (site.home / "jobs").iterdir())
    assert (site.home / "releases" / "r1" / "release.json").stat().st_mode & 0o777 == 0o600


def test_unknown_keys_and_wrong_arguments_get_a_sentence(site: Site) -> None:
    with pytest.raises(AgentRefused, match="there is no job nope"):
        site.ask(lambda client: client.get_job("nope"))
    with pytest.raises(JobFailed, match="the argument release of fetch must be text"):
        site.job("fetch", release=5, source="/x", manifest=[])
    with pytest.raises(JobFailed, match="release r9 is not on this instance"):
        site.job("prepare", release="r9", processes=[])
    with pytest.raises(JobFailed, match="cannot name a release"):
        site.job("fetch", release="../evil", source="/x", manifest=[])


def test_waiting_returns_on_progress_and_on_the_end(site: Site) -> None:
    site.fetch("r1", {})
    told: list[str] = []

    async def watch() -> dict[str, object]:
        client: AgentClient = site.client()
        both = {**stage("true"), "commands": [command("true", name="first"), command("sleep 0.3", name="second")]}
        await client.put_job("k", "run", both, 1)
        return await client.wait_job("k", lambda words, done, total: told.append(f"{words} {done}/{total}"))

    assert asyncio.run(watch())["ran"] == 2
    assert told[-1] == "predeploy: second 1/2"


def test_a_caller_out_of_time_hears_so_and_the_job_goes_on(site: Site) -> None:
    site.fetch("r1", {})
    key = site.put("run", **stage("echo $$ > leader; sleep 300"))
    pid = waiting(site, "leader")

    with pytest.raises(JobOverdue, match="still runs: predeploy: one"):
        site.ask(lambda client: client.wait_job(key, timeout=0.1))

    assert alive(pid)


def test_only_the_newest_records_are_kept_and_long_keys_have_files(own_site: Site) -> None:
    folder = own_site.home / "jobs"
    for number in range(KEPT + 5):
        path = folder / f"old-{number}.json"
        path.write_text(json.dumps({"key": f"old-{number}", "state": "succeeded"}))
    long = "x/" * 400

    own_site.job("preflight", job_key=long)

    assert len(list(folder.iterdir())) == KEPT
    assert own_site.ask(lambda client: client.get_job(long)).state == "succeeded"
    assert time.time() - own_site.record(long)["ended_at"] < 60
    assert all(len(Path(path).name) < 255 for path in folder.iterdir())
