"""What the balancer's agent is told of all environments: one that cannot be served keeps no other from changing."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from structlog.testing import capture_logs

from beanpole.balancer.pool import Health
from beanpole.fleet.balancers import Balancers
from beanpole.fleet.edges import Listen
from beanpole.fleet.proxy import Post
from beanpole.store import environments, instances
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.instances import Endpoint, Instance


def add(database: Database, name: str, path: str, port: int) -> None:
    """An environment with one instance, which is checked on that path."""
    state = ("WebServer", "p", "Ready", "Ok", "[]", 1, "v1", 1, 0, 0)
    health = msgspec.json.encode(Health(path=path)).decode()
    with database.write() as db:
        environments.add(db, Environment(f"e-{name}", name, "a", None, name, *state))  # type: ignore[arg-type]
        instances.add(db, Instance(f"i-{name}", f"e-{name}", "running", "127.0.0.2", 1, 0))
        instances.put_endpoint(db, Endpoint(f"i-{name}", "d", "127.0.0.2", port, "serving", 0, health))


def test_an_environment_that_cannot_be_served_keeps_no_other_from_changing(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "beanpole.db")
    add(database, "good", "/health", 20001)
    add(database, "bad", "no path at all", 20002)
    told: list[dict[str, Any]] = []

    async def call(_method: str, path: str, body: dict[str, Any] | None = None, **_: Any) -> dict[str, Any]:
        if path == "/snapshot":
            told.append(body or {})
        return {"version": 0}

    async def client() -> Any:
        return SimpleNamespace(call=call)

    async def envoy() -> str:
        return "envoy"

    here = Post(client, client, envoy)
    edge = Balancers(database, here, "store", Listen("127.0.0.1", 8080, "localhost"), Post.nowhere)
    with capture_logs() as logged:
        asyncio.run(edge.start())
    files = json.dumps(told[-1]["files"])
    assert "e-good" in files
    assert "20001" in files
    assert "e-bad" not in files
    assert any("e-bad" in str(entry.get("problems")) for entry in logged), "nobody would learn why"
