"""The processes of one home, as they are kept in mind and in processes.json for the next agent."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List, Optional, Tuple

from . import durable
from .entry import Entry
from .events import EventLog


class Table:
    """One entry for each process of each release. `boot`: identity of the machine's present boot."""

    def __init__(self, path: Path, boot: str, events: EventLog) -> None:
        self._path = path
        self._boot = boot
        self._events = events
        self._entries: Dict[Tuple[str, str], Entry] = {}
        self._written = True

    def read(self) -> Tuple[List[Entry], bool]:
        """What the last agent wrote down, and whether the machine has booted since. Nothing of it is taken over."""
        table = durable.read_json(self._path) or {"boot": self._boot, "processes": []}
        return [Entry.of(record) for record in table["processes"]], table["boot"] != self._boot

    def all(self) -> List[Entry]:
        return list(self._entries.values())

    def of(self, release: str) -> List[Entry]:
        return [entry for entry in self._entries.values() if entry.release == release]

    def find(self, release: str, name: str) -> Optional[Entry]:
        return self._entries.get((release, name))

    def add(self, entry: Entry) -> Entry:
        """The entry, unless there is one of that release and name: then that one."""
        return self._entries.setdefault((entry.release, entry.name), entry)

    def drop(self, release: str) -> None:
        for entry in self.of(release):
            del self._entries[entry.release, entry.name]

    def save(self) -> None:
        """Writes it down for the next agent."""
        table = {"boot": self._boot, "processes": [entry.record() for entry in self.all()]}
        try:
            durable.write_json(self._path, table)
            self._written = True
        except OSError as error:
            # A full disk must not end the supervision; marks find again what could not be written down.
            if self._written:
                self._events.add("ERROR", f"The table of processes cannot be written: {error}")
            self._written = False
