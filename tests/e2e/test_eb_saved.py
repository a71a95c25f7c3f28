"""Saved configurations, clones, groups, tags, lifecycle rules and platform updates by the unmodified EB CLI.

Each command ends its wait by itself, in success and in failure.
"""

from __future__ import annotations

import json
import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from beanpole_site import EB, Site, app, wait_for, zipped
from eb_folder import BRANCH, NO_NETWORK, UPDATED, EbFolder, whole

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

PROPERTIES = "aws:elasticbeanstalk:application:environment"
COMMAND = "aws:elasticbeanstalk:command"
GREETING = ((PROPERTIES, "GREETING", "hello"),)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    try:
        made.start()
        yield made
    finally:
        print(made.log())
        made.end()


@pytest.fixture
def folder(site: Site, tmp_path: Path) -> EbFolder:
    made = EbFolder(site, tmp_path / "shop", app("probe", "v1"))
    made.link()
    return made


def seen(site: Site, name: str, host: str = "shop-dev.localhost") -> str | None:
    """The property as the running application has it."""
    value: str | None = json.loads(site.get(f"/env?name={name}", host=host)[1])["value"]
    return value


def test_saved_configurations(site: Site, folder: EbFolder) -> None:
    site.create(app("probe", "v1"), settings=GREETING)
    local = folder.path / ".elasticbeanstalk" / "saved_configs" / "mine.cfg.yml"

    saved = folder.eb("config", "save", "shop-dev", "--cfg", "mine")
    assert "Configuration saved at:" in saved.text
    assert yaml.safe_load(local.read_text())["OptionSettings"][PROPERTIES] == {"GREETING": "hello"}
    assert folder.eb("config", "list").text.split() == ["mine"]
    again = folder.eb("config", "save", "shop-dev", "--cfg", "mine", expected=4)
    assert "Configuration Template mine already exists." in again.text

    # Edited and put: S3 alone, then it is validated.
    document = yaml.safe_load(local.read_text())
    document["OptionSettings"][PROPERTIES] = {"GREETING": "good evening"}
    local.write_text(yaml.safe_dump(document))
    assert "ERROR" not in folder.eb("config", "put", "mine").text
    local.unlink()
    folder.eb("config", "get", "mine")
    assert yaml.safe_load(local.read_text())["OptionSettings"][PROPERTIES] == {"GREETING": "good evening"}
    assert "could not find any saved configuration with the name" in folder.eb("config", "get", "other").text

    applied = folder.eb("config", "shop-dev", "--cfg", "mine")
    assert whole(site, applied, EnvironmentName="shop-dev")[-1] == UPDATED
    assert seen(site, "GREETING") == "good evening"

    created = folder.eb("create", "shop-b", "--cfg", "mine", "--version", "v1")
    assert whole(site, created, EnvironmentName="shop-b")[-1] == "Successfully launched environment: shop-b"
    assert seen(site, "GREETING", "shop-b.localhost") == "good evening"

    # One that names no platform gets the folder's: eb asks a second time, with it.
    del document["Platform"]
    local.write_text(yaml.safe_dump(document))
    folder.eb("config", "put", "mine")
    folder.eb("create", "shop-c", "--cfg", "mine", "--version", "v1")
    assert seen(site, "GREETING", "shop-c.localhost") == "good evening"

    local.write_text(f"OptionSettings:\n  {COMMAND}:\n    Unheard: 1\n")
    assert "Unknown configuration setting." in folder.eb("config", "put", "mine").text
    refused = folder.eb("config", "shop-dev", "--cfg", "mine", expected=4)
    assert "Unknown configuration setting." in refused.text
    local.write_text("EnvironmentConfigurationMetadata: {}\nOptionSettings: [a]\n")
    broken = folder.eb("config", "put", "mine", expected=4)
    assert "The Configuration Template mine cannot be used: resources/templates/shop/mine, line" in broken.text
    assert site.environment()["Status"] == "Ready"

    folder.eb("config", "delete", "mine")
    assert folder.eb("config", "list").text.split() == []
    assert not local.exists()
    assert (
        "No Configuration Template named 'mine' found."
        in folder.eb("config", "shop-dev", "--cfg", "mine", expected=4).text
    )


def test_a_saved_configuration_under_which_nothing_starts(site: Site, folder: EbFolder) -> None:
    """eb ends with the failing sentence, and the environment is as it was."""
    site.create(app("probe", "v1"), settings=GREETING)
    path = folder.path / ".elasticbeanstalk" / "saved_configs" / "bad.cfg.yml"
    path.parent.mkdir()
    path.write_text(
        "EnvironmentConfigurationMetadata: {}\n"
        f"OptionSettings:\n  {PROPERTIES}:\n    GREETING: bye\n    PORT_OF_PROBE: none\n"
        "  aws:elasticbeanstalk:container:python:\n    WSGIPath: no.such:thing\n"
        "  beanpole:deployment:\n    StartTimeout: 2\n    SmokeTests: /no-such-page 200\n"
    )
    failed = folder.eb("config", "shop-dev", "--cfg", "bad", expected=4)
    assert whole(site, failed, EnvironmentName="shop-dev")[-1] == "Failed to deploy configuration."
    assert seen(site, "GREETING") == "hello"


def test_settings_in_an_editor(site: Site, folder: EbFolder) -> None:
    """`eb config` on a terminal opens $EDITOR with all settings, and sends what was changed there."""
    site.create(app("probe", "v1"), settings=GREETING)
    editor = folder.path / "editor.py"
    editor.write_text(
        "#!/usr/bin/env python3\n"
        "import sys, re\n"
        "text = open(sys.argv[1]).read()\n"
        "text = re.sub(r\"\\bBatchSize: '\\d+'\", \"BatchSize: '55'\", text, count=1)\n"
        "open(sys.argv[1], 'w').write(text)\n"
    )
    editor.chmod(0o755)
    done = on_terminal(folder, "config", "shop-dev", EDITOR=str(editor))
    assert UPDATED in done
    (found,) = site.client().describe_configuration_settings(ApplicationName="shop", EnvironmentName="shop-dev")[
        "ConfigurationSettings"
    ]
    values = {each["OptionName"]: each.get("Value") for each in found["OptionSettings"] if each["Namespace"] == COMMAND}
    assert values["BatchSize"] == "55"
    assert seen(site, "GREETING") == "hello"
    assert "No changes made" in on_terminal(folder, "config", "shop-dev", EDITOR="true")


def on_terminal(folder: EbFolder, *words: str, **variables: str) -> str:
    """What eb prints when its input is a terminal, from which nothing comes."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [str(EB), *words],
            cwd=folder.path,
            env=folder.site.variables() | NO_NETWORK | variables,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_clones(site: Site, folder: EbFolder) -> None:
    site.create(app("probe", "v1"), settings=GREETING)
    words = ("clone", "shop-dev", "-n", "shop-b")
    cloned = folder.eb(*words, "--envvars", "MORE=1", "--tags", "team=pets")
    assert whole(site, cloned, EnvironmentName="shop-b")[-1] == "Successfully launched environment: shop-b"
    assert site.serving("shop-b") == {"v1"}
    assert seen(site, "GREETING", "shop-b.localhost") == "hello"
    assert seen(site, "MORE", "shop-b.localhost") == "1"
    assert "team" in folder.eb("tags", "shop-b", "-l").text
    assert "already exists" in folder.eb(*words, "--exact", expected=4).text
    exact = folder.eb("clone", "shop-dev", "-n", "shop-c", "--exact", "--cname", "pets", "--scale", "2")
    assert whole(site, exact, EnvironmentName="shop-c")[-1] == "Successfully launched environment: shop-c"
    assert site.get(host="pets.localhost")[0] == 200

    folder.eb("terminate", "shop-b", "--force")
    assert 'Environment "shop-b" not Found.' in folder.eb("clone", "shop-b", "-n", "shop-e", expected=4).text


def test_a_clone_that_does_not_start(site: Site, folder: EbFolder) -> None:
    """The source became what can start no second time: eb ends with the failing sentence."""
    site.create(app("probe", "v1"), settings=GREETING)
    failed = folder.eb("clone", "shop-dev", "-n", "shop-b", "--envvars", "PYTHONHOME=/nowhere", expected=4)
    assert whole(site, failed, EnvironmentName="shop-b")[-1] == "Failed to launch environment."
    assert site.environment("shop-b")["Status"] == "Ready"
    assert site.serving() == {"v1"}


def test_tags(site: Site, folder: EbFolder) -> None:
    site.create(app("probe", "v1"))
    for words in (("-a", "team=pets,stage=test"), ("-u", "stage=production"), ("-d", "team")):
        folder.eb("tags", "shop-dev", *words)
    shown = folder.eb("tags", "shop-dev", "-l").text
    assert "production" in shown
    assert "pets" not in shown
    assert "aws:" in folder.eb("tags", "shop-dev", "-a", "aws:x=1", expected=4).text


def test_lifecycle_rules_in_an_editor(site: Site, folder: EbFolder) -> None:
    site.create(app("probe", "v1"))
    trust = {"Effect": "Allow", "Principal": {"Service": "elasticbeanstalk.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    site.client("iam").create_role(RoleName="aws-elasticbeanstalk-service-role", AssumeRolePolicyDocument=document)
    editor = folder.path / "editor.py"
    editor.write_text(
        "#!/usr/bin/env python3\n"
        "import sys, yaml\n"
        "text = yaml.safe_load(open(sys.argv[1]))\n"
        "rule = text['Configurations']['VersionLifecycleConfig']['MaxCountRule']\n"
        "rule.update(Enabled=True, MaxCount=2, DeleteSourceFromS3=True)\n"
        "yaml.safe_dump(text, open(sys.argv[1], 'w'))\n"
    )
    editor.chmod(0o755)
    python = str(EB.parent)  # an editor with PyYAML at hand
    variables = {"EDITOR": str(editor), "PATH": f"{python}:{os.environ['PATH']}"}
    assert "Successfully updated application" in folder.eb("appversion", "lifecycle", **variables).text
    assert "MaxCount: 2" in folder.eb("appversion", "lifecycle", "-p").text
    for label in ("v2", "v3", "v4"):
        site.version("shop", label, app("probe", label))
    found = site.client().describe_application_versions(ApplicationName="shop")["ApplicationVersions"]
    assert [each["VersionLabel"] for each in found] == ["v4", "v3", "v1"]


FRONT = f"EnvironmentName: front+\nSolutionStack: {BRANCH}\nEnvironmentLinks: {{BACK: back+}}\n"
BACK = f"EnvironmentName: back+\nSolutionStack: {BRANCH}\n"


def modules(folder: EbFolder, version: str) -> None:
    for name, manifest in (("front", FRONT), ("back", BACK)):
        files = {f"{name}/{path}": text for path, text in app("probe", version).items()}
        folder.write(files | {f"{name}/env.yaml": manifest})
        link = folder.path / name / ".elasticbeanstalk"
        if not link.exists():
            link.mkdir()
            (link / "config.yml").write_text(folder.config_file.read_text())


def test_groups(site: Site, folder: EbFolder) -> None:
    site.client().create_application(ApplicationName="shop")
    modules(folder, "v1")
    made = folder.eb("create", "--modules", "front", "back", "--env-group-suffix", "dev", "--timeout", "3")
    for name in ("front-dev", "back-dev"):
        assert f"Successfully launched environment: {name}" in made.text
        assert site.serving(name) == {"v1"}
    assert seen(site, "BACK", "front-dev.localhost") == site.environment("back-dev")["CNAME"]
    told = site.events(ApplicationName="shop")
    ends = [told.index(f"Successfully launched environment: {name}") for name in ("back-dev", "front-dev")]
    assert ends == sorted(ends), "the linked one is there first"

    modules(folder, "v2")
    deployed = folder.eb("deploy", "--modules", "front", "back", "--env-group-suffix", "dev", "--timeout", "3")
    assert updated(deployed.text) == ["back-dev", "front-dev"]
    assert site.serving("front-dev") == site.serving("back-dev") == {"v2"}

    # The same files under new labels: nothing is touched, and eb hears of it all the same.
    same = folder.eb("deploy", "--modules", "front", "back", "--env-group-suffix", "dev", "--timeout", "3")
    assert updated(same.text) == ["back-dev", "front-dev"]
    for name in ("back-dev", "front-dev"):
        assert any("no instance is touched" in message for message in site.events(EnvironmentName=name))


def updated(text: str) -> list[str]:
    """Names of the environments whose end eb has seen, each of which it waits for."""
    return [name for name in ("back-dev", "front-dev") if f"{name} - INFO: {UPDATED}" in text]


def test_a_group_whose_dependency_fails(site: Site, folder: EbFolder) -> None:
    """Nobody is brought to a version whose dependency is not there; every operation ends."""
    site.client().create_application(ApplicationName="shop")
    modules(folder, "v1")
    (folder.path / "back" / "Procfile").write_text("web: false\n")
    ended = folder.eb("create", "--modules", "front", "back", "--env-group-suffix", "dev", "--timeout", "3")
    assert "Failed to launch environment." in ended.text
    assert "timed out" not in ended.text, "eb waits for a success of each, whatever it is told"
    for name in ("front-dev", "back-dev"):
        assert site.environment(name)["Status"] == "Ready"
        assert "Failed to launch environment." in site.events(EnvironmentName=name)
    why = "the environment back-dev, to which this one is linked, was not brought to its version"
    assert any(why in message for message in site.events(EnvironmentName="front-dev"))


def test_a_module_that_is_not_processed(site: Site, folder: EbFolder) -> None:
    site.client().create_application(ApplicationName="shop")
    modules(folder, "v1")
    folder.write({"back/.ebextensions/a.config": f"option_settings: {{{COMMAND}: {{BatchSize: none}}}}"})
    ended = folder.eb("create", "--modules", "front", "back", "--env-group-suffix", "dev")
    assert "Pre-processing of application version" in ended.text
    assert site.client().describe_environments()["Environments"] == []


def test_versions_that_are_processed(site: Site, folder: EbFolder) -> None:
    site.create(app("probe", "v0"))
    done = folder.eb("deploy", "--process")
    assert whole(site, done, EnvironmentName="shop-dev")[-1] == UPDATED
    folder.write({".ebextensions/a.config": "option_settings: ["})
    assert "Pre-processing of application version" in folder.eb("deploy", "--process").text
    assert site.serving() == {"v1"}


def test_upgrades(tmp_path: Path) -> None:
    """A control plane with a newer platform version: environments stay on theirs until they are upgraded."""
    site = Site(platform_version="4.1.0")
    try:
        site.start()
        folder = EbFolder(site, tmp_path / "shop", app("probe", "v1"))
        folder.link()
        site.create(app("probe", "v1"), instances=2, settings=GREETING)
        assert "already on most recent platform version" in folder.eb("upgrade", "--force").text
        first = site.environment()["PlatformArn"]
        site.stop()
        site.platform_version = "4.2.0"
        site.start()
        assert site.environment()["PlatformArn"] == first
        assert "There's a recommended version in the same platform branch." in folder.eb("status").text
        # Deploying, scaling and settings leave the platform alone.
        site.deploy("v2", app("probe", "v2"))
        assert site.environment()["PlatformArn"] == first
        with site.load() as run:
            upgraded = folder.eb("upgrade", "--force")
        assert run.report["failed"] == 0
        assert whole(site, upgraded, EnvironmentName="shop-dev")[-1] == UPDATED
        newest = site.environment()["PlatformArn"]
        assert newest == first.replace("4.1.0", "4.2.0")
        assert site.serving() == {"v2"}
        assert "already on most recent platform version" in folder.eb("upgrade", "--force").text
        # Back to what ran before: its platform comes back with it.
        answer = site.client("beanpole").rollback_environment(EnvironmentName="shop-dev")
        site.ended(request_id=answer["ResponseMetadata"]["RequestId"])
        assert site.environment()["PlatformArn"] == first
        # An upgrade to a version on which nothing starts: refused by its own sentence, platform as before.
        bad = ((PROPERTIES, "PYTHONHOME", "/nowhere"),)
        failed = site.client().update_environment(
            EnvironmentName="shop-dev",
            PlatformArn=newest,
            OptionSettings=[{"Namespace": space, "OptionName": name, "Value": value} for space, name, value in bad],
        )
        site.ended(request_id=failed["ResponseMetadata"]["RequestId"])
        assert site.environment()["PlatformArn"] == first
        assert site.serving() == {"v2"}
    finally:
        print(site.log())
        site.end()


def test_a_group_goes_on_when_the_control_plane_was_killed(site: Site, folder: EbFolder) -> None:
    client = site.client()
    for label, manifest in (("f1", FRONT), ("b1", BACK)):
        bucket = client.create_storage_location()["S3Bucket"]
        site.client("s3").put_object(
            Bucket=bucket, Key=label, Body=zipped(app("probe", label, **{"env.yaml": manifest}))
        )
        client.create_application_version(
            ApplicationName="shop",
            VersionLabel=label,
            AutoCreateApplication=True,
            Process=True,
            SourceBundle={"S3Bucket": bucket, "S3Key": label},
        )
    client.compose_environments(ApplicationName="shop", GroupName="dev", VersionLabels=["f1", "b1"])
    waits = "Wait for back-dev."
    wait_for("the one to wait for the other", lambda: waits in site.events(EnvironmentName="front-dev"))
    site.kill()
    site.start()
    for name in ("back-dev", "front-dev"):
        launched = f"Successfully launched environment: {name}"
        wait_for(launched, lambda name=name, launched=launched: launched in site.events(EnvironmentName=name), 120)
    assert site.events(EnvironmentName="front-dev").count(waits) == 1
    assert seen(site, "BACK", "front-dev.localhost") == site.environment("back-dev")["CNAME"]
