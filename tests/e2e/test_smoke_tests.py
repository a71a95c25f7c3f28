"""Critical endpoints: a release that does not answer them gets no request, and a fleet that does not goes back."""

from __future__ import annotations

import pytest
from beanpole_site import Site, app, wait_for
from stories import BRISK, DEPLOYMENT, NOT_DEPLOYED, ONE_BY_ONE, lost, rolled_back

pytestmark = [pytest.mark.slow]

ONLY_IN_V1 = ((DEPLOYMENT, "SmokeTests", '/health 200\n/version 200 contains "v1"'),)
GUARDED = """
from http.server import BaseHTTPRequestHandler, HTTPServer
import os, sys

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        # What comes through the balancer says so: a difference that only a question through it can find.
        through = "X-Request-Id" in self.headers or "X-Forwarded-Proto" in self.headers
        status = 403 if through and self.path == "/predict" else 200
        body = b'{"version": "guarded"}' if status == 200 else b"PermissionError: only from inside"
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Handler).serve_forever()
"""
COMPLAINS = GUARDED.replace("class Handler", 'print("ERROR:shop:the cache is gone", flush=True)\n\nclass Handler')


def files(server: str) -> dict[str, str]:
    return {"Procfile": "web: python server.py\n", "server.py": server, "VERSION": "x\n"}


@pytest.mark.long
def test_a_release_that_fails_one_never_gets_a_request_and_its_own_list_goes_with_each_release(site: Site) -> None:
    site.create(app("probe", "v1"), instances=2, settings=(*BRISK, *ONE_BY_ONE, *ONLY_IN_V1))
    created = site.events(EnvironmentName="shop-dev")
    assert sum("2 smoke tests passed before it gets requests." in message for message in created) == 2
    assert "The smoke tests through the balancer passed." in created
    with site.load(rate=100, path="/version") as run:
        operation = site.deploy("v2", app("probe", "v2"))
        assert operation["Outcome"] == "failed"
        assert site.serving() == {"v1"}
    assert run.report["failed"] == 0, lost(run.report)
    assert set(run.report["versions"]) == {"v1"}
    error = operation["Error"]
    assert (error["Stage"], error["Cause"].partition(";")[0]) == (
        "smoke test",
        'GET /version: expected 200 containing "v1" within 5 s',
    )
    assert error["Instance"].startswith("i-")
    assert '; it answered 200 OK: {"' in error["Cause"]
    assert error["Remedy"].endswith("or the smoke test in the option SmokeTests of beanpole:deployment.")
    told = site.events(RequestId=operation["RequestId"])
    assert any(f"[Instance: {error['Instance']}] smoke test failed: GET /version: expected" in line for line in told)
    assert told[-1] == NOT_DEPLOYED

    other = ((DEPLOYMENT, "SmokeTests", '/version contains "v2"'),)
    assert site.deploy("v2", settings=other)["Outcome"] == "succeeded"
    # Back, with the list that v1 has: the one of v2 would refuse it.
    assert rolled_back(site)["Outcome"] == "succeeded"
    assert site.serving() == {"v1"}


def test_what_fails_through_the_balancer_alone_returns_the_whole_fleet(site: Site) -> None:
    tests = ((DEPLOYMENT, "SmokeTests", "/predict 200"),)
    site.create(app("probe", "v1"), instances=2, settings=BRISK)
    operation = site.deploy("guarded", files(GUARDED), settings=tests)
    assert operation["Outcome"] == "failed"
    assert operation["Error"]["Stage"] == "smoke test"
    assert operation["Error"]["Instance"] == ""
    cause = operation["Error"]["Cause"]
    assert cause.startswith(f"through the balancer at 127.0.0.1:{site.port}, GET /predict: expected 200 within 5 s; ")
    assert cause.endswith("it answered 403 Forbidden: PermissionError: only from inside")
    told = site.events(RequestId=operation["RequestId"])
    assert "Smoke tests through the balancer: GET /predict 200." in told
    assert [line for line in told if line.startswith("Every instance serves release 1")]
    assert site.serving() == {"v1"}


@pytest.mark.long
def test_errors_in_the_log_are_told_and_where_it_is_wanted_end_the_deployment(site: Site) -> None:
    site.create(app("probe", "v1"), settings=BRISK)
    strict = ((DEPLOYMENT, "LogErrors", "fail"),)
    operation = site.deploy("loud", files(COMPLAINS), settings=strict)
    assert operation["Outcome"] == "failed"
    assert operation["Error"]["Cause"] == (
        "1 error in the log of web since the release started: ERROR:shop:the cache is gone"
    )
    assert site.serving() == {"v1"}
    operation = site.deploy("loud", settings=((DEPLOYMENT, "LogErrors", "warn"),))
    assert operation["Outcome"] == "succeeded"
    found = site.client().describe_events(RequestId=operation["RequestId"], Severity="WARN")["Events"]
    assert [event["Message"].partition("] ")[2] for event in found] == [
        "1 error in the log of web since the release started: ERROR:shop:the cache is gone"
    ]


@pytest.mark.long
def test_tests_that_are_new_are_tried_although_nothing_is_started(site: Site) -> None:
    site.create(app("probe", "v1"), settings=BRISK)
    eb = site.client()

    def update(tests: str) -> dict[str, object]:
        setting = {"Namespace": DEPLOYMENT, "OptionName": "SmokeTests", "Value": tests}
        answer = eb.update_environment(EnvironmentName="shop-dev", OptionSettings=[setting])
        return site.ended(request_id=answer["ResponseMetadata"]["RequestId"])

    assert update("/nothing-there 200")["Outcome"] == "failed"
    settings = eb.describe_configuration_settings(ApplicationName="shop", EnvironmentName="shop-dev")
    listed = settings["ConfigurationSettings"][0]["OptionSettings"]
    assert not [each for each in listed if each["OptionName"] == "SmokeTests" and each.get("Value")]
    assert update("/health 200")["Outcome"] == "succeeded"
    wait_for("a ready environment", lambda: site.environment()["Status"] == "Ready")
