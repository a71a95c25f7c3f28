"""Weights by which requests are split between the instances of a new release and the others.

Envoy shares requests in proportion to whole numbers, an endpoint each. Those within a group are the same, so that the
instances of a group share alike whatever the split is.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from .lint import WEIGHT_LIMIT


def weights(new: int, others: int, percent: int) -> tuple[int, int]:
    """The weight of each of `new` instances, and of each of the `others`, so that the new get that share together.

    0 and 100 are exact, and as many of one as of the other make every share exact. Else it is the nearest that weights
    allow. Whoever is alone gets everything, since there is nobody to share with.
    """
    if not others:
        return 1, 0
    if not new or percent <= 0:
        return 0, 1
    if percent >= 100:
        return 1, 0
    wanted = percent * others / ((100 - percent) * new)  # what a new one gets for each part of another one
    return min(_pairs(wanted), key=lambda pair: (abs(_share(new, others, *pair) - percent / 100), sum(pair)))


def _pairs(wanted: float) -> Iterator[tuple[int, int]]:
    """Weights near that proportion, together within the limit: on one server, the two are one endpoint in front."""
    for theirs in range(1, WEIGHT_LIMIT):
        for mine in (math.floor(theirs * wanted), math.ceil(theirs * wanted)):
            yield min(max(mine, 1), WEIGHT_LIMIT - theirs), theirs


def _share(new: int, others: int, mine: int, theirs: int) -> float:
    return new * mine / (new * mine + others * theirs)
