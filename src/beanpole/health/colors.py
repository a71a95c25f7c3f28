"""The colour that goes with a health status: what clients of basic health look at."""

from __future__ import annotations

_COLORS = {
    "Ok": "Green",
    "Info": "Green",
    "Warning": "Yellow",
    "Degraded": "Red",
    "Severe": "Red",
}


def color(status: str) -> str:
    """Green, Yellow, Red; Grey for every status in which nothing is known for sure."""
    return _COLORS.get(status, "Grey")
