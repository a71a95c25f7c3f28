"""What the database says of requests: who gets those on a server that name no environment."""

from __future__ import annotations

from pathlib import Path

from beanpole.fleet.edges import Listen
from beanpole.fleet.scene import scene_of
from beanpole.store import environments, hosts, instances
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.hosts import Host
from beanpole.store.instances import Instance

HERE = Listen("127.0.0.1", 8080, "localhost")


class Store:
    """Environments `a` and `b`, and the server h-1."""

    def __init__(self, folder: Path) -> None:
        self.database = Database.at(folder / "beanpole.db")
        self.number = 0
        address = '{"host": "10.0.0.1", "user": "me"}'
        with self.database.write() as db:
            hosts.add(
                db,
                Host(
                    id="h-1", name="web1", address=address, host_key="k", app_port=80, labels="[]", state="ready",
                    added_at=0,
                ),
            )  # fmt: skip
            for name in "ab":
                state = ("WebServer", "p", "Ready", "Ok", "[]", 1, "v1", 1, 0, 0)
                environments.add(db, Environment(f"e-{name}", name, "pets", None, name, *state))  # type: ignore[arg-type]

    def launch(self, name: str) -> str:
        self.number += 1
        new = Instance(f"i-{self.number}", f"e-{name}", "running", f"127.0.0.{self.number}", 1, self.number, host="h-1")
        with self.database.write() as db:
            instances.add(db, new)
        return new.id

    def remove(self, instance: str) -> None:
        with self.database.write() as db:
            instances.remove(db, instance)

    def first(self) -> str | None:
        return scene_of(self.database, HERE, set()).catch_alls.get("h-1")


def test_the_first_environment_of_a_server_keeps_what_names_none_until_it_leaves(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.first() is None
    old = store.launch("b")
    assert store.first() == "e-b"
    store.launch("a")
    assert store.first() == "e-b"
    new = store.launch("b")
    store.remove(old)
    assert store.first() == "e-b", "instances are replaced, the environment is still there"
    store.remove(new)
    assert store.first() == "e-a"
    store.launch("b")
    assert store.first() == "e-a"
    with store.database.write() as db:
        hosts.remove(db, "h-1")
        assert hosts.catch_alls(db) == {}
