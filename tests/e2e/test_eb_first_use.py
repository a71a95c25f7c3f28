"""The first hour with the real eb: init, create, look, scale, terminate; then several environments side by side."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from beanpole_site import Site, app
from eb_folder import BRANCH, PYTHON, UPDATED, EbFolder, running, whole

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LAUNCHED = "Successfully launched environment: {}"
UNTOUCHED = "Bundle and settings equal what is running: no instance is touched."


def test_from_a_plain_folder_to_an_environment_and_back_to_nothing(site: Site, tmp_path: Path) -> None:
    folder = EbFolder(site, tmp_path / "shop", app("probe", "v1"))
    assert "Application shop has been created." in folder.init(f"python-{PYTHON}").text
    assert folder.config()["global"]["default_platform"] == f"Python {PYTHON}"
    assert "created" not in folder.init(BRANCH).text
    assert folder.config()["global"]["default_platform"] == BRANCH
    assert 'matches "cobol-60"' in folder.eb("init", "shop", "-p", "cobol-60", "-r", "local-1", expected=4).text
    assert "default environment" in folder.eb("deploy", expected=5).text

    create = ("create", "shop-dev", "--single", "--cname", "beans")
    created = folder.eb(*create, "--envvars", "GREETING=good morning,LEVEL=3", "--tags", "team=pets,stage=dev")
    assert whole(site, created, EnvironmentName="shop-dev")[-1] == LAUNCHED.format("shop-dev")
    assert f"CNAME: beans.localhost:{site.port}" in created.text
    label = site.environment()["VersionLabel"]
    assert f"Deployed Version: {label}" in created.text
    assert site.get("/version", host="beans.localhost")[0] == 200
    status, body = site.get("/env?name=GREETING", host="beans.localhost")
    assert (status, json.loads(body)["value"]) == (200, "good morning")

    shown = folder.eb("status").text
    for words in (
        "Environment details for: shop-dev",
        f"Deployed Version: {label}",
        "Status: Ready",
        "Region: local-1",
    ):
        assert words in shown
    tags = folder.eb("tags", "-l").text
    assert re.search(r"^team +pets$", tags, re.MULTILINE)
    assert re.search(r"^stage +dev$", tags, re.MULTILINE)
    folder.eb("open", BROWSER=f"{_printer(tmp_path)} %s")
    assert (tmp_path / "opened").read_text() == f"http://beans.localhost:{site.port}\n"

    # init again, now with the shorthand and with an environment there: settings are asked for, nothing is made anew.
    assert folder.init(f"Python {PYTHON}").text == ""
    assert folder.config()["branch-defaults"]["default"]["environment"] == "shop-dev"
    assert folder.eb("platform", "list").text == f"python-{PYTHON}\n"
    assert f"running Python {PYTHON}" in folder.eb("platform", "show").text

    scaled = folder.eb("scale", "2", stdin="y\n")
    assert "currently a single-instance" in scaled.text
    assert whole(site, scaled, EnvironmentName="shop-dev")[-1] == UPDATED
    assert len(running(site)) == 2

    wrong = folder.eb("terminate", stdin="shop-prod\n", expected=4)
    assert "Names do not match" in wrong.text
    assert site.environment()["Status"] == "Ready"
    ended = folder.eb("terminate", stdin="shop-dev\n")
    assert whole(site, ended, EnvironmentName="shop-dev")[-1] == "terminateEnvironment completed successfully."
    assert site.get(host="beans.localhost")[0] == 404
    assert not list(site.home.instances.glob("i-*")), "an instance's folder stays"


@pytest.mark.long
def test_environments_side_by_side(site: Site, tmp_path: Path) -> None:
    folder = EbFolder(site, tmp_path / "shop", app("probe", "v1"))
    other = EbFolder(site, tmp_path / "other")
    folder.init()
    other.init()
    plain = folder.begin("create", "shop-dev")
    sample = other.begin("create", "shop-sample", "--sample", "--single")
    one, two = plain.ended(), sample.ended()
    assert whole(site, one, EnvironmentName="shop-dev")[-1] == LAUNCHED.format("shop-dev")
    assert whole(site, two, EnvironmentName="shop-sample")[-1] == LAUNCHED.format("shop-sample")
    assert len(running(site)) == 1
    assert "Your environment works" in site.get("/", host="shop-sample.localhost")[1]

    label = site.environment()["VersionLabel"]
    three = other.eb("create", "shop-prod", "--scale", "3", "--version", label)
    assert "Uploading" not in three.text
    assert whole(site, three, EnvironmentName="shop-prod")[-1] == LAUNCHED.format("shop-prod")
    assert "Running instances: 3" in other.eb("status", "-v", "shop-prod").text
    assert site.serving("shop-prod") == {"v1"}

    taken = other.eb("create", "shop-dev", "--version", label, expected=4)
    assert "ERROR: InvalidParameterValueError - Environment shop-dev already exists." in taken.text
    taken = other.eb("create", "shop-four", "--version", label, "--cname", "shop-prod", expected=4)
    assert "The CNAME prefix shop-prod is already in use." in taken.text
    unknown = other.eb("create", "shop-four", "--version", "nope", expected=4)
    assert "No Application Version named 'nope' found." in unknown.text
    saved = folder.eb("create", "shop-four", "--cfg", "mine", expected=4)
    assert "ERROR: InvalidParameterValueError - No Configuration Template named 'mine" in saved.text

    assert folder.eb("list").text.splitlines() == ["* shop-dev", "shop-prod", "shop-sample"]
    folder.eb("use", "shop-prod")
    everything = folder.eb("list", "-v", "-a").text
    assert "* shop-prod : [" in everything
    assert "Environments: 3" in everything
    assert all(instance in everything for name in ("shop-dev", "shop-prod") for instance in running(site, name))

    folder.write({"VERSION": "v2\n"})
    deploy, nothing = folder.begin("deploy", "shop-dev", "-l", "v2"), other.begin("config", "shop-sample", stdin="")
    assert whole(site, deploy.ended(), EnvironmentName="shop-dev")[-1] == UPDATED
    assert whole(site, nothing.ended(), EnvironmentName="shop-sample")[-2:] == [UNTOUCHED, UPDATED]
    assert site.serving("shop-dev") == {"v2"}
    assert site.serving("shop-prod") == {"v1"}, "a deployment reached the neighbour"

    before = running(site, "shop-prod")
    gone = folder.begin("terminate", "shop-sample", "--force")
    grows, shrinks = other.begin("scale", "2", "shop-dev"), other.begin("scale", "1", "shop-prod")
    assert whole(site, gone.ended(), EnvironmentName="shop-sample")[-1] == (
        "terminateEnvironment completed successfully."
    )
    assert whole(site, grows.ended(), EnvironmentName="shop-dev")[-1] == UPDATED
    assert whole(site, shrinks.ended(), EnvironmentName="shop-prod")[-1] == UPDATED
    assert len(running(site)) == 2
    assert len(running(site, "shop-prod")) == 1
    assert set(running(site, "shop-prod")) < set(before)
    assert (site.serving("shop-dev"), site.serving("shop-prod")) == ({"v2"}, {"v1"})


def _printer(folder: Path) -> Path:
    """A web browser that writes down what it is asked to open."""
    program = folder / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" >> "{folder}/opened"\n')
    program.chmod(0o755)
    return program
