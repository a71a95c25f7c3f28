"""Instances of this machine, with real agents: they go when they shall, and what nobody knows goes, too."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from beanpole.fleet import local
from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.fleet.agent_program import agent_program
from beanpole.fleet.detached import AgentWillNotStart
from beanpole.fleet.local import STARTS, ThisMachine
from beanpole.store import environments, instances
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.instances import Instance


class Site:
    """A machine with a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "instances"
        self.folder.mkdir()
        self.database = Database.at(root / "beanpole.db")
        with self.database.write() as db:
            environments.add(
                db, Environment("e-1", "shop", "a", None, None, "WebServer", "p", "Ready", "Ok", "[]", 1, "v", 1, 0, 0)
            )
        self.machine = ThisMachine(
            self.database,
            Blobs(root / "blobs"),
            self.folder,
            agent_program(root / "programs"),
            "store",
            root / "layers",
        )

    def add(self, *names: str) -> None:
        with self.database.write() as db:
            for name in names:
                instances.add(db, Instance(name, "e-1", "running", "127.0.0.1", None, 0))

    def forget(self, name: str) -> None:
        with self.database.write() as db:
            instances.remove(db, name)

    def died(self, name: str) -> None:
        """What an agent leaves that did not end by itself."""
        (self.folder / name).mkdir()
        (self.folder / name / "agent.lock").touch()

    def running(self, name: str) -> list[int]:
        """Pids of what runs in the instance's folder, also when that is removed."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if str((entry / "cwd").readlink()).startswith(str(self.folder / name)):
                    found.append(int(entry.name))
        return found


@pytest.fixture
def site() -> Iterator[Site]:
    root = Path(tempfile.mkdtemp(prefix="bp-", dir="/tmp"))
    made = Site(root)
    try:
        yield made
    finally:
        left = made.running("")
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)
        made.database.close()
        shutil.rmtree(root)


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 60))


def test_an_instance_goes_although_somebody_wants_its_agent_all_the_time(site: Site) -> None:
    async def story() -> None:
        site.add("i-1")
        await site.machine.launch("i-1")
        for number in range(60):
            part = site.folder / "i-1" / "releases" / f"d{number}"
            part.mkdir(parents=True)
            for name in range(60):
                (part / f"{name}.txt").touch()
        over = asyncio.Event()

        async def insist() -> None:
            while not over.is_set():
                with contextlib.suppress(AgentUnreachable, AgentWillNotStart):
                    await site.machine.keep_alive("i-1")
                await asyncio.sleep(0)

        insisting = asyncio.create_task(insist())
        await site.machine.terminate("i-1")
        assert not (site.folder / "i-1").exists()
        with pytest.raises(AgentUnreachable, match="is being removed"):
            await site.machine.keep_alive("i-1")
        over.set()
        await insisting
        assert not (site.folder / "i-1").exists()

    run(story())


def test_a_folder_that_is_still_written_to_is_tried_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real, failures = shutil.rmtree, iter([1, 2])

    def rmtree(folder: Path) -> None:
        if next(failures, None):
            raise OSError(errno.ENOTEMPTY, "Directory not empty")
        real(folder)

    async def story() -> None:
        site.add("i-1")
        await site.machine.launch("i-1")
        monkeypatch.setattr(local.shutil, "rmtree", rmtree)
        await site.machine.terminate("i-1")
        assert not (site.folder / "i-1").exists()

    run(story())


def test_a_folder_that_stays_is_told_with_its_cause_and_may_be_removed_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rmtree(_: Path) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    async def story() -> None:
        site.add("i-1")
        await site.machine.launch("i-1")
        with monkeypatch.context() as now:
            now.setattr(local, "REMOVE_LIMIT", 0.2)
            now.setattr(local.shutil, "rmtree", rmtree)
            with pytest.raises(AgentUnreachable, match=r"its folder cannot be removed: .*Device or resource busy"):
                await site.machine.terminate("i-1")
        await site.machine.terminate("i-1")
        assert not (site.folder / "i-1").exists()

    run(story())


def test_an_agent_that_cannot_be_started_for_its_end_is_told_with_its_cause(site: Site) -> None:
    async def story() -> None:
        site.add("i-1")
        site.died("i-1")
        next((site.folder.parent / "programs").glob("*.pyz")).write_bytes(b"broken")
        with pytest.raises(AgentUnreachable, match=r"what runs on instance i-1 cannot be ended: .*exit status"):
            await site.machine.terminate("i-1")

    run(story())


def test_folders_without_write_permission_go(site: Site) -> None:
    async def story() -> None:
        site.add("i-1")
        await site.machine.launch("i-1")
        locked = site.folder / "i-1" / "releases" / "locked" / "below"
        locked.mkdir(parents=True)
        (locked / "file").touch()
        locked.chmod(0o000)
        locked.parent.chmod(0o500)
        await site.machine.terminate("i-1")
        assert not (site.folder / "i-1").exists()

    run(story())


def test_instances_that_nobody_knows_are_ended_and_removed_and_others_stay(site: Site) -> None:
    async def story() -> None:
        site.add("i-1", "i-2")
        await site.machine.launch("i-1")
        await site.machine.launch("i-2")
        site.forget("i-2")
        assert await site.machine.clear_leftovers() == ["i-2"]
        assert [folder.name for folder in site.folder.iterdir()] == ["i-1"]
        assert site.running("i-1")
        assert await site.machine.clear_leftovers() == []
        for _ in range(100):  # an agent's lock is free a moment before its process is gone
            if not site.running("i-2"):
                break
            await asyncio.sleep(0.02)
        assert not site.running("i-2")

    run(story())


def test_a_leftover_that_cannot_be_ended_stays_and_is_no_reason_to_fail(site: Site) -> None:
    async def story() -> None:
        site.died("i-1")
        next((site.folder.parent / "programs").glob("*.pyz")).write_bytes(b"broken")
        assert await site.machine.clear_leftovers() == []
        assert (site.folder / "i-1").exists()

    run(story())


def test_a_folder_that_never_had_an_agent_needs_none_to_go(site: Site) -> None:
    async def story() -> None:
        site.add("i-1")
        (site.folder / "i-1").mkdir()
        next((site.folder.parent / "programs").glob("*.pyz")).write_bytes(b"broken")
        await site.machine.terminate("i-1")
        assert not (site.folder / "i-1").exists()

    run(story())


class SlowAgent:
    """Counts how many start at the same time."""

    now, most = 0, 0
    ready: set[str] = set()  # noqa: RUF012  shared on purpose

    def __init__(self, home: Path, *_: Any) -> None:
        self._name = home.name

    def reap(self) -> None:
        pass

    async def running(self) -> SlowAgent | None:
        return self if self._name in self.ready else None

    async def client(self) -> SlowAgent:
        cls = type(self)
        cls.now += 1
        cls.most = max(cls.most, cls.now)
        await asyncio.sleep(0.01)
        cls.now -= 1
        self.ready.add(self._name)
        return self


def test_only_so_many_agents_start_at_the_same_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "DetachedAgent", SlowAgent)

    async def story() -> None:
        names = [f"i-{number}" for number in range(3 * STARTS)]
        site.add(*names)
        half = len(names) // 2
        await asyncio.gather(
            *(site.machine.launch(name) for name in names[:half]),
            *(site.machine.keep_alive(name) for name in names[half:]),
        )
        assert SlowAgent.most == STARTS
        assert len(SlowAgent.ready) == len(names)

    run(story())
