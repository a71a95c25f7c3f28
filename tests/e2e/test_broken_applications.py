"""Versions that cannot work: none gets a request, the old one serves throughout, and what to do is said.

One environment for all cases. After each the next good version is accepted at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from beanpole_site import Settings, Site, app
from stories import (
    BRISK,
    DEPLOYMENT,
    NOT_DEPLOYED,
    PROCESS,
    PROPERTIES,
    UPDATED,
    in_force,
    lost,
    properties,
    refused,
    shared_site,
)

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("broken applications")]


@dataclass(frozen=True)
class Broken:
    """A version and what is said of it. `lines` stand among the last lines, in this order."""

    files: dict[str, str]
    stage: str
    cause: str
    remedy: str
    settings: Settings = ()
    command: str = ""
    status: int | None = None
    lines: list[str] = field(default_factory=list)
    on_instance: bool = True


def commands(text: str) -> dict[str, str]:
    return {".ebextensions/01.config": f"container_commands:\n  01_it:\n    command: {text}\n"}


START = "python server.py"
SOON = ((DEPLOYMENT, "StartTimeout", "3"),)
"""For those that are waited for in vain."""

CASES = {
    "a pin that does not exist": Broken(
        app("wrong-pin", "bad"),
        stage="Fetch",
        cause="flask==99.99.99",
        remedy="Change the requirement to a version that exists",
        lines=["flask==99.99.99"],
        on_instance=False,
    ),
    "an import that fails": Broken(
        app("exits-at-once", "bad"),
        stage="start",
        cause="web ended after",
        remedy="No module named 'tensorflow_addons': add it to requirements.txt",
        command=START,
        status=1,
        lines=["loading the model", "ModuleNotFoundError: No module named 'tensorflow_addons'"],
    ),
    "an exit status": Broken(
        app("exits-at-once", "bad"),
        settings=properties(HOW="exit"),
        stage="start",
        cause="(exit status 3) before it was ready on port",
        remedy="log",
        command=START,
        status=3,
        lines=["cannot go on: the model file is missing"],
    ),
    "a process that never listens": Broken(
        app("never-listens", "bad"),
        settings=SOON,
        stage="start",
        cause="within 3 s; it listens on no port",
        remedy="raise the deadline",
        command=START,
        lines=["loading the model, this may take a while"],
    ),
    "a process that listens elsewhere": Broken(
        app("never-listens", "bad"),
        settings=(*SOON, *properties(LISTEN_ELSEWHERE="1")),
        stage="start",
        cause="it listens on 127.0.0.1:",
        remedy="the environment variable PORT",
        command=START,
        lines=["listening on port"],
    ),
    "a health path that answers 500": Broken(
        app("health-500", "bad"),
        settings=(*SOON, (PROCESS, "HealthCheckPath", "/health")),
        stage="start",
        cause="GET /health answered 500 Internal Server Error",
        remedy="The path must answer 200",
        command=START,
        lines=["the model answers NaN"],
    ),
    "a container command that fails": Broken(
        app("probe", "bad", **commands("echo collecting; echo no such folder >&2; exit 7")),
        stage="Prepare",
        cause="command 01_it ended with exit status 7",
        remedy="log",
        command="echo collecting; echo no such folder >&2; exit 7",
        status=7,
        lines=["collecting", "no such folder"],
    ),
    "a leader-only command that fails": Broken(
        app("probe", "bad", **commands("echo no such table; exit 9\n    leader_only: true")),
        stage="Once",
        cause="command 01_it ended with exit status 9",
        remedy="log",
        command="echo no such table; exit 9",
        status=9,
        lines=["no such table"],
    ),
    "a second process that dies at once": Broken(
        app("probe", "bad", Procfile="web: python server.py\nworker: echo no queue; exit 5\n"),
        stage="switch",
        cause="process worker ended at once (exit status 5)",
        remedy="log",
        command="echo no queue; exit 5",
        status=5,
        lines=["no queue"],
    ),
}


@pytest.fixture(scope="module")
def shop() -> Iterator[Site]:
    with shared_site() as site:
        site.create(app("probe", "good"), instances=2, settings=BRISK)
        yield site


ALIKE = ("an exit status", "a process that listens elsewhere", "a container command that fails")
"""Much like others: among the long tests."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if name in ALIKE else []) for name in CASES]
)
def test_a_broken_version_gets_no_request_and_is_explained(shop: Site, name: str) -> None:
    case = CASES[name]
    old = shop.environment()["VersionLabel"]
    before = in_force(shop)
    serving = shop.serving()
    with shop.load(rate=50, path="/version", idle=2) as run:
        operation = shop.deploy(f"bad: {name}", case.files, settings=case.settings)
    # Where a second process dies, web had passed and was in use for a moment.
    assert set(run.report["versions"]) <= (serving | {"bad"} if case.stage == "switch" else serving)
    assert run.report["failed"] == 0, lost(run.report)
    assert operation["Outcome"] == "failed"
    assert shop.serving() == serving
    environment = shop.environment()
    assert (environment["Status"], environment["VersionLabel"]) == ("Ready", old)
    assert in_force(shop) == before, "settings of a deployment that failed stayed"
    explained(shop, operation, case)

    again = shop.deploy(f"good after {name}", app("probe", f"after {name}"))
    assert again["Outcome"] == "succeeded"
    assert shop.events(RequestId=again["RequestId"])[-1] == UPDATED


def explained(site: Site, operation: dict[str, Any], case: Broken) -> None:
    """In the operation's error, and in the events of the request."""
    error = operation["Error"]
    resources = site.client().describe_environment_resources(EnvironmentName="shop-dev")["EnvironmentResources"]
    instances = [each["Id"] for each in resources["Instances"]]
    assert error["Instance"] in (instances if case.on_instance else [""])
    assert error["Stage"] == case.stage
    assert case.cause in error["Cause"]
    assert case.remedy in error["Remedy"]
    assert error["Command"] == case.command
    assert error.get("ExitStatus") == case.status
    found = [next((line for line in error["LastLines"] if wanted in line), None) for wanted in case.lines]
    assert None not in found, error["LastLines"]

    told = site.events(RequestId=operation["RequestId"])
    assert told[-1] == NOT_DEPLOYED
    assert not any("Completed application deployment" in message for message in told)
    blame = next(message for message in told if " failed: " in message)
    assert blame.startswith(f"[Instance: {error['Instance']}] " if case.on_instance else "Fetch failed: ")
    for part in (case.cause, case.remedy, case.command, f"exit status {case.status}" if case.status else ""):
        assert part in blame
    assert any(case.lines[-1] in message for message in told)
    assert any(message.startswith("Every instance serves release ") for message in told)


def test_the_whole_output_is_in_the_logs_of_the_instance(shop: Site) -> None:
    operation = shop.deploy("for its logs", app("exits-at-once", "bad"))
    files = shop.client("beanpole").tail_logs(EnvironmentName="shop-dev")["Files"]
    mine = [each["Text"] for each in files if each["InstanceId"] == operation["Error"]["Instance"]]
    assert any("ModuleNotFoundError: No module named 'tensorflow_addons'" in text for text in mine)


@pytest.mark.parametrize(
    ("files", "cause"),
    [
        (app("probe", "bad", Procfile="worker: python server.py\n"), "Procfile has no process `web`"),
        (app("probe", "bad", Procfile="just some words\n"), "Line 1 of Procfile is not of the form `name: command`."),
        (app("probe", "bad", Procfile=""), "Procfile names no process."),
        ({f"shop/{name}": text for name, text in app("probe", "bad").items()}, "lies in the folder shop/."),
        ({"app.py": "print()"}, "the bundle has app.py."),
        (app("flask", "bad", **{"requirements.txt": "-r missing.txt\n"}), "missing.txt"),
        (app("probe", "bad", **{".ebextensions/1.config": "a: [b"}), ".ebextensions/1.config"),
    ],
    ids=["no web", "no Procfile syntax", "empty Procfile", "in a folder", "nothing to start", "no include", "no YAML"],
)
def test_what_cannot_be_deployed_is_refused_at_once(shop: Site, files: dict[str, str], cause: str) -> None:
    label = f"refused: {cause[:40]}".replace("/", "-")
    shop.version("shop", label, files)
    before = shop.serving(), len(shop.events(EnvironmentName="shop-dev"))
    code, message = refused(shop.client().update_environment, EnvironmentName="shop-dev", VersionLabel=label)
    assert code in ("InvalidParameterValue", "ConfigurationValidationException")
    assert cause in message
    new = {"ApplicationName": "shop", "EnvironmentName": "other-env", "SolutionStackName": shop.stack()}
    assert refused(shop.client().create_environment, VersionLabel=label, **new) == (code, message)
    assert len(shop.client().describe_environments()["Environments"]) == 1
    assert (shop.serving(), len(shop.events(EnvironmentName="shop-dev"))) == before
    assert shop.environment()["Status"] == "Ready"


def test_a_first_version_that_is_broken_leaves_an_environment_that_a_good_one_repairs(site: Site) -> None:
    settings = (*BRISK, *properties(COLOR="blue"))
    created = site.create(app("exits-at-once", "bad"), instances=2, settings=settings)
    assert created["Outcome"] == "failed"
    assert "tensorflow_addons" in created["Error"]["Remedy"]
    assert site.events(RequestId=created["RequestId"])[-1] == "Failed to launch environment."
    environment = site.environment()
    assert environment["Status"] == "Ready"
    assert environment["Health"] != "Green"
    assert site.get()[0] == 503

    assert site.deploy("v1")["Outcome"] == "failed", "the same once more"
    repaired = site.deploy("v2", app("probe", "v2"))
    assert repaired["Outcome"] == "succeeded", repaired
    assert site.serving() == {"v2"}
    assert site.get()[0] == 200
    assert in_force(site)[PROPERTIES, "COLOR"] == "blue"
