"""Trains the model: reads breeds.csv, writes model.json, prints how often the model is right.

Nothing is drawn at random: each line of the table gives the dogs at the corners, the edges' midpoints and the middle
of its ranges. So training again gives the same bytes. Use: python train.py [FILE]
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
from classifier import Classifier

HERE = Path(__file__).parent
KG_PER_POUND = 0.45359237
CM_PER_INCH = 2.54


def dogs(table: Path) -> tuple[np.ndarray, list[str]]:
    """Rows of (weight in kg, height in cm) and their breeds, each dog once."""
    found: dict[tuple[str, float, float], None] = {}
    with table.open(newline="", encoding="utf-8") as file:
        for line in csv.DictReader(file):
            weights = grid(float(line["weight_lb_min"]), float(line["weight_lb_max"]))
            heights = grid(float(line["height_in_min"]), float(line["height_in_max"]))
            for weight in weights:
                for height in heights:
                    found[(line["breed"], weight, height)] = None
    rows = np.array([(weight * KG_PER_POUND, height * CM_PER_INCH) for _, weight, height in found])
    return rows, [breed for breed, _, _ in found]


def grid(low: float, high: float) -> tuple[float, float, float]:
    return low, (low + high) / 2, high


def accuracy(rows: np.ndarray, labels: list[str]) -> float:
    """Share of dogs named rightly by a model that was trained on all the others (leave one out)."""
    names = np.array(labels)
    right = 0
    for index, (weight, height) in enumerate(rows):
        others = np.arange(len(rows)) != index
        model = Classifier(Classifier.fit(rows[others], list(names[others])))
        likeliest = next(iter(model.probabilities(float(weight), float(height))))
        right += likeliest == labels[index]
    return right / len(rows)


def main() -> None:
    rows, labels = dogs(HERE / "breeds.csv")
    share = accuracy(rows, labels)
    model = {"kind": Classifier.kind, "dogs": len(rows), "accuracy": round(share, 4), **Classifier.fit(rows, labels)}
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "model.json"
    target.write_text(json.dumps(model, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{Classifier.kind}: {len(rows)} dogs of {len(model['breeds'])} breeds, {share:.1%} right (leave one out)")


if __name__ == "__main__":
    main()
