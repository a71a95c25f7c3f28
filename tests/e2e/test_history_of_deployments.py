"""The deployment log after a day of everything, with the command line that a person uses."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from beanpole_site import Site, wait_for
from stories import BRISK, PATIENT_START, properties, rolled_back

pytestmark = [pytest.mark.slow]

SERVER = """
import os, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

time.sleep(float(os.environ.get("STARTS_AFTER", "0")))

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

ThreadingHTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""


def files(requirements: str, server: str = SERVER) -> dict[str, str]:
    return {"Procfile": "web: python server.py\n", "server.py": server, "requirements.txt": requirements}


def beanpole(site: Site, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "beanpole.cli", *words, "--home", str(site.home.root)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=site.root,
    )


@pytest.mark.long
def test_each_way_in_which_a_deployment_ends_is_told(site: Site) -> None:
    settings = (*BRISK, *PATIENT_START)
    assert site.create(files("blinker==1.9.0\n"), settings=settings)["Outcome"] == "succeeded"
    for _ in range(3):
        site.get("/")
    changed = files("blinker==1.8.2\nitsdangerous==2.2.0\n")
    assert site.deploy("v2", changed, settings=properties(TOKEN="geheim"))["Outcome"] == "succeeded"
    assert site.deploy("v3", files("", "raise SystemExit(3)"))["Outcome"] == "failed"
    request = site.begin("v4", files("", SERVER), settings=properties(STARTS_AFTER=15))
    wait_for("a start", lambda: _starts(site, request))
    site.client().abort_environment_update(EnvironmentName="shop-dev")
    assert site.ended(request_id=request)["Outcome"] == "aborted"
    assert rolled_back(site)["Outcome"] == "succeeded"

    shown = beanpole(site, "history", "shop-dev")
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    # Some of what follows begins with the number of the entry.
    entries = {line.split()[0]: " ".join(line.split()[3:]) for line in lines[1:] if not line.startswith(" ")}
    assert entries["5"].startswith("admin rollback v2 → v1")
    assert "aborted, returned" in entries["4"]
    assert "failed, returned" in entries["3"]
    assert entries["2"].startswith("admin deploy v1 → v2 (AllAtOnce)")
    assert "succeeded" in entries["2"]
    assert entries["1"].startswith("admin create v1")
    assert "blinker 1.9.0 → 1.8.2; itsdangerous (none) → 2.2.0; TOKEN added" in shown.stdout
    assert "exit status 3" in shown.stdout
    assert "geheim" not in shown.stdout

    one = beanpole(site, "history", "3")
    assert "failed, returned" in one.stdout
    assert "  Cause      [Instance: i-" in one.stdout
    found: list[dict[str, Any]] = json.loads(beanpole(site, "history", "shop-dev", "--json").stdout)["history"]
    assert [each["outcome"] for each in found] == ["succeeded", "aborted", "failed", "succeeded", "succeeded"]
    assert all(each["requests"]["failed"] == 0 for each in found)
    back = found[0]["dependencies"]
    assert back == [
        {"what": "blinker", "from": "1.8.2", "to": "1.9.0"},
        {"what": "itsdangerous", "from": "2.2.0", "to": "(none)"},
    ]


def _starts(site: Site, request: str) -> bool:
    operation = site.operation(request)
    return operation is not None and any(
        step["Kind"] == "Activate" and step["State"] == "running" for step in operation["Steps"]
    )
