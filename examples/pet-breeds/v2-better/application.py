"""Pet breeds: tells a dog's breed from its weight and height.

`/` a page, `/health` is 200 while the model answers, `/version`, `POST /predict`. Every answer, an error's too, names
the version in the header X-App-Version.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from classifier import Classifier
from flask import Flask, Response, jsonify, render_template, request
from werkzeug.exceptions import HTTPException

VERSION = "v2"

# Limits of what we accept: wider than any dog, narrow enough to catch grams, inches and typing errors.
WEIGHT_KG = (0.3, 160.0)
HEIGHT_CM = (5.0, 130.0)
LARGEST_BODY = 4096  # bytes; a question has under 100

model: dict[str, Any] = json.loads((Path(__file__).parent / "model.json").read_text(encoding="utf-8"))
classifier = Classifier(model)
application = Flask(__name__)
application.json.sort_keys = False  # the likeliest breed comes first
application.config["MAX_CONTENT_LENGTH"] = LARGEST_BODY


class BadQuestion(Exception):
    """The question cannot be answered; the text says why and what would be right."""


@application.get("/")
def page() -> str:
    return render_template("index.html", version=VERSION, model=model, breeds=classifier.breeds)


@application.get("/health")
def health() -> tuple[Response, int]:
    likeliest, probability = next(iter(classifier.probabilities(29.0, 57.0).items()))
    if not 0 < probability <= 1:
        return jsonify(status="bad", cause=f"the model gives {likeliest} a probability of {probability}"), 503
    return jsonify(status="ok", breeds=len(classifier.breeds)), 200


@application.get("/version")
def version() -> Response:
    return jsonify(version=VERSION, model=model["kind"], accuracy=model["accuracy"])


@application.post("/predict")
def predict() -> Response:
    question = request.get_json(silent=True)
    if not isinstance(question, dict):
        raise BadQuestion('Send a JSON object such as {"weight_kg": 29, "height_cm": 57}, as application/json.')
    weight = measure(question, "weight_kg", WEIGHT_KG)
    height = measure(question, "height_cm", HEIGHT_CM)
    probabilities = classifier.probabilities(weight, height)
    return jsonify(
        breed=next(iter(probabilities)),
        probabilities={breed: round(value, 4) for breed, value in probabilities.items()},
        version=VERSION,
    )


def measure(question: dict[str, Any], name: str, limits: tuple[float, float]) -> float:
    """The number called `name`; BadQuestion when it is missing, no number, or outside the limits."""
    low, high = limits
    value = question.get(name)
    if value is None:
        raise BadQuestion(f"{name} is missing: a number between {low:g} and {high:g}.")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadQuestion(f"{name} must be a number between {low:g} and {high:g}, without quotation marks.")
    if not low <= value <= high:
        raise BadQuestion(f"{name} is out of range: it must be between {low:g} and {high:g}.")
    return float(value)


@application.errorhandler(BadQuestion)
def refuse(error: BadQuestion) -> tuple[Response, int]:
    return jsonify(error=str(error)), 400


@application.errorhandler(HTTPException)
def explain(error: HTTPException) -> tuple[Response, int]:
    return jsonify(error=error.description), error.code or 500


@application.after_request
def stamp(response: Response) -> Response:
    response.headers["X-App-Version"] = VERSION
    return response
