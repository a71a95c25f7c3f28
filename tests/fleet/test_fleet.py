"""An instance is looked for where its row says that it lives."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.fleet.fleet import Fleet
from beanpole.store import environments, instances
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.instances import Instance


def test_the_row_says_where_an_instance_lives(tmp_path: Path) -> None:
    database = Database.at(tmp_path / "beanpole.db")
    with database.write() as db:
        environments.add(
            db, Environment("e-1", "shop", "a", None, None, "WebServer", "p", "Ready", "Ok", "[]", 1, "v", 1, 0, 0)
        )
        instances.add(db, Instance("i-1", "e-1", "running", "127.0.0.2", None, 0))
        instances.add(db, Instance("i-2", "e-1", "running", "127.0.0.3", None, 0, host="h-1"))
    fleet = Fleet(database, cast(Any, "here"), cast(Any, "there"))
    assert (fleet.place("i-1"), fleet.place("i-2")) == ("here", "there")
    with pytest.raises(AgentUnreachable, match="no instance 'i-3'"):
        fleet.place("i-3")
