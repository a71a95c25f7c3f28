"""A measured figure beside its goal, and the table that shows them."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """`value` None: not measured, `note` says why. `most`: the goal is this or less. `spread`: lowest and highest."""

    key: str
    what: str
    value: float | None
    unit: str
    most: float | None = None
    goal: str = ""
    note: str = ""
    spread: tuple[float, float] | None = None

    @property
    def verdict(self) -> str:
        if self.most is None or self.value is None:
            return ""
        return "met" if self.value <= self.most else "MISSED"

    def json(self) -> dict[str, Any]:
        return asdict(self) | {"verdict": self.verdict or None}


def median(key: str, what: str, values: Sequence[float], unit: str, **more: Any) -> Figure:
    """Of several measurements; the note says of how many."""
    note = "; ".join(filter(None, (f"median of {len(values)}", more.pop("note", ""))))
    spread = (min(values), max(values)) if len(values) > 1 else None
    return Figure(key, what, statistics.median(values), unit, note=note, spread=spread, **more)


def table(sections: Sequence[tuple[str, Sequence[Figure]]]) -> str:
    rows = [("", "measured", "lowest to highest", "goal", "", "")]
    for title, figures in sections:
        rows += [("", "", "", "", "", ""), (title.upper(), "", "", "", "", "")]
        rows += [
            (f"  {each.what}", shown(each.value, each.unit), _spread(each), each.goal, each.verdict, each.note)
            for each in figures
        ]
    widths = [max(len(row[at]) for row in rows) for at in range(5)]
    lines = (
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]) for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def shown(value: float | None, unit: str) -> str:
    if value is None:
        return "not measured"
    digits = 0 if value >= 100 or float(value).is_integer() else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def _spread(figure: Figure) -> str:
    if figure.spread is None:
        return ""
    low, high = (shown(value, "") for value in figure.spread)
    return f"{low} to {high}"


def load_average() -> str:
    return " ".join(f"{each:.1f}" for each in os.getloadavg())
