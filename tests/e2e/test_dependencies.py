"""Requirements in each of the files that may hold them; installed when they changed, and only then."""

from __future__ import annotations

import json

import pytest
from beanpole_site import Site
from stories import BRISK, PATIENT_START, body, journal

pytestmark = [pytest.mark.slow]

SERVER = """
import importlib.metadata, json, os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        packages = {each.name.lower(): each.version for each in importlib.metadata.distributions()}
        answer = json.dumps({"version": open("VERSION").read(), "packages": packages}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""

PIPFILE_LOCK = json.dumps({
    "_meta": {"sources": []},
    "default": {"itsdangerous": {"version": "==2.2.0"}},
    "develop": {"flask": {"version": "==99.99.99"}},
})  # fmt: skip
PIPFILE = '[packages]\nblinker = "==1.9.0"\n\n[dev-packages]\nflask = "==99.99.99"\n'
PROJECT = '[project]\nname = "shop"\nversion = "1"\ndependencies = ["blinker==1.9.0", "itsdangerous==2.2.0"]\n'


def files(version: str, **more: str) -> dict[str, str]:
    return {"Procfile": "web: python server.py\n", "server.py": SERVER, "VERSION": version} | more


def installed(site: Site, operation: dict[str, object]) -> int:
    """Packages that the agents installed in an operation, all instances together."""
    assert operation["Outcome"] == "succeeded", operation
    results = journal(site, operation, "fetch")
    assert len(results) == 2
    return sum(result["installed"] for result in results)


def packages(site: Site, version: str) -> dict[str, str]:
    answer = body(site)
    assert answer["version"] == version
    return dict(answer["packages"])


@pytest.mark.long
def test_packages_are_installed_when_the_requirements_changed_and_only_then(site: Site) -> None:
    one = {"requirements.txt": "blinker==1.9.0\n"}
    created = site.create(files("v1", **one), instances=2, settings=(*BRISK, *PATIENT_START))
    # The second instance on this machine shares the first one's layer.
    assert created["Outcome"] == "succeeded", created
    assert sum(result["installed"] for result in journal(site, created, "join-fetch")) == 1
    assert packages(site, "v1") == {"blinker": "1.9.0"}

    assert installed(site, site.deploy("v2", files("v2", **one))) == 0
    assert packages(site, "v2") == {"blinker": "1.9.0"}

    two = {"requirements.txt": "-r base.txt\nitsdangerous==2.2.0\n", "base.txt": "blinker==1.9.0\n"}
    assert installed(site, site.deploy("v3", files("v3", **two))) == 2
    assert packages(site, "v3") == {"blinker": "1.9.0", "itsdangerous": "2.2.0"}

    assert installed(site, site.deploy("v4", files("v4", **one))) == 0, "these were here before"
    assert packages(site, "v4") == {"blinker": "1.9.0"}

    none = site.deploy("v5", files("v5"))
    assert installed(site, none) == 0
    assert packages(site, "v5") == {}


@pytest.mark.long
def test_the_first_of_the_files_that_list_packages_counts(site: Site) -> None:
    settings = (*BRISK, *PATIENT_START)
    assert site.create(files("v1", **{"pyproject.toml": PROJECT}), settings=settings)["Outcome"] == "succeeded"
    assert packages(site, "v1") == {"blinker": "1.9.0", "itsdangerous": "2.2.0"}

    every = {"pyproject.toml": PROJECT, "Pipfile": PIPFILE}
    assert site.deploy("v2", files("v2", **every))["Outcome"] == "succeeded"
    assert packages(site, "v2") == {"blinker": "1.9.0"}

    every["Pipfile.lock"] = PIPFILE_LOCK
    assert site.deploy("v3", files("v3", **every))["Outcome"] == "succeeded"
    assert packages(site, "v3") == {"itsdangerous": "2.2.0"}
