"""The load of load.py in a process of its own, with counts that can be read at any time.

Run as a program it takes the words of load.py, writes the report as one line of JSON for each line on its standard
input, and a last one when its input closes.
"""

from __future__ import annotations

import asyncio
import json
import select
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import load

ENDED_LIMIT = 30.0
"""Seconds for the last requests to be answered and the process to end: more than load.py's time-out of 10 s."""


@dataclass(frozen=True)
class Counts:
    """Requests that ended, those that failed, answers by version. `later - earlier` is what was between."""

    answered: int = 0
    failed: int = 0
    versions: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, int] = field(default_factory=dict)

    @property
    def requests(self) -> int:
        return self.answered + self.failed

    def __sub__(self, earlier: Counts) -> Counts:
        return Counts(
            self.answered - earlier.answered,
            self.failed - earlier.failed,
            _less(self.versions, earlier.versions),
            _less(self.kinds, earlier.kinds),
        )

    @classmethod
    def of(cls, report: dict[str, Any]) -> Counts:
        versions = {version: seen["count"] for version, seen in report["versions"].items()}
        return cls(report["answered"], report["failed"], versions, report["kinds"])


class Meter:
    """The load, from its construction on. In a session of its own: Ctrl-C reaches who counts, not what is counted."""

    def __init__(self, *words: str) -> None:
        self.report: dict[str, Any] = {}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._answer()  # it has begun

    def read(self) -> Counts:
        """Since the beginning."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.report = self._answer()
        return Counts.of(self.report)

    def end(self) -> Counts:
        """Sends nothing more; the counts once every request has its answer. `report` is complete then."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self.report = self._answer()
        self._process.wait(ENDED_LIMIT)
        return Counts.of(self.report)

    def kill(self) -> None:
        """Whatever it is doing."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], ENDED_LIMIT)[0]:
            self.kill()
            raise RuntimeError(f"the load generator said nothing for {ENDED_LIMIT:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the load generator ended by itself, with exit status {self._process.wait(5)}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def _less(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {key: count - before.get(key, 0) for key, count in now.items() if count > before.get(key, 0)}


async def serve(settings: load.Settings) -> None:
    async with load.Load(settings) as running:
        while True:
            report = running.report().json()
            report["failures"] = report["failures"][:10]  # enough to see what it was; all are counted
            print(json.dumps(report), flush=True)
            if not await asyncio.to_thread(sys.stdin.readline):
                break
    print(json.dumps(running.report().json()), flush=True)


if __name__ == "__main__":
    asyncio.run(serve(load.settings_from(sys.argv[1:])[0]))
