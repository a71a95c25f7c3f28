"""A PostgreSQL server for tests: a cluster of its own in a temporary folder, on a free port of 127.0.0.1.

`python tests/e2e/cluster.py` says why there can be none here, if so.
"""

from __future__ import annotations

import functools
import os
import pwd
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import sqlalchemy as sa

from beanpole.store.database import Database

ON_POSTGRESQL = os.environ.get("BEANPOLE_TEST_DATABASE") == "postgresql"
"""Whether the tests that need a store have it there: see `make test-postgresql`."""

IN_FILES = Database.__dict__["at"]
"""`Database.at` as it is, for the tests that mean a file of SQLite."""

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",  # nobody cuts the power; what is committed survives the end of the server all the same
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}

SORTED_UNLIKE_BYTES = ("--locale=C", "--locale-provider=icu", "--icu-locale=en-US")
"""A locale with an order of its own, as the databases of many users have one. Since PostgreSQL 15."""


def programs() -> Path | None:
    """The folder of the server's programs; Debian has it outside of the PATH."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


def obstacle() -> str | None:
    """Why there can be no server here."""
    if programs() is None:
        return "PostgreSQL's server programs (initdb) are not installed"
    return None


class Cluster:
    def __init__(self) -> None:
        self._programs = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="bp-pg-", dir="/tmp"))
        self._data = self.folder / "data"
        # The server refuses to run as root, and so does initdb.
        self._user = (
            next((name for name in ("postgres", "nobody") if _exists(name)), None) if not os.geteuid() else None
        )
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._known: dict[str, str] = {}
        words = ("--auth=trust", "--username=beanpole", "--encoding=UTF8", "--no-sync", "--pgdata", str(self._data))
        if self._run("initdb", *words, *SORTED_UNLIKE_BYTES, check=False):
            shutil.rmtree(self._data, ignore_errors=True)
            self._run("initdb", *words)
        lines = [*SETTINGS.items(), ("port", str(self._port)), ("unix_socket_directories", str(self.folder))]
        with (self._data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in lines)
        self.start()

    def start(self) -> None:
        self._run("pg_ctl", "start", "-w", "-D", str(self._data), "-l", str(self.folder / "log"))

    def stop(self) -> None:
        """As when its machine loses power."""
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self._data))

    def end(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(self._data), check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(self, name: str) -> str:
        return f"postgresql://beanpole@127.0.0.1:{self._port}/{name}"

    def empty(self, name: str, options: str = "") -> str:
        """The address of a new database without tables."""
        self.ask(f'CREATE DATABASE "{name}" {options}')
        return self.url(name)

    def database_of(self, path: Path) -> tuple[str, bool]:
        """The address of the database that stands for that file, and whether it was just made, with all tables."""
        new = str(path) not in self._known
        if new:
            name = f"{re.sub('[^a-z0-9]+', '_', path.parent.name.lower())[:40]}_{len(self._known)}"
            self.ask(f'CREATE DATABASE "{name}" TEMPLATE "{self._template()}"')
            self._known[str(path)] = self.url(name)
        return self._known[str(path)], new

    def ask(self, statement: str) -> None:
        import psycopg

        with psycopg.connect(self.url("postgres"), autocommit=True) as db:
            db.execute(statement)

    @functools.cache  # noqa: B019  there is one for each process
    def _template(self) -> str:
        database = Database(sa.make_url(self.empty("migrated")).set(drivername="postgresql+psycopg"))
        database.migrate()
        database.close()
        return "migrated"

    def _run(self, program: str, *words: str, check: bool = True) -> int:
        assert self._programs is not None, obstacle()
        done = subprocess.run(
            [str(self._programs / program), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            user=self._user,
            group=pwd.getpwnam(self._user).pw_gid if self._user is not None else None,
            extra_groups=[] if self._user is not None else None,
            timeout=150,
            check=check,
        )
        return done.returncode


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


@functools.cache
def shared() -> Cluster:
    """The one of this process, made when it is first needed."""
    return Cluster()


if __name__ == "__main__":
    sys.exit(obstacle())
