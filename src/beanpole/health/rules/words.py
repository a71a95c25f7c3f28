"""Phrases that the causes share, in the forms that Elastic Beanstalk uses."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """`1 second`, `26 seconds`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """In whole seconds up to two minutes, then in minutes, hours, days; always rounded down."""
    whole = max(int(seconds), 0)
    for limit, size, noun in ((120, 1, "second"), (7200, 60, "minute"), (172800, 3600, "hour")):
        if whole < limit:
            return count(whole // size, noun)
    return count(whole // 86400, "day")


def scope(number: int, total: int) -> str:
    """`all instances`, or `2 out of 5 instances`."""
    return "all instances" if number == total else f"{number} out of {count(total, 'instance')}"


def percent(share: float) -> str:
    return f"{share:.1f} %"
