"""`beanpole bluegreen` as a person types it: a first use, then Ctrl-C, failures, and the ways back, under load."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from beanpole_site import Site, app, wait_for
from stories import BRISK, lost, properties

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]

OLD, NEW, NEXT = "shop-dev", "shop-dev-green", "shop-dev-blue"

HOLD = """
container_commands:
  01_hold:
    command: while [ -e "$HOLD" ]; do sleep 0.05; done
"""


@dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return dict(json.loads(self.out))


def words_for(site: Site, *words: str) -> list[str]:
    return [sys.executable, "-m", "beanpole.cli", *words, "--home", str(site.home.root)]


def beanpole(site: Site, *words: str) -> Said:
    done = subprocess.run(
        words_for(site, *words), capture_output=True, text=True, timeout=150, check=False, cwd=site.root
    )
    return Said(done.returncode, done.stdout, done.stderr)


def names(site: Site) -> dict[str, str]:
    """The prefix that leads to each environment."""
    found = site.client().describe_environments(IncludeDeleted=False)["Environments"]
    return {each["EnvironmentName"]: each["CNAME"].partition(".")[0] for each in found}


@pytest.fixture
def shop(site: Site) -> Site:
    settings = (*BRISK, *properties(HOLD=site.root / "hold", GREETING="hello"))
    assert site.create(app("probe", "v1"), instances=2, settings=settings)["Outcome"] == "succeeded", site.log()
    site.version("shop", "v2", app("probe", "v2", **{".ebextensions/01.config": HOLD}))
    site.version("shop", "broken", app("probe", "broken", **{"server.py": "raise SystemExit(3)\n"}))
    return site


@pytest.mark.long
def test_a_first_use_and_the_next_one(shop: Site) -> None:
    with shop.load(path="/version", idle=5, websocket="/ws") as load:
        first = beanpole(shop, "bluegreen", OLD, "--version", "v2", "--keep", "30", "--smoke", "/version 200", "--json")
        assert first.status == 0, (first.err, shop.log())
        assert '"v2"' in shop.get()[1]
        kept = beanpole(shop, "bluegreen", OLD, "--resume")
    assert load.report["failed"] == 0, lost(load.report)
    assert set(load.report["versions"]) == {"v1", "v2"}
    facts = first.json
    assert (facts["outcome"], facts["serving"], facts["clone"], facts["version"]) == ("succeeded", NEW, NEW, "v2")
    assert facts["kept_until"]
    assert names(shop) == {OLD: NEW, NEW: OLD}
    assert (kept.status, f"{OLD} (v1) is kept until" in kept.out) == (0, True)
    assert "Ends" in beanpole(shop, "status", OLD).out
    resources = shop.client().describe_environment_resources(EnvironmentName=NEW)["EnvironmentResources"]
    assert len(resources["Instances"]) == 2
    shown = shop.client().describe_configuration_settings(ApplicationName="shop", EnvironmentName=NEW)
    values = {each["OptionName"]: each.get("Value") for each in shown["ConfigurationSettings"][0]["OptionSettings"]}
    assert (values["GREETING"], values["SmokeTests"]) == ("hello", "GET /version 200")

    # By the address, which leads to the clone now; and its time is over when the control plane is back.
    assert beanpole(shop, "bluegreen", OLD, "--resume", "--keep", "0.02").status == 0
    shop.kill()
    shop.start()
    wait_for("the end of the old one", lambda: OLD not in names(shop))
    second = beanpole(shop, "bluegreen", OLD, "--version", "v1", "--keep", "0")
    assert second.status == 0, second.err
    assert names(shop) == {NEXT: OLD}
    assert '"v1"' in shop.get()[1]


@pytest.mark.long
def test_ctrl_c_leaves_a_clear_state_from_which_one_goes_on_or_back(shop: Site) -> None:
    hold = shop.root / "hold"
    hold.touch()
    with shop.load(path="/version") as load:
        process = subprocess.Popen(
            words_for(shop, "bluegreen", OLD, "--version", "v2", "--no-swap"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=shop.root,
        )
        wait_for("the clone", lambda: NEW in names(shop))
        assert process.stdout is not None
        next(line for line in process.stdout if "Prepare" in line or "Bring" in line or "Launch" in line)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
        assert "leads to shop-dev (v1)." in err
        assert f"{NEW} is Launching and runs nothing that has passed yet; no user meets it." in err
        assert "`beanpole bluegreen shop-dev --resume`" in err
        assert "`beanpole bluegreen shop-dev --abort`" in err
        again = beanpole(shop, "bluegreen", OLD, "--version", "v2")
        assert (again.status, "is under way" in again.err) == (3, True)

        hold.unlink()
        made = beanpole(shop, "bluegreen", OLD, "--resume", "--no-swap")
        assert made.status == 0, made.err
        assert f"{NEW} runs v2 and waits for the swap" in made.out
        assert names(shop) == {OLD: OLD, NEW: NEW}
        swapped = beanpole(shop, "bluegreen", OLD, "--resume", "--no-terminate")
        assert swapped.status == 0, swapped.err
        assert names(shop) == {OLD: NEW, NEW: OLD}
        back = beanpole(shop, "bluegreen", OLD, "--abort", "--json")
        assert back.status == 0, back.err
    assert load.report["failed"] == 0, lost(load.report)
    assert (back.json["outcome"], back.json["serving"]) == ("aborted", OLD)
    assert names(shop) == {OLD: OLD}
    assert '"v1"' in shop.get()[1]
    nothing = beanpole(shop, "bluegreen", OLD, "--resume")
    assert (nothing.status, "No blue/green deployment of shop-dev is under way" in nothing.err) == (3, True)


@pytest.mark.long
def test_a_version_that_does_not_start_never_gets_a_request(shop: Site) -> None:
    with shop.load(path="/version") as load:
        failed = beanpole(shop, "bluegreen", OLD, "--version", "broken", "--json")
        assert failed.status == 1
        assert f"The creation of {NEW} failed." in failed.err
        assert "leads to shop-dev (v1)." in failed.err
        assert (failed.json["outcome"], failed.json["stage"], failed.json["serving"]) == ("stopped", "making", OLD)
        assert beanpole(shop, "bluegreen", OLD, "--resume").status == 1, "the same fails again"
        mended = beanpole(shop, "bluegreen", OLD, "--resume", "--version", "v2", "--keep", "0")
        assert mended.status == 0, mended.err
    assert load.report["failed"] == 0, lost(load.report)
    assert set(load.report["versions"]) == {"v1", "v2"}
    assert names(shop) == {NEW: OLD}


@pytest.mark.long
def test_what_cannot_be_begun(shop: Site) -> None:
    for words, status, said in (
        ((), 2, "Which version is not said."),
        (("--version", "v3"), 3, "The application shop has no version v3."),
        (("--version", "v2", "--name", "x"), 2, "is no name for an environment"),
        (("--version", "v2", "--name", OLD), 3, f"There is an environment {OLD} already: Ready."),
        (("--resume", "--abort"), 2, "contradict each other"),
        (("--version", "v2", "--keep", "5", "--no-terminate"), 2, "contradict each other"),
        (("--abort",), 3, "No blue/green deployment of shop-dev is under way"),
    ):
        done = beanpole(shop, "bluegreen", OLD, *words)
        assert (done.status, said in done.err.replace("\nRemedy: ", " ")) == (status, True), (words, done.err)
    unknown = beanpole(shop, "bluegreen", "shop-prod", "--version", "v2")
    assert (unknown.status, "There is no environment shop-prod." in unknown.err) == (3, True)
    assert names(shop) == {OLD: OLD}
