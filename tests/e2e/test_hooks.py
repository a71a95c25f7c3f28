"""Platform hooks: what runs around a deployment, and what becomes of the fleet when one of them fails."""

from __future__ import annotations

from pathlib import Path

import pytest
from beanpole_site import Settings, Site, app, options_of, wait_for
from eb_folder import EbFolder, whole
from stories import BRISK, COMMAND, NOT_DEPLOYED, ONE_BY_ONE, UPDATED, lost, properties, rolled_back
from test_crashes import entries

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

TELL = """#!/bin/sh
place=$(dirname "$0")
echo "$(basename "$(dirname "$place")")/$(basename "$place")/$(basename "$0")" >> "$MARKS/$BEANPOLE_ADDRESS"
"""
COMMANDS = """
container_commands:
  01_all: {command: echo command >> "$MARKS/$BEANPOLE_ADDRESS"}
  02_leader: {command: echo leader >> "$MARKS/$BEANPOLE_ADDRESS", leader_only: true}
"""
STAGES = ("prebuild", "predeploy", "postdeploy")
WAITS = f'{TELL}touch "$MARKS/reached"\nwhile [ -e "$MARKS/hold" ]; do sleep 0.05; done\n'


def files(version: str, **more: str) -> dict[str, str]:
    """The probe with a hook of each kind for each stage, all of which tell that they ran. `more` replaces some."""
    hooks = {f".platform/{kind}/{stage}/01.sh": TELL for kind in ("hooks", "confighooks") for stage in STAGES}
    return app("probe", version, **(hooks | {".ebextensions/01.config": COMMANDS} | more))


def postdeploy(text: str) -> dict[str, str]:
    return {".platform/hooks/postdeploy/02.sh": text}


FAILS_ON_THE_SECOND = f"""{TELL}
mkdir "$MARKS/first" 2>/dev/null && exit 0
echo "GET http://$BEANPOLE_ADDRESS:$PORT/report answered 500"
exit 3
"""


def serves_v1(site: Site, *more: tuple[str, str, str], instances: int = 1) -> None:
    marks = site.root / "marks"
    marks.mkdir()
    settings: Settings = (*BRISK, *ONE_BY_ONE, *properties(MARKS=marks), *more)
    created = site.create(files("v1"), instances=instances, settings=settings)
    assert created["Outcome"] == "succeeded", created["Error"]


def told(site: Site) -> list[list[str]]:
    """What ran on each instance since the last time, in order; the longer lists first."""
    found = [path.read_text().split() for path in (site.root / "marks").glob("127.*")]
    for path in (site.root / "marks").glob("127.*"):
        path.unlink()
    return sorted(found, key=len, reverse=True)


def ran(kind: str = "hooks", *, commands: tuple[str, ...] = ("command",)) -> list[str]:
    return [f"{kind}/prebuild/01.sh", *commands, f"{kind}/predeploy/01.sh", f"{kind}/postdeploy/01.sh"]


def test_hooks_run_in_order_and_one_that_fails_after_the_switch_brings_the_fleet_back(site: Site) -> None:
    serves_v1(site, instances=2)
    assert told(site) == [ran(commands=("leader", "command")), ran()]

    with site.load(rate=50, path="/version", idle=2) as run:
        bad = site.deploy("bad", files("bad", **postdeploy(FAILS_ON_THE_SECOND)))
    assert run.report["failed"] == 0, lost(run.report)
    assert bad["Outcome"] == "failed"
    error = bad["Error"]
    assert (error["Stage"], error["Command"], error["ExitStatus"]) == (
        "postdeploy",
        ".platform/hooks/postdeploy/02.sh",
        3,
    )
    assert error["Cause"] == "hook 02.sh ended with exit status 3"
    assert error["Remedy"] == "See eb-hooks.log on the instance for the whole output."
    (line,) = error["LastLines"]
    assert line.endswith("/report answered 500")

    assert site.serving() == {"v1"}
    environment = site.environment()
    assert (environment["Status"], environment["VersionLabel"]) == ("Ready", "v1")
    said = site.events(RequestId=bad["RequestId"])
    assert said[-1] == NOT_DEPLOYED
    assert f"[Instance: {error['Instance']}] postdeploy failed: hook 02.sh ended with exit status 3." in " ".join(said)
    assert "Every instance serves release 1 (version v1)." in said
    both = [*ran(), "hooks/postdeploy/02.sh"]
    leader = [*ran(commands=("leader", "command")), "hooks/postdeploy/02.sh"]
    assert told(site) == [leader, both], "the way back ran something"
    tails = site.client("beanpole").tail_logs(EnvironmentName="shop-dev")["Files"]
    logs = [each["Text"] for each in tails if each["Name"].endswith("eb-hooks.log")]
    assert len(logs) == 2
    assert any(line in text for text in logs)


@pytest.mark.long
def test_a_change_of_settings_runs_the_confighooks_and_a_return_or_a_restart_runs_none(site: Site) -> None:
    serves_v1(site, instances=2)
    told(site)
    changed = site.client().update_environment(
        EnvironmentName="shop-dev", OptionSettings=options_of(properties(COLOR="red"))
    )
    assert site.ended(request_id=changed["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
    assert told(site) == [ran("confighooks")] * 2

    assert site.deploy("v2", files("v2"), settings=properties(COLOR="blue"))["Outcome"] == "succeeded"
    assert told(site) == [ran(commands=("leader", "command")), ran()], "a version and settings are a deployment"

    assert rolled_back(site)["Outcome"] == "succeeded"
    restarted = site.client().restart_app_server(EnvironmentName="shop-dev")
    assert site.ended(request_id=restarted["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
    assert told(site) == []

    group = "aws:autoscaling:asg"
    larger = ((group, "MinSize", "3"), (group, "MaxSize", "3"))
    grown = site.client().update_environment(EnvironmentName="shop-dev", OptionSettings=options_of(larger))
    assert site.ended(request_id=grown["ResponseMetadata"]["RequestId"])["Outcome"] == "succeeded"
    assert told(site) == [ran()], "a new instance is deployed to"

    fails = {".platform/confighooks/postdeploy/02.sh": "#!/bin/sh\nexit 1\n"}
    assert site.deploy("v3", files("v3", **fails))["Outcome"] == "succeeded"
    refused = site.client().update_environment(
        EnvironmentName="shop-dev", OptionSettings=options_of(properties(COLOR="green"))
    )["ResponseMetadata"]["RequestId"]
    assert site.ended(request_id=refused)["Outcome"] == "failed"
    assert site.events(RequestId=refused)[-1] == "Failed to deploy configuration."


@pytest.mark.long
@pytest.mark.parametrize("policy", ["AllAtOnce", "RollingWithAdditionalBatch", "Immutable", "TrafficSplitting"])
def test_whatever_the_policy_a_hook_that_fails_after_the_switch_costs_no_request(site: Site, policy: str) -> None:
    more: Settings = (
        (COMMAND, "DeploymentPolicy", policy),
        ("aws:elasticbeanstalk:environment", "LoadBalancerType", "application"),
        ("aws:elasticbeanstalk:healthreporting:system", "SystemType", "enhanced"),
        ("beanpole:canary", "EvaluationSeconds", "1"),
    )
    serves_v1(site, *more, instances=2)
    with site.load(rate=50, path="/version", idle=2) as run:
        bad = site.deploy("bad", files("bad", **postdeploy(FAILS_ON_THE_SECOND)))
    assert run.report["failed"] == 0, lost(run.report)
    assert (bad["Outcome"], bad["Error"]["Stage"]) == ("failed", "postdeploy")
    assert site.serving() == {"v1"}
    found = site.client().describe_environment_resources(EnvironmentName="shop-dev")["EnvironmentResources"]
    assert len(found["Instances"]) == 2


@pytest.mark.long
@pytest.mark.parametrize("stage", ["prebuild", "predeploy"])
def test_a_version_whose_hook_fails_before_the_switch_gets_no_request(site: Site, stage: str) -> None:
    serves_v1(site)
    with site.load(rate=50, path="/version", idle=2) as run:
        bad = site.deploy(
            "bad", files("bad", **{f".platform/hooks/{stage}/01.sh": "#!/bin/sh\necho no disk\nexit 9\n"})
        )
    assert (run.report["failed"], set(run.report["versions"])) == (0, {"v1"})
    error = bad["Error"]
    assert (bad["Outcome"], error["Stage"], error["ExitStatus"], error["LastLines"]) == (
        "failed",
        stage,
        9,
        ["no disk"],
    )
    assert site.deploy("v2", files("v2"))["Outcome"] == "succeeded"


@pytest.mark.long
def test_an_abort_ends_a_hook_and_a_dead_control_plane_does_not(site: Site) -> None:
    serves_v1(site)
    marks = site.root / "marks"
    told(site)
    (marks / "hold").touch()
    asked = site.begin("v2", files("v2", **postdeploy(WAITS)))
    wait_for("the hook", (marks / "reached").exists)
    site.client().abort_environment_update(EnvironmentName="shop-dev")
    assert site.ended(request_id=asked)["Outcome"] == "aborted"
    assert site.serving() == {"v1"}, "\n".join(site.events(RequestId=asked))
    told(site)

    (marks / "reached").unlink()
    asked = site.begin("v2")
    wait_for("the hook", (marks / "reached").exists)
    site.kill()
    site.start()
    wait_for("the operation goes on", lambda: entries(site, asked))
    (marks / "hold").unlink()
    assert site.ended(request_id=asked)["Outcome"] == "succeeded", site.log()
    assert told(site) == [[*ran(commands=("leader", "command")), "hooks/postdeploy/02.sh"]], "nothing ran twice"
    assert site.serving() == {"v2"}


@pytest.mark.long
def test_the_real_eb_shows_the_hook_that_failed_and_its_output(site: Site, tmp_path: Path) -> None:
    serves_v1(site)
    folder = EbFolder(
        site, tmp_path / "shop", files("v2", **postdeploy("#!/bin/sh\necho no answer of the queue\nexit 5\n"))
    )
    folder.link()
    broken = folder.eb("deploy", "-l", "broken", expected=4)
    assert whole(site, broken, EnvironmentName="shop-dev")[-1] == NOT_DEPLOYED
    (blame,) = (message for severity, message in broken.events[:-1] if severity == "ERROR")
    for words in ("postdeploy failed: hook 02.sh ended with exit status 5", ".platform/hooks/postdeploy/02.sh"):
        assert words in blame
    assert any("no answer of the queue" in message for message in broken.messages)
    logs = folder.eb("logs").text
    assert "eb-hooks.log" in logs
    assert "no answer of the queue" in logs

    folder.write(postdeploy(TELL))
    assert whole(site, folder.eb("deploy", "-l", "good"), EnvironmentName="shop-dev")[-1] == UPDATED
