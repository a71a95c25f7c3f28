"""What happened on this instance without anybody asking: processes that died, restarts, repairs.

Events have a number that only grows, also over restarts of the agent; the last 500 are kept on disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

from . import durable

KEPT = 500  # events: a week of a process that is restarted twice an hour
SLACK = 500  # lines appended beyond that before the file is written anew: one rewrite per 500 events


class EventLog:
    """The events of one home, in the file `events.jsonl`. Not for use from several threads."""

    def __init__(self, home: Path) -> None:
        self._path = home / "events.jsonl"
        self._events = self._load()
        self._lines = len(self._events)
        self._next = self._events[-1]["seq"] + 1 if self._events else 1
        with contextlib.suppress(OSError):  # a full disk must not keep the agent from starting, which may make room
            self._rewrite()

    def add(self, severity: str, message: str, detail: Optional[Dict[str, Any]] = None) -> int:
        """Records an event durably and returns its number. Severity: TRACE, DEBUG, INFO, WARN, ERROR or FATAL."""
        seq = self._next
        event = {"seq": seq, "at": time.time(), "severity": severity, "message": message, "detail": detail or {}}
        self._events.append(event)
        self._events = self._events[-KEPT:]
        self._next += 1
        self._lines += 1
        # A full disk must not end who reports it: the event is told as long as this agent lives.
        with contextlib.suppress(OSError):
            if self._lines > KEPT + SLACK:
                self._rewrite()
            else:
                self._append(event)
        return seq

    def after(self, seq: int) -> List[Dict[str, Any]]:
        """Events with a number above `seq`, oldest first."""
        return [event for event in self._events if event["seq"] > seq]

    def _append(self, event: Dict[str, Any]) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.write(descriptor, json.dumps(event).encode() + b"\n")
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _rewrite(self) -> None:
        durable.write(self._path, b"".join(json.dumps(event).encode() + b"\n" for event in self._events))
        self._lines = len(self._events)

    def _load(self) -> List[Dict[str, Any]]:
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        events: List[Dict[str, Any]] = []
        for line in lines:
            try:
                events.append(json.loads(line))
            except ValueError:
                continue  # the line that a power cut tore
        return events[-KEPT:]
