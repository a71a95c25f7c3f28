"""What a team types every day: deploying a git folder in all of eb's ways, versions, and settings."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from beanpole_site import Site, app
from eb_folder import UPDATED, Command, EbFolder, running, whole

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

MULTIPART = 7_340_032  # bytes from which on eb uploads in parts


def updated(site: Site, ran: Command, environment: str = "shop-dev") -> list[str]:
    """The messages of an update that succeeded and of which eb lost nothing."""
    messages = whole(site, ran, EnvironmentName=environment)
    assert messages[-1] == UPDATED
    return messages


@pytest.mark.long
def test_deploying_a_git_folder(site: Site, tmp_path: Path) -> None:
    folder = EbFolder(site, tmp_path / "shop", app("probe", "v1"))
    folder.git("init", "--quiet", "--initial-branch", "main")
    folder.init()
    folder.git("add", ".")
    folder.git("commit", "--quiet", "--message", "The first version")
    created = folder.eb("create", "shop-dev", "--scale", "2")
    assert whole(site, created, EnvironmentName="shop-dev")[-1] == "Successfully launched environment: shop-dev"
    assert len(running(site)) == 2
    first = site.environment()["VersionLabel"]

    folder.write({"VERSION": "v2\n"})
    folder.git("commit", "--quiet", "--all", "--message", "Prices have commas")
    folder.write({"VERSION": "not committed\n"})
    updated(site, folder.eb("deploy"))
    assert site.serving() == {"v2"}
    assert described(site)["Description"] == "Prices have commas"

    folder.write({"VERSION": "v3\n"})
    folder.git("add", "VERSION")
    folder.write({"VERSION": "not staged\n"})
    updated(site, folder.eb("deploy", "--staged"))
    assert site.serving() == {"v3"}

    folder.write({"VERSION": "v4\n", "model.bin": os.urandom(MULTIPART)})
    folder.git("add", ".")
    folder.git("commit", "--quiet", "--message", "A larger model")
    large = folder.eb("deploy", "-l", "large", "-m", "in parts")
    assert "100% Done" in large.text
    updated(site, large)
    assert site.serving() == {"v4"}
    version = described(site)
    assert (version["VersionLabel"], version["Description"]) == ("large", "in parts")
    stored = site.client("s3").head_object(Bucket=version["SourceBundle"]["S3Bucket"], Key="shop/large.zip")
    assert stored["ContentLength"] > MULTIPART
    assert stored["ETag"].endswith('-2"'), "the bundle did not come in parts"

    back = folder.eb("deploy", "--version", first)
    assert "Uploading" not in back.text
    updated(site, back)
    assert site.serving() == {"v1"}
    assert described(site)["VersionLabel"] == first


@pytest.mark.long
def test_versions_without_deploying_them(site: Site, tmp_path: Path) -> None:
    site.create(app("probe", "v1"))
    folder = EbFolder(site, tmp_path / "shop", app("probe", "v2"))
    folder.link()

    folder.eb("appversion", "--create", "-l", "v2", "-m", "for later")
    assert site.serving() == {"v1"}
    assert known(site) == {"v1": None, "v2": "for later"}
    assert "is deployed to Environments: shop-dev" in folder.eb("appversion", "-d", "v1", expected=4).text
    assert "will not be deleted" in folder.eb("appversion", "-d", "v2", stdin="n\n").text
    assert "deleted successfully" in folder.eb("appversion", "-d", "v2", stdin="y\n").text
    assert known(site) == {"v1": None}
    bucket = site.client().create_storage_location()["S3Bucket"]
    assert "Contents" not in site.client("s3").list_objects(Bucket=bucket, Prefix="shop/v2")

    # Without git: the whole folder, under a label with the time in it.
    updated(site, folder.eb("deploy"))
    assert site.serving() == {"v2"}
    assert described(site)["VersionLabel"].startswith("app-")


@pytest.mark.long
def test_settings(site: Site, tmp_path: Path) -> None:
    site.create(app("probe", "v1"), instances=2)
    folder = EbFolder(site, tmp_path / "shop")
    folder.link()

    updated(site, folder.eb("setenv", "GREETING=good morning", "LEVEL=3"))
    assert properties(folder) == ["GREETING = good morning", "LEVEL = 3"]
    assert seen(site, "GREETING") == "good morning"
    updated(site, folder.eb("setenv", "GREETING=", "LEVEL=4"))
    assert (seen(site, "GREETING"), seen(site, "LEVEL")) == (None, "4")

    updated(site, folder.eb("config", "shop-dev", "-u", json.dumps(options("command", BatchSize="50"))))
    shown = folder.eb("config", "-d").text
    for words in ("EnvironmentName: shop-dev", "aws:elasticbeanstalk:command:", "BatchSize: '50'", "MaxSize: '2'"):
        assert words in shown
    yaml = "OptionSettings:\n  aws:elasticbeanstalk:application:environment:\n    FROM: a file\n"
    updated(site, folder.eb("config", "shop-dev", stdin=yaml))
    assert seen(site, "FROM") == "a file"

    refused = folder.eb("config", "-u", json.dumps(options("command", BatchSize="nine")), expected=4)
    for words in ("ERROR: ", "'nine'", "aws:elasticbeanstalk:command", "BatchSize", "not a whole number"):
        assert words in refused.text
    name = folder.eb("setenv", "A NAME=1", expected=4)
    assert "ERROR: ServiceError - Configuration validation exception: " in name.text
    assert "OptionName: 'A NAME'" in name.text
    wrong = folder.eb("config", stdin="OptionSettings: [", expected=4)
    assert "SourceContents, line 1: not valid YAML" in wrong.text
    assert site.environment()["Status"] == "Ready"
    assert properties(folder) == ["FROM = a file", "LEVEL = 4"], "what was refused has changed something"


def described(site: Site) -> dict[str, str]:
    """The version that the environment has, as the API describes it."""
    label = site.environment()["VersionLabel"]
    found = site.client().describe_application_versions(ApplicationName="shop", VersionLabels=[label])
    version: dict[str, str] = found["ApplicationVersions"][0]
    return version


def known(site: Site) -> dict[str, str | None]:
    """Descriptions of all versions by label."""
    found = site.client().describe_application_versions(ApplicationName="shop")["ApplicationVersions"]
    return {version["VersionLabel"]: version.get("Description") for version in found}


def properties(folder: EbFolder) -> list[str]:
    return [line.strip() for line in folder.eb("printenv").text.splitlines()[1:]]


def seen(site: Site, name: str) -> str | None:
    """The property as the running application has it."""
    value: str | None = json.loads(site.get(f"/env?name={name}")[1])["value"]
    return value


def options(group: str, **values: str) -> dict[str, dict[str, dict[str, str]]]:
    return {"OptionSettings": {f"aws:elasticbeanstalk:{group}": values}}
