"""Nearest centroid: a dog is of the breed whose average dog is closest in kilograms and centimetres.

The model is a plain JSON value, so that it can be read, compared and versioned. It supposes that every breed
spreads equally far in weight and in height, which is its weakness: a Great Dane and a Papillon do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Digits kept in the model file: far finer than any scale, coarse enough that every machine writes the same bytes.
DIGITS = 6


class Classifier:
    """Answers the probability of each breed for one dog."""

    kind = "nearest centroid"

    def __init__(self, model: Mapping[str, Any]) -> None:
        self.breeds: list[str] = list(model["breeds"])
        self._centroids = np.array([model["breeds"][breed]["centroid"] for breed in self.breeds])
        self._spread = float(model["spread"])

    @classmethod
    def fit(cls, rows: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
        """The model of these dogs; `rows` has one (weight in kg, height in cm) a dog, `labels` its breed."""
        names = np.array(labels)
        breeds: dict[str, Any] = {}
        squares = 0.0
        for breed in sorted(set(labels)):
            own = rows[names == breed]
            centroid = own.mean(axis=0)
            squares += float(((own - centroid) ** 2).sum())
            breeds[breed] = {"centroid": [round(float(value), DIGITS) for value in centroid]}
        return {"spread": round((squares / rows.size) ** 0.5, DIGITS), "breeds": breeds}

    def probabilities(self, weight_kg: float, height_cm: float) -> dict[str, float]:
        """Probability of every breed, the likeliest first; they add up to 1."""
        distance = ((self._centroids - [weight_kg, height_cm]) ** 2).sum(axis=1)
        score = -distance / (2 * self._spread**2)
        # The largest score becomes exp(0), so a dog far from every breed still gets an answer and no division by zero.
        share = np.exp(score - score.max())
        share /= share.sum()
        order = np.argsort(-share, kind="stable")
        return {self.breeds[index]: float(share[index]) for index in order}
