"""A Flask application whose Procfile has a hard-coded port: two releases cannot run side by side."""

from pathlib import Path

from flask import Flask, Response, jsonify

VERSION = Path(__file__).with_name("VERSION").read_text(encoding="utf-8").strip()

application = Flask(__name__)


@application.get("/")
@application.get("/version")
def version() -> Response:
    return jsonify(application="fixed-port", version=VERSION)


@application.get("/health")
def health() -> Response:
    return jsonify(status="ok")


@application.after_request
def stamp(response: Response) -> Response:
    response.headers["X-App-Version"] = VERSION
    return response
