"""What bench_hosts.py deploys: a WSGI program of a few paths that needs one second to start, and 20 packages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import certifi  # noqa: F401 (so that the program does not start on a wrong set of packages)
import idna
import requests  # noqa: F401

VERSION = (Path(__file__).parent / "VERSION").read_text().strip()
BOOT = 1.0  # seconds
SLOW = 1.0  # seconds that an answer of /slow takes

time.sleep(BOOT)


def application(environ: dict[str, Any], start_response: Callable[..., object]) -> Iterable[bytes]:
    """`/version`, `/health`, `/slow`; each names the version in the header X-App-Version."""
    path = environ["PATH_INFO"]
    if path == "/slow":
        time.sleep(SLOW)
    status = "200 OK" if path in ("/version", "/health", "/slow") else "404 Not Found"
    body = json.dumps({"version": VERSION, "idna": idna.__version__}).encode()
    start_response(status, [("Content-Type", "application/json"), ("X-App-Version", VERSION)])
    return [body]
