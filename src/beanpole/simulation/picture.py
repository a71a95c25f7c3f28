"""Capacity and releases over time, as a picture: blocks for a terminal, SVG for a page. PURE."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beanpole.simulation.promises import Sample

SHADES = ("█", "▒", "░", "▓")
"""Of the versions, in their order; without colours they must do."""

PAINTS = ("#3b6fb6", "#3a9d5d", "#c98a2b", "#8a5fb0")

WIDTH, HEIGHT, MARGIN = 900, 300, 44


def labels(samples: Sequence[Sample]) -> list[str]:
    """Versions, in the order in which they first answered."""
    return list(dict.fromkeys(label for _, _, releases in samples for label in releases))


def at_times(samples: Sequence[Sample], begin: float, end: float, columns: int) -> list[Sample]:
    """One sample for each column: the one with the lowest capacity in its stretch of time."""
    found = []
    for column in range(columns):
        low, high = (begin + (end - begin) * edge / columns for edge in (column, column + 1))
        before = [sample for sample in samples if sample[0] <= low][-1:]
        found.append(min(before + [sample for sample in samples if low < sample[0] < high], key=lambda each: each[1]))
    return found


def blocks(samples: Sequence[Sample], begin: float, end: float, most: int, columns: int, rows: int) -> list[list[int]]:
    """Rows from the top, of the number of a version from 1 on, 0 for nobody."""
    names = labels(samples)
    grid = []
    shown = at_times(samples, begin, end, columns)
    for row in range(rows, 0, -1):
        line = []
        for _, _, releases in shown:
            level, cell = most * (row - 0.5) / rows, 0
            for at, name in enumerate(names, 1):
                level -= releases.get(name, 0)
                if level <= 0:
                    cell = at
                    break
            line.append(cell)
        grid.append(line)
    return grid


def svg(samples: Sequence[Sample], begin: float, end: float, most: int, title: str) -> str:
    """Areas one upon the other; the line is how many instances answer."""
    names = labels(samples)
    inside = [sample for sample in samples if sample[0] < end]
    first = max((sample[0] for sample in inside if sample[0] <= begin), default=begin)
    inside = [sample for sample in inside if sample[0] >= first]

    def x(at: float) -> float:
        return MARGIN + (WIDTH - 2 * MARGIN) * (min(max(at, begin), end) - begin) / max(end - begin, 0.001)

    def y(count: float) -> float:
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * count / max(most, 1)

    shapes = []
    for at, name in enumerate(names):
        for sample, after in pairwise([*inside, (end, 0, {})]):
            below = sum(sample[2].get(each, 0) for each in names[:at])
            count = sample[2].get(name, 0)
            if count and x(after[0]) > x(sample[0]):
                shapes.append(
                    f'<rect x="{x(sample[0]):.2f}" y="{y(below + count):.2f}" '
                    f'width="{x(after[0]) - x(sample[0]):.2f}" height="{y(below) - y(below + count):.2f}" '
                    f'fill="{PAINTS[at % len(PAINTS)]}"/>'
                )
    for at, name in enumerate(names):
        left = MARGIN + at * 110
        shapes.append(f'<rect x="{left}" y="{HEIGHT - 22}" width="12" height="12" fill="{PAINTS[at % len(PAINTS)]}"/>')
        shapes.append(f'<text x="{left + 18}" y="{HEIGHT - 12}">{escape(name)}</text>')
    words = [
        f'<text x="{MARGIN}" y="24">{escape(title)}</text>',
        f'<text x="{MARGIN - 6}" y="{y(most) + 4:.0f}" text-anchor="end">{most}</text>',
        f'<text x="{MARGIN - 6}" y="{y(0) + 4:.0f}" text-anchor="end">0</text>',
        f'<text x="{WIDTH - MARGIN}" y="{HEIGHT - 12}" text-anchor="end">{end - begin:.0f} s</text>',
        f'<path d="M{MARGIN} {y(most):.1f}V{y(0):.1f}H{WIDTH - MARGIN}" fill="none" stroke="#888"/>',
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13" role="img" aria-label="{escape(title)}">'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{"".join(shapes + words)}</svg>\n'
    )
