"""An instance without room for two releases leaves rotation when enough others serve, and never too many at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beanpole.operations.steps.turn import others_needed, take_turn
from beanpole.store import environments, instances
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.instances import Endpoint, Instance


class World:
    def __init__(self, root: Path, fleet: int) -> None:
        self.database = Database.at(root / "beanpole.db")
        self.environment = Environment(
            "e-1", "shop", "a", None, None, "WebServer", "p", "Ready", "Ok", "[]", fleet, "v1", 1, 0, 0
        )
        with self.database.write() as db:
            environments.add(db, self.environment)
            for number in range(fleet):
                instances.add(db, Instance(f"i-{number}", "e-1", "running", f"127.0.0.{number}", 1, number))
        for number in range(fleet):
            self.serves(number, "old")

    def serves(self, number: int, digest: str) -> None:
        with self.database.write() as db:
            instances.put_endpoint(db, Endpoint(f"i-{number}", digest, f"127.0.0.{number}", 80, "serving", 0, "{}"))

    def serving(self) -> set[str]:
        with self.database.read() as db:
            return {each.instance_id for each in instances.endpoints(db, "e-1") if each.state == "serving"}

    def work(self, number: int) -> Any:
        return SimpleNamespace(
            environment=self.environment,
            instance=f"i-{number}",
            writing=self.database.write,
            now=self.database.now_ms,
            progress=lambda words: None,
            operation=SimpleNamespace(id=1),
            step=SimpleNamespace(slots=tuple(f"i-{each}" for each in range(self.environment.desired))),
            settings=SimpleNamespace(boolean=lambda *_: True),
        )

    async def turns(self) -> int:
        """Everybody wants to go at once, and serves the new release a moment after its turn: the fewest that served."""
        fewest = len(self.serving())

        async def go(number: int) -> None:
            nonlocal fewest
            await take_turn(self.work(number), keep="new")
            fewest = min(fewest, len(self.serving()))
            await asyncio.sleep(0)
            self.serves(number, "new")

        await asyncio.gather(*(go(number) for number in range(len(self.serving()))))
        return fewest


@pytest.mark.parametrize(("fleet", "needed"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3)])
def test_half_of_the_fleet_serves_meanwhile(tmp_path: Path, fleet: int, needed: int) -> None:
    assert others_needed(fleet) == needed
    world = World(tmp_path, fleet)
    assert asyncio.run(asyncio.wait_for(world.turns(), 30)) >= needed
    assert len(world.serving()) == fleet


def test_one_that_is_out_already_waits_for_nobody(tmp_path: Path) -> None:
    world = World(tmp_path, 2)
    asyncio.run(take_turn(world.work(0), keep="new"))
    asyncio.run(asyncio.wait_for(take_turn(world.work(0), keep="new"), 10))
    assert world.serving() == {"i-1"}
