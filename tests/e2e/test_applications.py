"""Applications that behave well: as their framework's documentation has them, deployed as a user would."""

from __future__ import annotations

import pytest
from beanpole_site import Site, app
from stories import (
    BRISK,
    PATIENT_START,
    PROCESS,
    PROPERTIES,
    UPDATED,
    body,
    in_force,
    lost,
    properties,
    rolled_back,
)

pytestmark = [pytest.mark.slow]

SETTINGS = (*BRISK, *PATIENT_START)


def test_a_flask_application_without_a_procfile(site: Site) -> None:
    created = site.create(app("flask", "1"), settings=SETTINGS)
    assert created["Outcome"] == "succeeded", created
    assert body(site, "/") == {"application": "flask", "version": "1"}
    updated = site.deploy("v2", app("flask", "2"))
    assert updated["Outcome"] == "succeeded"
    assert body(site, "/")["version"] == "2"
    assert site.environment()["VersionLabel"] == "v2"
    told = site.events(RequestId=updated["RequestId"])
    assert told[0] == "Environment update is starting."
    assert told[-2:] == ["New application version was deployed to running EC2 instances.", UPDATED]


@pytest.mark.long
def test_a_fastapi_application_with_uvicorn_in_a_procfile(site: Site) -> None:
    created = site.create(app("fastapi", "1"), settings=SETTINGS)
    assert created["Outcome"] == "succeeded", created
    assert body(site, "/") == {"application": "fastapi", "version": "1"}
    assert site.deploy("v2", app("fastapi", "2"))["Outcome"] == "succeeded"
    assert body(site, "/")["version"] == "2"
    assert rolled_back(site)["Outcome"] == "succeeded"
    assert body(site, "/")["version"] == "1"


def test_environment_properties_reach_the_process_and_an_update_of_them_loses_no_request(site: Site) -> None:
    awkward = {
        "QUOTES": """it's "quoted" \\ and `ticked`""",
        "SPACES": "  two  words ",
        "UNICODE": "bœuf 🫘 豆",
        "SHELL": "$HOME $(id) ; exit 1",
        "LINES": "one\ntwo",
        "EMPTY": "",
        "PORT": "1",
    }
    created = site.create(app("probe", "v1"), instances=2, settings=(*BRISK, *properties(**awkward)))
    assert created["Outcome"] == "succeeded", created
    seen = {name: body(site, f"/env?name={name}")["value"] for name in awkward}
    port = seen.pop("PORT")
    assert seen == {name: value for name, value in awkward.items() if name != "PORT"}
    assert 20000 <= int(port) <= 29999
    kept = in_force(site)
    assert {name: kept[PROPERTIES, name] for name in awkward} == awkward

    before = body(site, "/pid")["pid"]
    with site.load(rate=50, path="/version", idle=2) as run:
        updated = site.deploy("v1", settings=properties(QUOTES="plain", ADDED="now"))
        assert updated["Outcome"] == "succeeded"
    assert run.report["failed"] == 0, lost(run.report)
    assert body(site, "/env?name=QUOTES")["value"] == "plain"
    assert body(site, "/env?name=ADDED")["value"] == "now"
    assert body(site, "/pid")["pid"] != before
    secret = [message for message in site.events(RequestId=updated["RequestId"]) if "plain" in message]
    assert not secret, "values of properties may be secrets and are not told"

    answer = site.client().update_environment(
        EnvironmentName="shop-dev", OptionsToRemove=[{"Namespace": PROPERTIES, "OptionName": "ADDED"}]
    )
    assert site.ended(request_id=answer["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
    assert body(site, "/env?name=ADDED")["value"] is None


OPTIONS = """
option_settings:
  aws:elasticbeanstalk:application:environment:
    COLOR: file
    SIZE: file
  aws:elasticbeanstalk:environment:process:default:
    HealthCheckPath: /health
packages:
  yum:
    git: []
"""


def test_settings_of_the_bundle_are_between_those_of_the_api_and_the_defaults(site: Site) -> None:
    more = {
        ".ebextensions/07_options.config": OPTIONS,
        ".platform/nginx/conf.d/a.conf": "gzip on;\n",
        ".platform/hooks/01.sh": "exit 1\n",
    }
    files = app("probe", "v1", **more)
    created = site.create(files, settings=(*BRISK, *properties(COLOR="api")))
    assert created["Outcome"] == "succeeded", created
    assert [body(site, f"/env?name={name}")["value"] for name in ("COLOR", "SIZE")] == ["api", "file"]
    settings = in_force(site)
    assert (settings[PROPERTIES, "COLOR"], settings[PROPERTIES, "SIZE"]) == ("api", "file")
    assert settings[PROCESS, "HealthCheckPath"] == "/health"
    assert settings["aws:elasticbeanstalk:command", "Timeout"] == "600", "a default"
    warned = site.client().describe_events(RequestId=created["RequestId"], Severity="WARN")["Events"]
    assert sorted(event["Message"] for event in warned) == [
        ".ebextensions/07_options.config, line 8: Beanpole does not carry out 'packages' yet; it is left out.",
        ".platform/hooks/01.sh is in none of the folders prebuild, predeploy, postdeploy: it never runs as a hook.",
        ".platform/nginx: Beanpole does not act on these files yet; they are left out.",
    ]

    answer = site.client().update_environment(
        EnvironmentName="shop-dev", OptionsToRemove=[{"Namespace": PROPERTIES, "OptionName": "COLOR"}]
    )
    assert site.ended(request_id=answer["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
    assert body(site, "/env?name=COLOR")["value"] == "file"

    assert site.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
    assert [body(site, f"/env?name={name}")["value"] for name in ("COLOR", "SIZE")] == [None, None]
    assert in_force(site)[PROCESS, "HealthCheckPath"] == "/"
