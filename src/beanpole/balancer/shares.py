"""Weights by which requests are split between the instances of a new release and the others.

Envoy shares requests in proportion to whole numbers, an endpoint each. Those within a group are the same, so that the
instances of a group share alike whatever the split is.
"""

from __future__ import annotations

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
    # Both together within the limit: a new and an old instance on one server are one endpoint in front.
    return min(
        ((mine, theirs) for mine in range(1, WEIGHT_LIMIT) for theirs in range(1, WEIGHT_LIMIT - mine + 1)),
        key=lambda pair: (abs(_share(new, others, *pair) - percent / 100), sum(pair)),
    )


def _share(new: int, others: int, mine: int, theirs: int) -> float:
    return new * mine / (new * mine + others * theirs)
