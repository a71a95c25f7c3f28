"""`beanpole deploy` against a toy control plane: what is asked of the API, what a person reads, what a script gets."""

from __future__ import annotations

import io
import os
import signal
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from toy_api import INSTANCES, Run, Served, Toy, deployed_before, frame, going_well, going_wrong

from beanpole.cli import crowd, follow, workspace
from beanpole.cli.client import Api

PLAN = {
    "Policy": "Rolling",
    "Downtime": False,
    "Notes": [],
    "Steps": [{"Key": "fetch", "Kind": "Fetch", "Slots": list(INSTANCES), "Words": "Bring bundle and dependencies"}],
}
DOWNTIME = PLAN | {"Downtime": True, "Notes": ["Stop-first: the web process listens on port 8000 whatever PORT says."]}


def first(run: Run, *words: str) -> str:
    """Deploy for the first time; the version's label."""
    done = run("deploy", "--json", *words)
    assert done.status == 0, done.err
    return str(done.json["version"])


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


def test_failure_names_cause_and_remedy(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.frames = going_wrong()
    done = run("deploy", "--json")
    assert done.status == 1
    assert done.json["outcome"] == "failed"
    assert done.json["error"]["last_lines"][-1] == "ModuleNotFoundError: No module named 'xgboost'"
    cause, remedy = done.err.splitlines()[-2:]
    assert cause == (
        "Error: The deployment of shop-dev failed. Activate failed on i-2: the process ended before it listened "
        "(command: gunicorn application:application) with exit status 3."
    )
    assert remedy == "Remedy: Add xgboost to requirements.txt."


def test_abort_by_somebody_else_is_a_failure(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.frames = going_wrong("aborted")
    done = run("deploy")
    assert done.status == 1
    assert "The deployment of shop-dev was aborted and the environment is as it was before." in done.err


def test_downtime_wants_consent(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.plan = DOWNTIME
    refused = run("deploy", "--yes")
    assert refused.status == 3
    assert "Stop-first: the web process listens on port 8000" in refused.err
    assert "--allow-downtime" in refused.err
    assert not toy.called("UpdateEnvironment")
    assert run("deploy", "--allow-downtime").status == 0
    assert len(toy.called("UpdateEnvironment")) == 1


def test_downtime_can_be_agreed_to_once_for_all(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.settings["shop-dev"]["beanpole:deployment", "AllowDowntime"] = "true"
    toy.plan = DOWNTIME
    assert run("deploy").status == 0


def test_downtime_is_asked_about_at_a_terminal(served: Served, toy: Toy, shop: Path, at_terminal: Run) -> None:
    deployed_before(toy, shop)
    toy.plan = DOWNTIME
    done = at_terminal("deploy", types="n\n")
    assert done.status == 3
    assert "Requests will fail for a while. Deploy all the same? [y/N]" in done.out
    assert not toy.called("UpdateEnvironment")


def test_rehearsal_leaves_nothing_behind(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.plan = PLAN
    remembered = (shop / ".elasticbeanstalk/config.yml").read_text()
    done = run("deploy", "--dry-run")
    assert done.status == 0
    assert "  1. Bring bundle and dependencies" in done.out
    assert toy.versions["shop"] == {}
    assert not toy.called("UpdateEnvironment")
    assert (shop / ".elasticbeanstalk/config.yml").read_text() == remembered


def test_rehearsal_says_what_preflight_would_find(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.plan, toy.findings = PLAN, ["i-1, i-2: the disk has 3 MB free and the release needs 200 MB"]
    done = run("deploy", "--dry-run")
    assert done.status == 0
    assert done.err == f"In the way: {toy.findings[0]}\n"
    assert run("deploy", "--dry-run", "--json").json["findings"] == toy.findings


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


STRANGE = "The environment shop-dev exists already, and this folder has not deployed to it"


def test_an_environment_of_another_folder_of_the_same_name_is_not_replaced(
    served: Served, toy: Toy, shop: Path, run: Run
) -> None:
    toy.add_environment("shop-dev")
    for words in (["deploy"], ["deploy", "--dry-run"], ["deploy", "--yes"]):
        done = run(*words)
        assert done.status == 3
        assert done.err == f"Error: {STRANGE}.\nRemedy: Say --environment shop-dev, or --application another.\n"
    assert not toy.objects
    assert not toy.called("UpdateEnvironment")
    assert run("deploy", "--environment", "shop-dev").status == 0
    assert "nothing was touched" in run("deploy").out  # the folder remembers it now


def test_whoever_names_the_application_means_its_environment(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    toy.add_environment("shop-dev")
    assert run("deploy", "--application", "shop").status == 0
    assert len(toy.called("UpdateEnvironment")) == 1


def test_an_environment_of_another_folder_is_asked_about_at_a_terminal(
    served: Served, toy: Toy, shop: Path, at_terminal: Run
) -> None:
    toy.add_environment("shop-dev")
    toy.plan = PLAN
    rehearsed = at_terminal("deploy", "--dry-run")
    assert rehearsed.status == 0
    assert f"{STRANGE}: a deployment asks first." in rehearsed.out
    for answer in ("", "n\n", "\n"):
        assert at_terminal("deploy", types=answer).status == 3
    assert not toy.called("UpdateEnvironment")
    agreed = at_terminal("deploy", types="y\n")
    assert f"{STRANGE}. Deploy to it all the same? [y/N]" in agreed.out
    assert agreed.status == 0


def test_a_new_branch_does_not_deploy_to_the_environment_of_another(
    served: Served, toy: Toy, shop: Path, git: Callable[..., str], run: Run
) -> None:
    first(run)
    toy.add_environment("shop-live")
    git("checkout", "-q", "-b", "feature")
    assert "no default environment for the branch feature" in run("open").err
    for words in (["deploy"], ["deploy", "--dry-run"]):
        done = run(*words)
        assert done.status == 3
        assert "and the branch feature of this folder has not deployed to it" in done.err


@pytest.mark.parametrize(("words", "remedy"), [([], "--application"), (["--application", "東京"], "--environment")])
def test_a_folder_of_whose_name_nothing_can_be_made(
    served: Served, toy: Toy, shop: Path, run: Run, monkeypatch: pytest.MonkeyPatch, words: list[str], remedy: str
) -> None:
    shop.rename(shop.with_name("東京"))
    monkeypatch.chdir(shop.with_name("東京"))
    done = run("deploy", *words)
    assert done.status == 2
    assert f"Remedy: Say {remedy} NAME." in done.err
    assert not toy.objects


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


def test_more_instances_than_the_machine_has_processors_for(
    served: Served, toy: Toy, shop: Path, run: Run, at_terminal: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd, "cpus", lambda: 1)
    words = "999 instances are more than 4 for each of the 1 CPUs of this machine"
    done = run("deploy", "--instances", "999")
    assert done.status == 2
    assert f"Error: {words}" in done.err
    rehearsed = run("deploy", "--instances", "999", "--dry-run")
    assert rehearsed.status == 0
    assert f"Warning: {words}" in rehearsed.err
    assert at_terminal("deploy", "--instances", "999", types="").status == 3
    assert not toy.objects
    assert run("deploy", "--instances", "999", "--yes").status == 0


def test_one_file_is_one_file(served: Served, shop: Path, run: Run) -> None:
    (shop / "requirements.txt").unlink()
    assert run("deploy").out.startswith("1 file, ")


def test_rehearsal_of_a_first_use(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    done = run("deploy", "--dry-run", "--json", "--instances", "2")
    assert done.status == 0
    assert done.json["environment"] == "shop-dev"
    words = [step["words"] for step in done.json["plan"]["steps"]]
    assert words[0] == "Launch 2 instances"
    assert "Start the new release beside the old one and switch (batch 1 of 1: 2 instances)" in words
    assert f"Plan: AllAtOnce, {len(words)} steps on 2 instances" in done.err
    assert "would create the environment shop-dev of the application shop (Python 3.12)" in done.err
    assert not toy.called("CreateEnvironment")
    assert not toy.objects


def test_rehearsal_of_a_first_use_refuses_what_cannot_be_deployed(
    served: Served, toy: Toy, shop: Path, run: Run
) -> None:
    (shop / "application.py").rename(shop / "app.py")
    done = run("deploy", "--dry-run")
    assert done.status == 1
    assert "The source bundle cannot be deployed: The bundle has nothing to start: no Procfile" in done.err
    assert "the bundle has app.py" in done.err
    assert run("deploy", "--dry-run", "--option", "aws:autoscaling:asg:MinSize=many").status == 2
    (shop / "Procfile").write_text("web: gunicorn app:app\n")
    assert run("deploy", "--dry-run").status == 0
    (shop / ".ebextensions").mkdir()
    (shop / ".ebextensions/a.config").write_text("option_settings: [")
    broken = run("deploy", "--dry-run")
    assert broken.status == 1
    assert "a.config" in broken.err
    assert not toy.objects


def test_rehearsal_of_a_first_use_looks_into_a_zip(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    with zipfile.ZipFile(shop / "built.zip", "w") as archive:
        archive.writestr("README", "Nothing else.\n")
    assert "nothing to start" in run("deploy", "--dry-run", "built.zip").err
    with zipfile.ZipFile(shop / "built.zip", "w") as archive:
        archive.writestr("Procfile", "web: true\n")
    assert run("deploy", "--dry-run", "built.zip").status == 0
    (shop / "built.zip").write_text("no zip")
    assert "is not a zip" in run("deploy", "--dry-run", "built.zip").err


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


def test_a_label_stands_for_one_content(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    assert first(run, "--label", "v1") == "v1"
    (shop / "application.py").write_text("application = repr\n")
    done = run("deploy", "--label", "v1")
    assert done.status == 3
    assert "The version v1 is there already, with other content." in done.err


def test_busy_environment(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop, Status="Updating")
    done = run("deploy")
    assert done.status == 3
    assert "busy: Updating" in done.err
    assert "beanpole abort shop-dev" in done.err
    assert not toy.objects


def test_environment_of_another_application(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    toy.add_environment("shop-dev", application="bakery")
    done = run("deploy")
    assert done.status == 3
    assert "belongs to the application bakery" in done.err


def test_settings_that_the_api_refuses_are_wrong_usage(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    done = run("deploy", "--option", "a:b:Nonsense=1")
    assert done.status == 2
    assert "Error: Configuration validation exception: Nonsense." in done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--env", "COLOUR"], "--env takes NAME=VALUE"),
        (["--option", "Name=1"], "--option takes NAMESPACE:NAME=VALUE"),
        (["--environment", "x"], "'x' is no name for an environment"),
        (["--application", "a/b"], "'a/b' is no name for an application"),
        (["--label", "a/b"], "'a/b' is no label for a version"),
        (["--policy", "immutable"], "immutable"),
        (["--instances", "0"], "--instances"),
        (["nowhere"], "There is no folder nowhere."),
    ],
)
def test_wrong_usage(served: Served, toy: Toy, shop: Path, run: Run, words: list[str], said: str) -> None:
    done = run("deploy", *words)
    assert done.status == 2
    assert said in done.err
    assert not toy.objects


def test_unknown_python(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    done = run("deploy", "--python", "2.7")
    assert done.status == 3
    assert "The control plane has no Python 2.7" in done.err
    assert "3.11, 3.12" in done.err


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


def test_survives_a_restart_of_the_control_plane(
    served: Served, toy: Toy, shop: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed_before(toy, shop)
    noticed = threading.Event()
    look_again = Api.forget_endpoint

    def forget(api: Api) -> None:
        noticed.set()
        look_again(api)

    def restart() -> None:
        served.stop()
        assert noticed.wait(20)
        toy.operations[-1].frames = going_well()
        served.start()  # on another port

    thread = threading.Thread(target=restart)

    def kill() -> None:
        served.begin_to_stop()
        thread.start()

    toy.at_look[2] = kill
    toy.frames = [frame("forward", "running", "waiting")]
    monkeypatch.setattr(Api, "forget_endpoint", forget)
    done = run("deploy")
    thread.join(20)
    assert done.status == 0, done.err
    assert "Applications keep serving. Waiting up to 60 s for it." in done.err
    assert "The control plane answers again." in done.err
    assert done.out.count("update is starting.") == 1


def test_gives_up_when_the_control_plane_stays_away(
    served: Served, toy: Toy, shop: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployed_before(toy, shop)
    toy.frames = [frame("forward", "running", "waiting")]
    monkeypatch.setattr(follow, "PATIENCE", 0.05)
    thread = threading.Thread(target=served.stop)

    def kill() -> None:
        served.begin_to_stop()
        thread.start()

    toy.at_look[2] = kill
    done = run("deploy")
    thread.join(20)
    assert done.status == 4
    assert "What was begun is continued, or undone, when it runs again." in done.err


def test_ctrl_c_leaves_the_deployment_alone(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.frames = [frame("forward", "running", "waiting")]
    toy.at_look[2] = lambda: os.kill(os.getpid(), signal.SIGINT)
    done = run("deploy")
    assert done.status == 130
    assert "the operation goes on" in done.err
    assert "beanpole events -f shop-dev" in done.err
    assert "beanpole abort shop-dev" in done.err
    assert not toy.called("AbortEnvironmentUpdate")


def test_limit_of_following(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.frames = [frame("forward", "running", "waiting")]
    done = run("deploy", "--timeout", "1")
    assert done.status == 1
    assert "It is not over after 1 s" in done.err


def test_drawn_at_a_terminal(served: Served, toy: Toy, shop: Path, at_terminal: Run) -> None:
    deployed_before(toy, shop)
    toy.plan = PLAN
    toy.frames = going_wrong()
    done = at_terminal("deploy")
    assert done.status == 1
    assert "✗ Activate failed on i-2: the process ended before it listened" in done.out
    assert "ModuleNotFoundError: No module named 'xgboost'" in done.out
    assert "Add xgboost to requirements.txt." in done.out
    assert "\x1b[" in done.out
    assert "Plan: Rolling" in done.out
    assert "  1. Bring" not in done.out
