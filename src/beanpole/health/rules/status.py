"""The health statuses of Elastic Beanstalk, and which of two is the worse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Iterable

Status = Literal["Ok", "Info", "Pending", "Unknown", "NoData", "Warning", "Degraded", "Severe"]
"""Suspended is missing: it means that monitoring was stopped, which does not happen here, and the EB CLI dies of it."""

STATUSES: tuple[Status, ...] = get_args(Status)
"""The better ones first, in the order of the values that Elastic Beanstalk publishes as a metric."""

_RANK = {status: at for at, status in enumerate(STATUSES)}

BAD = frozenset[Status](("NoData", "Warning", "Degraded", "Severe"))
"""A check that ends in one of these has failed."""


def rank(status: Status) -> int:
    """The higher, the worse."""
    return _RANK[status]


def worst(statuses: Iterable[Status]) -> Status:
    """The worst of them; Ok when there are none."""
    return max(statuses, key=rank, default="Ok")
