"""What the control plane of a site remembers, read past it: for tests that must know where an operation stands.

A reader of the database file, which is allowed at any time, also while no control plane lives.
"""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Serving:
    """An instance in rotation: what serves there, and since when it does not answer (milliseconds, None: it does)."""

    instance: str
    digest: str
    silent_since: int | None


class StoreView:
    """Of a site with one environment."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def ask(self, query: str, *values: object) -> list[Any]:
        with contextlib.closing(sqlite3.connect(f"file:{self._database}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute(query, values).fetchall()

    def busy(self) -> bool:
        """Whether an operation is open, the system's own included."""
        return bool(self.ask("SELECT count(*) FROM operation WHERE phase != 'done'")[0][0])

    def serving(self) -> list[Serving]:
        rows = self.ask(
            "SELECT instance.id, digest, silent_since FROM instance JOIN endpoint ON instance_id = instance.id "
            "WHERE endpoint.state = 'serving'"
        )
        return [Serving(*row) for row in rows]

    def one_release(self, number: int) -> bool:
        """Whether so many instances are in rotation, undisturbed, with one release, and nothing is being done."""
        found = self.serving()
        undisturbed = not self.busy() and not any(each.silent_since for each in found)
        return undisturbed and len(found) == number and len({each.digest for each in found}) == 1

    def digest(self) -> str:
        """Of the environment's release."""
        found = self.ask(
            "SELECT digest FROM release JOIN environment ON environment.id = environment_id "
            "AND release.number = environment.release"
        )
        return str(found[0][0])

    def label(self, release: int) -> str:
        """The version of a release."""
        return str(self.ask("SELECT version_label FROM release WHERE number = ?", release)[0][0])

    def silent(self) -> list[str]:
        """The instances of which it is known that they do not answer."""
        return [name for (name,) in self.ask("SELECT id FROM instance WHERE silent_since IS NOT NULL")]

    def instances(self) -> list[str]:
        """All that there are, oldest first; those that are being removed among them."""
        return [name for (name,) in self.ask("SELECT id FROM instance ORDER BY launched_at, id")]

    def journal(self, request: str) -> list[str]:
        """Keys, in the order in which they were written."""
        rows = self.ask(
            "SELECT key FROM journal JOIN operation ON operation.id = operation_id WHERE request_id = ? "
            "ORDER BY journal.id",
            request,
        )
        return [key for (key,) in rows]

    def said(self, request: str) -> list[str]:
        """Messages of a request, oldest first."""
        rows = self.ask("SELECT message FROM event WHERE request_id = ? ORDER BY id", request)
        return [words for (words,) in rows]

    def newest_event(self) -> int:
        return int(self.ask("SELECT coalesce(max(id), 0) FROM event")[0][0])

    def events(self, after: int) -> list[str]:
        """Severity and message of all events behind that one."""
        rows = self.ask("SELECT severity, message FROM event WHERE id > ? ORDER BY id", after)
        return [f"{severity} {message}" for severity, message in rows]
