"""Gaussian: each breed has its own average dog and its own covariance of weight and height.

The model is a plain JSON value, so that it can be read, compared and versioned. A Great Dane may differ from the next
by 20 kg, a Papillon by two: the covariance says so, and says that taller dogs of a breed are heavier.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

# Digits kept in the model file: far finer than any scale, coarse enough that every machine writes the same bytes.
DIGITS = 6
# A scale and a tape measure at a restless dog are right to about half a kilogram and half a centimetre. Added to each
# variance, it also keeps a breed whose table gives one single weight from claiming that no other is possible.
MEASURING_ERROR = 0.5


class Classifier:
    """Answers the probability of each breed for one dog."""

    kind = "Gaussian"

    def __init__(self, model: Mapping[str, Any]) -> None:
        self.breeds: list[str] = list(model["breeds"])
        covariances = np.array([model["breeds"][breed]["covariance"] for breed in self.breeds])
        self._means = np.array([model["breeds"][breed]["mean"] for breed in self.breeds])
        self._precisions = np.linalg.inv(covariances)
        self._log_determinants = np.log(np.linalg.det(covariances))

    @classmethod
    def fit(cls, rows: np.ndarray, labels: Sequence[str]) -> dict[str, Any]:
        """The model of these dogs; `rows` has one (weight in kg, height in cm) a dog, `labels` its breed."""
        names = np.array(labels)
        breeds: dict[str, Any] = {}
        for breed in sorted(set(labels)):
            own = rows[names == breed]
            mean = own.mean(axis=0)
            covariance = (own - mean).T @ (own - mean) / len(own) + np.eye(2) * MEASURING_ERROR**2
            breeds[breed] = {
                "mean": [round(float(value), DIGITS) for value in mean],
                "covariance": [[round(float(value), DIGITS) for value in line] for line in covariance],
            }
        return {"breeds": breeds}

    def probabilities(self, weight_kg: float, height_cm: float) -> dict[str, float]:
        """Probability of every breed, the likeliest first; they add up to 1."""
        away = np.array([weight_kg, height_cm]) - self._means
        score = -(np.einsum("bi,bij,bj->b", away, self._precisions, away) + self._log_determinants) / 2
        # The largest score becomes exp(0), so a dog far from every breed still gets an answer and no division by zero.
        share = np.exp(score - score.max())
        share /= share.sum()
        order = np.argsort(-share, kind="stable")
        return {self.breeds[index]: float(share[index]) for index in order}
