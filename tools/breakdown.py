"""Where the time of one operation went, step by step, from the times in its journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import msgspec


@dataclass(frozen=True)
class Part:
    """`seconds` from the step's begin to its last slot's end. `own`: of it, what the agent that took longest says that
    it waited for the application or for its checks; None where agents say nothing."""

    step: str
    seconds: float
    own: float | None

    @property
    def kind(self) -> str:
        return self.step.rpartition("/")[2].rstrip("-0123456789")


@dataclass(frozen=True)
class Breakdown:
    """Of one operation; `seconds` in all, and `between`: what no step accounts for (claiming it, closing it)."""

    seconds: float
    parts: Sequence[Part]

    @property
    def between(self) -> float:
        return self.seconds - sum(each.seconds for each in self.parts)

    def of(self, *kinds: str) -> float:
        """Seconds in the steps of these kinds, such as `gate`."""
        return sum(each.seconds for each in self.parts if each.kind in kinds)

    def waited(self, kind: str) -> float:
        """Seconds that the application or its checks took in steps of that kind."""
        return sum(each.own or 0.0 for each in self.parts if each.kind == kind)

    def table(self) -> str:
        rows = [
            (each.step, each.seconds, f"of it {each.own:.2f} s by itself" if each.own else "") for each in self.parts
        ]
        rows += [("claiming and closing", self.between, ""), ("all", self.seconds, "")]
        return "\n".join(f"  {step:<24}{seconds:7.2f} s  {words}".rstrip() for step, seconds, words in rows)


def breakdown(database: Path, operation_id: int) -> Breakdown:
    """Of an operation that is over. Times are those of the control plane's clock."""
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
        query = "SELECT created_at, finished_at FROM operation WHERE id = ?"
        created, finished = db.execute(query, (operation_id,)).fetchone()
        query = "SELECT key, at, result FROM journal WHERE operation_id = ? ORDER BY id"
        rows = db.execute(query, (operation_id,)).fetchall()
    begun: dict[str, int] = {}
    ended: dict[str, int] = {}
    own: dict[str, float] = {}
    for key, at, result in rows:
        phase, _, rest = key.partition("/")
        if phase not in ("forward", "return") or "/" not in rest:
            continue
        step = key.rpartition("/")[0]
        if key.endswith("/begin"):
            begun[step] = at
            continue
        ended[step] = max(at, ended.get(step, at))
        seconds = msgspec.json.decode(result).get("seconds")
        if seconds is not None:
            own[step] = max(seconds, own.get(step, 0.0))
    # A step that failed has no end of its own: it is over when the next one begins.
    following = dict(zip(begun, [*begun.values(), finished][1:], strict=True))
    parts = [
        Part(step.removeprefix("forward/"), (ended.get(step, following[step]) - at) / 1000, own.get(step))
        for step, at in begun.items()
    ]
    return Breakdown((finished - created) / 1000, parts)
