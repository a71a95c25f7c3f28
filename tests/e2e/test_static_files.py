"""Static files as Elastic Beanstalk's Python platform promises them, through the balancer and a Flask application."""

from __future__ import annotations

import http.client
from pathlib import Path
from typing import Any

import pytest
from beanpole_site import Site, app

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(300)]

MAPPED = "aws:elasticbeanstalk:environment:proxy:staticfiles"
PROXY = "aws:elasticbeanstalk:environment:proxy"
AT_ONCE = (("aws:elasticbeanstalk:command", "DeploymentPolicy", "AllAtOnce"),)
# A command makes one of the folders, as `manage.py collectstatic` does.
COLLECT = "container_commands:\n  collect:\n    command: mkdir -p collected && cp VERSION collected/version.txt\n"


def flask(version: str, **more: str) -> dict[str, str]:
    files = {"static/site.css": f"/* {version} */\n", "static/same.js": "same\n", "images/logo.svg": "<svg/>\n"}
    return app("flask", version, **files, **{".ebextensions/collect.config": COLLECT}, **more)


def ask(site: Site, path: str, method: str = "GET", **headers: str) -> tuple[int, str, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=10)
    try:
        connection.request(method, path, headers={"Host": "shop-dev.localhost", **headers})
        answer = connection.getresponse()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, answer.read().decode().strip(), fields
    finally:
        connection.close()


def from_application(site: Site, path: str) -> bool:
    return "x-app-version" in ask(site, path)[2]


def test_folders_are_served_by_the_release_and_settings_change_them(site: Site) -> None:
    settings = ((MAPPED, "/pictures", "images"), (MAPPED, "/docs/", "collected/"), (MAPPED, "/gone", "nowhere"))
    created = site.create(flask("v1"), instances=2, settings=settings)
    assert created["Outcome"] == "succeeded", (created, site.log())
    told = [event for event in site.events() if "of static files does not exist" in event]
    assert len(told) == 1
    assert "'nowhere'" in told[0]
    assert "/gone" in told[0]

    status, text, headers = ask(site, "/static/site.css")
    assert (status, text, headers["content-type"]) == (200, "/* v1 */", "text/css")
    assert "cache-control" not in headers
    assert "x-app-version" not in headers
    same = ask(site, "/static/same.js")[2]["etag"]
    assert {ask(site, "/static/same.js", **{"If-None-Match": same})[0] for _ in range(4)} == {304}
    assert ask(site, "/static/same.js", "HEAD")[:2] == (200, "")
    assert ask(site, "/pictures/logo.svg")[:2] == (200, "<svg/>")
    assert ask(site, "/docs/version.txt")[:2] == (200, "v1")
    for path in ("/static/none.css", "/static/../application.py", "/static/%2e%2e/application.py", "/gone/x"):
        status, _, headers = ask(site, path)
        assert (status, "x-app-version" in headers) == (404, False), path
    assert from_application(site, "/version")
    assert from_application(site, "/staticx")

    with site.load(path="/static/site.css", idle=5) as load:
        assert site.deploy("v2", flask("v2"), settings=AT_ONCE)["Outcome"] == "succeeded"
        assert ask(site, "/static/site.css")[1] == "/* v2 */"
        # Another folder for a path makes another release of the same version.
        assert site.deploy("v2", settings=((MAPPED, "/static", "images"),))["Outcome"] == "succeeded"
        assert ask(site, "/static/logo.svg")[0] == 200
        back = site.client("beanpole").rollback_environment(EnvironmentName="shop-dev")
        assert site.ended(request_id=back["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
    # While /static meant another folder, this file was not there; but nobody was left without an answer.
    assert set(load.report["kinds"]) <= {"status 404"}, load.report
    assert ask(site, "/static/site.css")[1] == "/* v2 */"
    assert ask(site, "/static/same.js")[2]["etag"] == same

    assert site.deploy("v2", settings=((PROXY, "ProxyServer", "none"),))["Outcome"] == "succeeded"
    assert from_application(site, "/static/site.css")
    assert not any(b"static" in words.split(b"\0") for words in command_lines(site))


def test_without_a_folder_the_application_has_the_path_and_nothing_more_runs(site: Site) -> None:
    assert site.create(app("flask", "v1"))["Outcome"] == "succeeded"
    assert from_application(site, "/static/site.css")
    assert not any("static files" in event for event in site.events())
    assert not any(b"--map" in words.split(b"\0") for words in command_lines(site))


def command_lines(site: Site) -> list[bytes]:
    return [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in site.processes()]
