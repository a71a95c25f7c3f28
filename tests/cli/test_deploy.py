"""`beanpole deploy` against a toy control plane: what is asked of the API, what a person reads, what a script gets."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from deploying import PLAN, first
from toy_api import Run, Served, Toy, deployed_before

from beanpole.cli import workspace


def test_first_use_creates_everything(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    done = run("deploy", "--instances", "2", "--env", "COLOUR=blue", "--python", "3.11")
    assert done.status == 0, done.err
    (created,) = toy.called("CreateEnvironment")
    settings = {(each["Namespace"], each["OptionName"]): each["Value"] for each in created["OptionSettings"]}
    assert (created["ApplicationName"], created["EnvironmentName"]) == ("shop", "shop-dev")
    assert created["SolutionStackName"].endswith("running Python 3.11")
    assert settings["aws:autoscaling:asg", "MinSize"] == settings["aws:autoscaling:asg", "MaxSize"] == "2"
    assert settings["aws:elasticbeanstalk:command", "DeploymentPolicy"] == "Rolling"
    assert settings["aws:elasticbeanstalk:command", "BatchSize"] == "1"
    assert settings["aws:elasticbeanstalk:command", "BatchSizeType"] == "Fixed"
    assert settings["aws:elasticbeanstalk:healthreporting:system", "SystemType"] == "enhanced"
    assert settings["aws:elasticbeanstalk:environment", "LoadBalancerType"] == "application"
    assert settings["aws:elasticbeanstalk:application:environment", "COLOUR"] == "blue"
    assert "blue" not in done.out + done.err
    label = created["VersionLabel"]
    assert f"shop-dev is up with {label} (release 7) on 2 instances, after 4.2 s." in done.out
    assert "Meanwhile 1,204 requests were served, 0 failed." in done.out
    assert done.out.endswith("http://shop-dev.localhost:8080\n")
    assert not done.err


def test_the_bundle_is_the_folder(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    label = first(run)
    ((path, content),) = toy.objects.items()
    assert path.startswith(f"/toys/shop/{label}.")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["application.py", "requirements.txt"]


def test_the_folder_is_remembered_for_eb(served: Served, shop: Path, run: Run) -> None:
    first(run)
    known = yaml.safe_load((shop / ".elasticbeanstalk/config.yml").read_text())
    assert known["branch-defaults"] == {"default": {"environment": "shop-dev", "group_suffix": None}}
    assert known["global"]["application_name"] == "shop"
    assert known["global"]["default_platform"] == "Python 3.12"
    assert known["global"]["default_region"] == "local-1"
    assert known["global"]["profile"] is None


def test_unchanged_content_touches_nothing(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    label = first(run)
    toy.calls.clear()
    done = run("deploy")
    assert done.status == 0
    assert f"shop-dev runs exactly this as {label}: nothing was touched." in done.out
    changing = {"CreateApplicationVersion", "UpdateEnvironment", "CreateEnvironment"}
    assert changing.isdisjoint(name for name, _ in toy.calls)
    assert run("deploy", "--json").json["outcome"] == "unchanged"


def test_content_that_another_client_deployed_is_recognised(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    first(run)
    toy.environments["shop-dev"]["VersionLabel"] = "by-eb"
    assert "shop-dev runs exactly this as by-eb: nothing was touched." in run("deploy").out
    done = run("deploy", "--label", "mine")
    assert done.status == 0
    assert toy.called("UpdateEnvironment") == [{"EnvironmentName": "shop-dev", "VersionLabel": "mine"}]


def test_an_instance_left_behind_is_a_reason_to_deploy_the_same(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    label = first(run)
    toy.plan = PLAN
    done = run("deploy")
    assert done.status == 0
    assert f"The version {label} has this content already." in done.out
    assert toy.called("UpdateEnvironment") == [{"EnvironmentName": "shop-dev", "VersionLabel": label}]
    assert len(toy.objects) == 1


def test_next_version_shows_the_plan_first_and_each_change_once(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    first(run)
    (shop / "application.py").write_text("application = repr\n")
    toy.plan = PLAN
    done = run("deploy", "--policy", "all-at-once")
    assert done.status == 0
    lines = done.out.splitlines()
    planned = lines.index("Plan: Rolling, 1 step on 2 instances")
    assert "Setting aws:elasticbeanstalk:command DeploymentPolicy: AllAtOnce" in lines[:planned]
    followed = [line[10:].split("  ")[0] + "|" + line[19:].strip() for line in lines[planned:] if line[2:3] == ":"]
    assert followed == [
        "INFO|update is starting.",
        "running|Bring bundle and dependencies to 2 instances",
        "running|i-1",
        "running|i-2",
        "done|i-1",
        "done|i-2",
        "done|Bring bundle and dependencies to 2 instances",
        "running|Start the new release and switch (batch 1 of 1: 2 instances)",
        "running|i-1",
        "running|i-2",
        "INFO|That was it.",
        "done|i-1",
        "done|i-2",
        "done|Start the new release and switch (batch 1 of 1: 2 instances)",
    ]


def test_only_settings_that_differ_are_sent(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    label = first(run)
    toy.settings["shop-dev"]["aws:elasticbeanstalk:application:environment", "OLD"] = "1"
    done = run("deploy", "--instances", "2", "--env", "OLD=", "--env", "NEVER=", "--option", "a:b:Name=x=y")
    assert done.status == 0, done.err
    assert toy.called("UpdateEnvironment") == [
        {
            "EnvironmentName": "shop-dev",
            "VersionLabel": label,
            "OptionSettings": [{"Namespace": "a:b", "OptionName": "Name", "Value": "x=y"}],
            "OptionsToRemove": [{"Namespace": "aws:elasticbeanstalk:application:environment", "OptionName": "OLD"}],
        }
    ]


def test_smoke_tests_of_the_command_line_are_stored_as_the_option(
    served: Served, toy: Toy, shop: Path, run: Run
) -> None:
    deployed_before(toy, shop)
    toy.plan = PLAN
    assert run("deploy", "--smoke", "/health", "--smoke", '/version contains "v2"').status == 0
    key, value = ("beanpole:deployment", "SmokeTests"), 'GET /health 200, GET /version 200 contains "v2"'
    asked = toy.called("UpdateEnvironment")[-1]
    assert asked["OptionSettings"] == [dict(zip(("Namespace", "OptionName", "Value"), (*key, value), strict=True))]
    toy.settings["shop-dev"][key] = value
    (shop / "application.py").write_text("application = 2\n")
    assert run("deploy", "--smoke", "").status == 0
    asked = toy.called("UpdateEnvironment")[-1]
    assert asked["OptionsToRemove"] == [{"Namespace": key[0], "OptionName": key[1]}]


def test_a_folder_that_cannot_be_written_is_only_warned_of(
    served: Served, toy: Toy, shop: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(workspace, "_replace", refuse)
    done = run("deploy")
    assert done.status == 0
    assert "config.yml cannot be written: Permission denied." in done.err
    assert "The next deployment of this folder needs --environment shop-dev." in done.err
    assert "shop-dev is up" in done.out


def test_one_file_is_one_file(served: Served, shop: Path, run: Run) -> None:
    (shop / "requirements.txt").unlink()
    assert run("deploy").out.startswith("1 file, ")


def test_uncommitted_changes_are_part_of_it_and_said(
    served: Served, toy: Toy, shop: Path, git: Callable[..., str], run: Run
) -> None:
    (shop / "new.py").write_text("")
    (shop / ".gitignore").write_text("secret\n")
    (shop / "secret").write_text("")
    done = run("deploy", "--json")
    assert "Uncommitted changes are part of it: .gitignore, new.py." in done.err
    with zipfile.ZipFile(io.BytesIO(next(iter(toy.objects.values())))) as archive:
        assert archive.namelist() == [".gitignore", "application.py", "new.py", "requirements.txt"]
    commit = git("rev-parse", "--short=4", "HEAD").strip()
    assert done.json["version"].startswith(f"app-{commit}")
    known = yaml.safe_load((shop / ".elasticbeanstalk/config.yml").read_text())
    assert known["global"]["sc"] == "git"
    assert known["branch-defaults"]["main"]["environment"] == "shop-dev"


def test_content_that_ran_before_is_not_sent_again(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    toy.plan = PLAN
    label = first(run)
    (shop / "application.py").write_text("application = repr\n")
    second = first(run)
    (shop / "application.py").write_text("application = print\n")
    assert first(run) == label != second
    assert len(toy.objects) == 2


def test_folder_of_a_configured_parent(
    served: Served, toy: Toy, shop: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    first(run)
    (shop / "pages").mkdir()
    monkeypatch.chdir(shop / "pages")
    assert "nothing was touched" in run("deploy").out


def test_an_artifact_is_sent_as_it_is(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    artifact = shop / "built.zip"
    with zipfile.ZipFile(artifact, "w") as archive:
        archive.writestr("Procfile", "web: true\n")
    first(run, str(artifact))
    assert list(toy.objects.values()) == [artifact.read_bytes()]
    assert toy.called("CreateEnvironment")[0]["EnvironmentName"] == "built-dev"
    known = shop / ".elasticbeanstalk/config.yml"
    known.write_text(known.read_text() + "deploy:\n  artifact: built.zip\n")
    assert "nothing was touched" in run("deploy").out
