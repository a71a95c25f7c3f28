"""When something that keeps failing is tried again: after 1, 2, 4 … 30 minutes. No I/O, no clock of its own."""

from __future__ import annotations

from dataclasses import dataclass

FIRST = 60.0
"""Seconds from the first attempt to the second."""

LONGEST = 1800.0
"""Seconds between attempts at most: a cause that went away (a full disk) is noticed within half an hour."""


@dataclass(frozen=True)
class _Tried:
    release: int
    times: int
    at: float

    @property
    def until(self) -> float:
        # Bounded, since a float of 2 to the power of a year of attempts would not fit.
        return self.at + min(FIRST * 2.0 ** min(self.times - 1, 16), LONGEST)


class Backoff:
    """By key (an instance, say), for one release at a time: another release begins with a clean slate."""

    def __init__(self) -> None:
        self._tried: dict[str, _Tried] = {}

    def due(self, key: str, release: int, now: float) -> bool:
        """Whether it may be tried now (seconds)."""
        tried = self._tried.get(key)
        return tried is None or tried.release != release or now >= tried.until

    def tried(self, key: str, release: int, now: float) -> None:
        before = self._tried.get(key)
        times = before.times if before is not None and before.release == release else 0
        self._tried[key] = _Tried(release, times + 1, now)

    def well(self, key: str, now: float) -> None:
        """Forget the attempts, once it has stayed well for as long as the next one was away.

        What is well for a moment after each attempt is not helped by attempts, either.
        """
        tried = self._tried.get(key)
        if tried is not None and now >= tried.until:
            del self._tried[key]
