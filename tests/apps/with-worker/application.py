"""A Flask application with a second process, worker.py, of which two must never run at once."""

from pathlib import Path

from flask import Flask, Response, jsonify

VERSION = Path(__file__).with_name("VERSION").read_text(encoding="utf-8").strip()

application = Flask(__name__)


@application.get("/")
@application.get("/version")
def version() -> Response:
    return jsonify(application="with-worker", version=VERSION)


@application.get("/health")
def health() -> Response:
    return jsonify(status="ok")


@application.after_request
def stamp(response: Response) -> Response:
    response.headers["X-App-Version"] = VERSION
    return response
