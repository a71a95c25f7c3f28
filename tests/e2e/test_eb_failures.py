"""What goes wrong, as the real eb shows it: its wait ends with a failure, the blame is told, the next command works."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from beanpole_site import Site, app, wait_for
from eb_folder import UPDATED, EbFolder, running, whole

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

BROKEN = {"server.py": "import a_module_that_no_requirement_gives\n"}
SLOW = {"Procfile": "web: sh -c 'sleep 60; python server.py'\n"}
"""Takes longer to start than any test waits."""

REVERTED = "The environment was reverted to the previous configuration setting."
NOT_DEPLOYED = "Failed to deploy application."
NOT_LAUNCHED = "Failed to launch environment."


@pytest.fixture
def folder(site: Site, tmp_path: Path) -> EbFolder:
    """With a one-instance environment `shop-dev` that serves v1, and the next version on disk."""
    site.create(app("probe", "v1"))
    made = EbFolder(site, tmp_path / "shop", app("probe", "v2"))
    made.link()
    return made


def test_a_broken_version_and_the_good_one_right_after(site: Site, folder: EbFolder) -> None:
    good = (folder.path / "server.py").read_text()
    folder.write(BROKEN)
    broken = folder.eb("deploy", "-l", "broken", expected=4)
    assert whole(site, broken, EnvironmentName="shop-dev")[-1] == NOT_DEPLOYED
    assert broken.text.endswith(f"ERROR: ServiceError - {NOT_DEPLOYED}\n")
    (blame,) = (message for severity, message in broken.events[:-1] if severity == "ERROR")
    instance = running(site)[0]
    # Instance, stage, cause and status, command, remedy; its last lines have gone before.
    for words in (f"[Instance: {instance}] start failed", "exit status 1", "python server.py", "requirements.txt"):
        assert words in blame
    assert any(re.search("ModuleNotFoundError: .*a_module_that_no", message) for message in broken.messages)
    assert site.serving() == {"v1"}

    folder.write({"server.py": good})
    assert whole(site, folder.eb("deploy", "-l", "good"), EnvironmentName="shop-dev")[-1] == UPDATED
    assert site.serving() == {"v2"}


@pytest.mark.long
def test_abort_from_another_terminal(site: Site, folder: EbFolder) -> None:
    assert "no environments currently being updated" in folder.eb("abort", expected=4).text
    folder.write(SLOW)
    deploy = folder.begin("deploy", "-l", "slow")
    wait_for("start of the slow version", lambda: site.environment()["AbortableOperationInProgress"])

    # Meanwhile everything else is refused at once and changes nothing.
    busy = folder.eb("setenv", "LEVEL=3", expected=3)
    assert "due to a pending operation" in busy.text
    busy = folder.eb("deploy", "--version", "v1", expected=4)
    assert "shop-dev is in an invalid state for this operation. Must be Ready." in busy.text

    assert 'Aborting update to environment "shop-dev"' in folder.eb("abort").text
    aborted = deploy.ended(expected=4)
    assert whole(site, aborted, EnvironmentName="shop-dev")[-1] == REVERTED
    assert aborted.text.endswith(f"ERROR: ServiceError - {REVERTED}\n")
    environment = site.environment()
    assert (environment["Status"], environment["VersionLabel"]) == ("Ready", "v1")
    assert whole(site, folder.eb("setenv", "LEVEL=3"), EnvironmentName="shop-dev")[-1] == UPDATED
    assert site.serving() == {"v1"}


@pytest.mark.long
def test_an_environment_that_cannot_be_launched_and_one_that_is_terminated_meanwhile(
    site: Site, folder: EbFolder, tmp_path: Path
) -> None:
    other = EbFolder(site, tmp_path / "other", app("probe", "v1", **BROKEN))
    other.init()
    folder.write(SLOW)
    deploy = folder.begin("deploy", "-l", "slow")
    failed = other.begin("create", "shop-new", "--single").ended(expected=4)
    assert whole(site, failed, EnvironmentName="shop-new")[-1] == NOT_LAUNCHED
    assert failed.text.endswith(f"ERROR: ServiceError - {NOT_LAUNCHED}\n")
    assert "a_module_that_no_requirement_gives" in failed.text
    assert site.environment("shop-new")["Status"] == "Ready"
    assert "initialization failed on" in other.eb("health", "shop-new").text

    # Terminating ends a wait for what was under way, too.
    other.write(app("probe", "v3"))
    good = other.begin("deploy", "shop-new")
    assert "terminateEnvironment completed successfully." in folder.eb("terminate", "shop-dev", "--force").messages
    ended = deploy.ended(expected=4)
    assert whole(site, ended, EnvironmentName="shop-dev")[-1] == NOT_DEPLOYED
    assert "is being terminated" in ended.messages[-2]
    # A failed launch leaves an environment into which the next version can be deployed.
    assert whole(site, good.ended(), EnvironmentName="shop-new")[-1] == UPDATED
    assert site.serving("shop-new") == {"v3"}


UNKNOWN = [
    (("deploy", "nope"), 4, 'Environment "nope" not Found.'),
    (("use", "nope"), 4, 'Environment "nope" not Found.'),
    *(
        (words, 4, "No Environment found for EnvironmentName = 'nope'.")
        for words in [
            ("health", "nope"),
            ("setenv", "A=1", "-e", "nope"),
            ("scale", "2", "nope"),
            ("logs", "nope"),
            ("abort", "nope"),
            ("terminate", "nope", "--force"),
            ("swap", "shop-dev", "-n", "nope"),
        ]
    ),
    (("events", "nope"), 0, ""),
    (("appversion", "-d", "nope"), 4, "nope"),
    (("deploy", "shop-dev", "--version", "nope"), 4, "No Application Version named 'nope' found."),
]


@pytest.mark.long
def test_what_is_refused_at_once(site: Site, folder: EbFolder) -> None:
    for words, status, said in UNKNOWN:
        ran = folder.eb(*words, expected=status)
        assert said in ran.text, words
        assert "Traceback" not in ran.text
    (folder.path / "Procfile").unlink()
    nothing = folder.eb("deploy", expected=4)
    assert "The source bundle cannot be deployed: The bundle has nothing to start" in nothing.text
    folder.write({"Procfile": "web: python server.py\n", ".ebextensions/01.config": "option_settings: [\n"})
    extensions = folder.eb("deploy", expected=4)
    assert ".ebextensions/01.config" in extensions.text
    folder.config_file.write_text(folder.config_file.read_text() + "deploy:\n  artifact: shop.zip\n")
    folder.write({"shop.zip": "this is no zip"})
    no_zip = folder.eb("deploy", expected=4)
    assert "The source bundle shop/" in no_zip.text
    assert "zip" in no_zip.text.splitlines()[-1]
    assert site.environment()["Status"] == "Ready"
    assert site.serving() == {"v1"}
