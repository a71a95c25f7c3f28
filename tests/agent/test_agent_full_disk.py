"""A full disk: orders are refused with words, nothing hangs, logs are cut, and all goes on when there is room again."""

from __future__ import annotations

import asyncio
import errno
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_site import Site, alive, eventually

from beanpole.agent import durable, rotation
from beanpole.agent.enginelog import EngineLog
from beanpole.agent.events import EventLog
from beanpole.agent.jobs import Authority, Job, Jobs
from beanpole.agent.rotation import rotate_folder
from beanpole.fleet.agent_client import AgentRefused, JobFailed

SIZE = 16 * 1024 * 1024  # bytes of the small disk


class Disk:
    """A folder on a small filesystem of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            for piece in (64 * 1024, 4096):
                try:
                    while True:
                        file.write(b"x" * piece)
                except OSError as error:
                    assert error.errno == errno.ENOSPC

    def empty(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    folder = tmp_path / "small" / "home"
    folder.mkdir(parents=True)
    words = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=700", "tmpfs", str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield Disk(folder)
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def site(disk: Disk, new_site: Callable[..., Site]) -> Site:
    """A site whose home is on the small disk."""
    site = new_site("small")
    assert site.home == disk.folder
    return site.start()


def test_a_job_that_cannot_be_written_down_is_refused_and_may_be_put_again(site: Site, disk: Disk) -> None:
    site.job("preflight")
    disk.fill()

    with pytest.raises(AgentRefused, match=r"disk .* is full.*[Ff]ree") as refusal:
        site.ask(lambda client: client.put_job("k", "preflight", {}, site.epoch))

    assert refusal.value.status == 503
    with pytest.raises(AgentRefused, match="there is no job k"):
        site.ask(lambda client: client.get_job("k", wait=5.0))
    disk.empty()
    assert site.job("preflight", job_key="k")["cpus"] > 0


def test_an_epoch_that_cannot_be_written_down_is_not_taken(site: Site, disk: Disk) -> None:
    site.job("preflight")
    disk.fill()
    with pytest.raises(AgentRefused) as refusal:
        site.ask(lambda client: client.put_job("k", "preflight", {}, 7))
    assert refusal.value.status == 503
    disk.empty()

    site.job("preflight")  # of the older epoch, which is still the highest that is on disk


def test_a_job_that_runs_into_a_full_disk_fails_with_words(site: Site) -> None:
    manifest = [["big", 0o644, site.blob(b"x" * SIZE), SIZE]]

    with pytest.raises(JobFailed) as failure:
        site.fetch("r1", manifest=manifest)

    assert "disk" in f"{failure.value.message} {failure.value.remedy}"
    assert "free" in failure.value.remedy.lower()


def test_an_agent_begins_and_ends_everything_on_a_full_disk(site: Site, disk: Disk) -> None:
    site.prepare("r1", {"web": "sleep 300", "worker": "exec sleep 300"})
    site.job("switch", release="r1", settle=0)
    pid = site.process("r1", "worker")["pid"]
    disk.fill()

    site.ask(lambda client: client.shutdown(processes=True))

    assert not alive(pid)


def test_the_housekeeping_cuts_a_log_for_which_there_is_no_room_and_says_so(site: Site, disk: Disk) -> None:
    live = disk.folder / "log" / "web.stdout.log"
    site.end()
    live.write_bytes(b"line\n" * (11 * 1024 * 1024 // 5))
    for number in (1, 2):
        live.with_name(f"{live.name}.{number}").write_bytes(b"kept\n")
    disk.fill()

    site.start()

    eventually("the log is cut", lambda: live.stat().st_size < 10_000)
    assert [live.with_name(f"{live.name}.{number}").read_bytes() for number in (1, 2)] == [b"kept\n"] * 2
    assert eventually("it is said", lambda: site.log().count("web.stdout.log")) == 1
    assert not list(live.parent.glob(".*"))


def test_a_log_is_cut_on_a_real_full_disk(disk: Disk) -> None:
    live = disk.folder / "web.stdout.log"
    live.write_bytes(b"line\n" * (11 * 1024 * 1024 // 5))
    disk.fill()

    assert rotate_folder(disk.folder) == [live]

    assert live.stat().st_size < 10_000
    assert {path.name for path in disk.folder.iterdir()} == {"web.stdout.log", "filler"}


def full(*_: Any) -> Any:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("whole", [True, False], ids=["collapse", "truncate"])
def test_without_room_a_log_is_cut_and_the_rotated_ones_stay(
    tmp_path: Path, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not whole:
        monkeypatch.setattr(rotation, "_collapse", lambda descriptor, length: False)
    monkeypatch.setattr(rotation, "_copy", full)
    live = tmp_path / "web.stdout.log"
    for number in (1, 2):
        live.with_name(f"{live.name}.{number}").write_text(str(number))
    live.write_bytes(b"x" * 100_000)

    assert rotate_folder(tmp_path, limit=50_000) == [live]
    assert rotate_folder(tmp_path, limit=50_000) == []

    assert live.stat().st_size < 10_000
    assert [live.with_name(f"{live.name}.{number}").read_text() for number in (1, 2)] == ["1", "2"]
    assert len(list(tmp_path.iterdir())) == 3


def test_only_the_end_of_a_very_large_log_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rotation, "SIZE_LIMIT", 50_000)
    live = tmp_path / "web.stdout.log"
    live.write_bytes(b"".join(b"%09d\n" % number for number in range(100_000)))

    assert rotate_folder(tmp_path, limit=50_000) == []

    kept = live.with_name(f"{live.name}.1").read_bytes()
    assert 40_000 < len(kept) <= 50_000
    numbers = [int(line) for line in (kept + live.read_bytes()).splitlines()]
    assert numbers == list(range(numbers[0], 100_000))


def test_an_engine_log_that_cannot_be_written_throws_nothing_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beanpole.agent.enginelog.SIZE_LIMIT", 200)
    log = EngineLog(tmp_path / "engine.log")
    log.line("kept")
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("os.write", full)
        for _ in range(100):
            log.line("lost")

    assert {path.name for path in tmp_path.iterdir()} == {"engine.log"}
    assert "kept" in (tmp_path / "engine.log").read_text()


def test_an_engine_log_that_cannot_be_begun_anew_goes_on_in_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beanpole.agent.enginelog.SIZE_LIMIT", 200)
    log = EngineLog(tmp_path / "engine.log")
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("os.open", full)
        log.line("x" * 300)
    log.line("afterwards")

    assert "afterwards" in "".join(path.read_text() for path in tmp_path.iterdir())


def test_a_job_whose_record_fails_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def done(job: Job) -> dict[str, Any]:
        return {"done": True}

    async def story() -> None:
        jobs = Jobs(tmp_path, "p-", {"one": done}, lambda text: None)
        with monkeypatch.context() as meanwhile:
            # As when the folder cannot be synced: the record is there, and yet nobody may rely on it.
            meanwhile.setattr(durable, "sync_folder", full)
            with pytest.raises(OSError, match="No space"):
                jobs.put("k", "one", {}, 1)
        known = jobs.find("k")
        assert known is None or known["state"] == "interrupted"
        jobs.put("k", "one", {}, 1)
        view = await jobs.wait("k", 5.0, None)
        assert view is not None
        assert view["state"] == "succeeded"

    asyncio.run(story())


def test_an_agent_takes_its_home_over_without_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Authority(tmp_path, "store-1").admit("store-1", 3)
    EventLog(tmp_path).add("INFO", "kept")
    (tmp_path / "jobs").mkdir()
    durable.write_json(tmp_path / "jobs" / "k.json", {"key": "k", "mark": "m", "state": "running"})
    monkeypatch.setattr(durable, "write", full)

    assert Authority(tmp_path, "store-1").epoch == 3
    assert [event["message"] for event in EventLog(tmp_path).after(0)] == ["kept"]
    jobs = Jobs(tmp_path, "p-", {}, lambda text: None)
    assert jobs.interrupted() == {"k": "m"}
    known = jobs.find("k")
    assert known is not None
    assert known["state"] == "interrupted"
