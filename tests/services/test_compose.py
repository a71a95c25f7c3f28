"""Groups of environments from manifests, through the API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.policies import plan as plans
from beanpole.store import operations

PROPERTIES = "aws:elasticbeanstalk:application:environment"
STACK = "64bit Amazon Linux 2023 v4.1.0 running Python 3.11"


@pytest.fixture(scope="module")
def sessions() -> botocore.session.Session:
    return session()


@pytest.fixture
def site(tmp_path: Path, sessions: botocore.session.Session) -> Iterator[ApiSite]:
    with api_site(tmp_path, sessions) as made:
        yield made


@pytest.fixture
def eb(site: ApiSite) -> Any:
    return site.client()


def version(site: ApiSite, label: str, manifest: str | None, *, process: bool = True, **files: str) -> Any:
    bundle = {"application.py": "application = None\n", "VERSION": label, **files}
    if manifest is not None:
        bundle["env.yaml"] = manifest
    return site.client().create_application_version(
        ApplicationName="shop",
        VersionLabel=label,
        AutoCreateApplication=True,
        SourceBundle=site.upload(f"{label}.zip", bundle),
        Process=process,
    )["ApplicationVersion"]


def manifest(name: str, links: dict[str, str] | None = None, more: str = "") -> str:
    linked = f"EnvironmentLinks: {json.dumps(links)}\n" if links else ""
    return f"EnvironmentName: {name}\nSolutionStack: {STACK}\n{linked}{more}"


def compose(eb: Any, *labels: str, group: str | None = "dev") -> Any:
    params = {"GroupName": group} if group is not None else {}
    return eb.compose_environments(ApplicationName="shop", VersionLabels=list(labels), **params)


def environments(eb: Any) -> dict[str, dict[str, Any]]:
    return {each["EnvironmentName"]: each for each in eb.describe_environments()["Environments"]}


def properties(eb: Any, name: str) -> dict[str, str]:
    found = eb.describe_configuration_settings(ApplicationName="shop", EnvironmentName=name)["ConfigurationSettings"]
    return {
        each["OptionName"]: each.get("Value", "")
        for each in found[0]["OptionSettings"]
        if each["Namespace"] == PROPERTIES
    }


def test_a_group_is_made_and_then_gets_versions(site: ApiSite, eb: Any) -> None:
    settings = f"OptionSettings: {{'{PROPERTIES}': {{COLOUR: green}}}}\nCName: front-of-shop+\n"
    version(site, "f1", manifest("front+", {"WORKER": "worker+", "DATA": "data"}, settings))
    version(site, "w1", manifest("worker+"))
    version(site, "d1", manifest("data"))
    answer = compose(eb, "f1", "w1", "d1")
    order = [each["EnvironmentName"] for each in answer["Environments"]]
    assert sorted(order) == ["data", "front-dev", "worker-dev"]
    assert order[-1] == "front-dev", "dependencies come first"
    assert {each["Status"] for each in answer["Environments"]} == {"Launching"}
    request = answer["ResponseMetadata"]["RequestId"]
    told = {each["EnvironmentName"] for each in eb.describe_events(RequestId=request)["Events"]}
    assert told == set(order)
    site.end_operations()
    made = environments(eb)
    assert made["front-dev"]["CNAME"] == "front-of-shop-dev.localhost"
    assert made["front-dev"]["EnvironmentLinks"] == [
        {"LinkName": "DATA", "EnvironmentName": "data"},
        {"LinkName": "WORKER", "EnvironmentName": "worker-dev"},
    ]
    assert properties(eb, "front-dev") == {
        "COLOUR": "green",
        "DATA": "data.localhost",
        "WORKER": "worker-dev.localhost",
    }

    # What the users of the environments changed meanwhile stays: an existing one gets the version.
    eb.update_environment(
        EnvironmentName="front-dev",
        OptionSettings=[{"Namespace": PROPERTIES, "OptionName": "COLOUR", "Value": "red"}],
    )
    site.end_operations()
    version(site, "f2", manifest("front+", {"WORKER": "worker+"}, settings))
    version(site, "w2", manifest("worker+"))
    answer = compose(eb, "f2", "w2")
    assert {each["Status"] for each in answer["Environments"]} == {"Updating"}
    site.end_operations()
    made = environments(eb)
    assert (made["front-dev"]["VersionLabel"], made["worker-dev"]["VersionLabel"]) == ("f2", "w2")
    assert made["data"]["VersionLabel"] == "d1"
    assert properties(eb, "front-dev")["COLOUR"] == "red"
    assert made["front-dev"]["EnvironmentLinks"] == [{"LinkName": "WORKER", "EnvironmentName": "worker-dev"}]

    words = refused(eb.terminate_environment, EnvironmentName="worker-dev")
    assert words[0] == "InvalidParameterValue"
    assert words[1].startswith("front-dev depends on environment worker-dev by a link.")
    eb.terminate_environment(EnvironmentName="worker-dev", ForceTerminate=True)


def test_each_waits_for_those_that_it_is_linked_to(site: ApiSite, eb: Any) -> None:
    version(site, "f1", manifest("front+", {"W": "worker+"}))
    version(site, "w1", manifest("worker+", {"D": "data"}))
    version(site, "d1", manifest("data"))
    ids = {each["EnvironmentId"]: each["EnvironmentName"] for each in compose(eb, "f1", "w1", "d1")["Environments"]}
    with site.control.database.read() as db:
        found = {ids[each.environment_id]: each for each in operations.open_of_users(db)}
    first = {name: plans.decode(each.plan).steps[0] for name, each in found.items()}
    assert {name: (type(step).__name__, step.slots) for name, step in first.items()} == {
        "front-dev": ("After", ("worker-dev",)),
        "worker-dev": ("After", ("data",)),
        "data": ("After", (plans.ANSWER,)),
    }
    assert found["front-dev"].deadline_at > found["worker-dev"].deadline_at > found["data"].deadline_at


def test_links_to_an_environment_outside_of_the_call(site: ApiSite, eb: Any) -> None:
    site.environment("data", "v1")
    version(site, "f1", manifest("front", {"DATA": "data"}))
    compose(eb, "f1", group=None)
    site.end_operations()
    assert properties(eb, "front") == {"DATA": "data.localhost"}
    version(site, "f2", manifest("front", {"DATA": "nobody"}))
    words = "No Environment found for EnvironmentName = 'nobody'."
    assert refused(compose, eb=eb) == ("MissingParameter", "VersionLabels must name at least one version.")
    assert refuse(eb, "f2") == ("InvalidParameterValue", words)


def refuse(eb: Any, *labels: str, group: str | None = "dev") -> tuple[str, str]:
    return refused(lambda: compose(eb, *labels, group=group))


def test_manifests_that_make_no_group(site: ApiSite, eb: Any) -> None:
    version(site, "none", None)
    version(site, "raw", manifest("front"), process=False)
    version(site, "nameless", f"SolutionStack: {STACK}\n")
    version(site, "bare", "EnvironmentName: front\n")
    version(site, "plus", manifest("front+"))
    version(site, "long", manifest("a-name-of-thirty-nine-characters-is-it+"))
    version(site, "circle", manifest("back", {"F": "front"}))
    version(site, "round", manifest("front", {"B": "back"}))
    version(site, "again", manifest("front"))
    version(site, "worker", manifest("worker", more="EnvironmentTier: {Name: Worker, Type: SQS/HTTP}\n"))
    version(site, "cloud", "EnvironmentName: front\nSolutionStack: 64bit Amazon Linux 2023 v4.1.0 running PHP 8.1\n")
    cases = {
        ("none",): "has no env.yaml in the top folder of its bundle",
        ("raw",): "Application Version raw is UNPROCESSED: create it with Process=true",
        ("nameless",): "its env.yaml has no EnvironmentName",
        ("bare",): "Unable to determine base for template pack (no solution stack)",
        ("long",): "failed to satisfy constraint: Member must have 4 to 40",
        ("circle", "round"): "The environments are linked in a circle: ",
        ("again", "round"): "Two of the versions are for one environment, front.",
        ("plus", "circle"): "No Environment found for EnvironmentName = 'front'.",
        ("worker",): "Tier Worker is not built yet",
        ("cloud",): "No Solution Stack named '64bit Amazon Linux 2023 v4.1.0 running PHP 8.1' found.",
        ("plus", "nobody"): "No Application Version named 'nobody' found.",
    }
    for labels, why in cases.items():
        code, words = refuse(eb, *labels)
        assert (code, why in words) == ("InvalidParameterValue", True), (labels, words)
    assert refuse(eb, "plus", group=None)[0] == "MissingParameter"
    assert "1 to 19 letters" in refuse(eb, "plus", group="-dev")[1]
    assert environments(eb) == {}


def test_what_is_processed_and_does_not_pass(site: ApiSite, eb: Any) -> None:
    """The version is there and says so: whoever waits for it is told."""
    broken = version(site, "broken", "EnvironmentName: [")
    assert broken["Status"] == "FAILED"
    told = [each["Message"] for each in reversed(eb.describe_events(VersionLabel="broken")["Events"])]
    assert "Finished processing application version broken: FAILED." in told
    assert any(message.startswith("env.yaml, line 1: not valid YAML") for message in told)
    assert refuse(eb, "broken")[1].startswith("Application Version broken is FAILED")
    files = {".ebextensions/a.config": "option_settings: {aws:elasticbeanstalk:command: {BatchSize: none}}"}
    assert version(site, "files", None, **files)["Status"] == "FAILED"
    assert version(site, "fine", None)["Status"] == "PROCESSED"
    assert version(site, "raw", "EnvironmentName: [", process=False)["Status"] == "UNPROCESSED"


def test_nothing_is_begun_when_one_of_the_group_is_not_ready(site: ApiSite, eb: Any) -> None:
    site.environment("worker-dev", "v1")
    eb.update_environment(
        EnvironmentName="worker-dev", OptionSettings=[{"Namespace": PROPERTIES, "OptionName": "A", "Value": "1"}]
    )
    version(site, "f1", manifest("front+"))
    version(site, "w1", manifest("worker+"))
    assert "Must be Ready" in refuse(eb, "f1", "w1")[1]
    assert list(environments(eb)) == ["worker-dev"]


def test_a_decision_that_another_change_overtakes_is_made_anew(site: ApiSite, eb: Any) -> None:
    site.environment("worker-dev", "v1")
    version(site, "w1", manifest("worker+"))

    def other() -> None:
        eb.update_environment(
            EnvironmentName="worker-dev", OptionSettings=[{"Namespace": PROPERTIES, "OptionName": "A", "Value": "1"}]
        )
        site.end_operations()

    site.meanwhile.append(other)
    compose(eb, "w1")
    site.end_operations()
    assert environments(eb)["worker-dev"]["VersionLabel"] == "w1"
    assert properties(eb, "worker-dev") == {"A": "1"}


def test_an_environment_of_another_application_is_in_the_way(site: ApiSite, eb: Any) -> None:
    site.environment("front-dev", "v1")
    eb.create_application(ApplicationName="other")
    bundle = site.upload("o.zip", {"application.py": "application = None\n", "env.yaml": manifest("front+")})
    of = {"ApplicationName": "other", "VersionLabel": "o1"}
    eb.create_application_version(SourceBundle=bundle, Process=True, **of)
    code, words = refused(eb.compose_environments, ApplicationName="other", VersionLabels=["o1"], GroupName="dev")
    assert (code, words) == ("InvalidParameterValue", "Environment front-dev already exists.")
