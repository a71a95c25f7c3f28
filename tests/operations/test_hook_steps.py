"""Platform hooks in an operation: which of them, in which order with the commands, and none where a release returns."""

from __future__ import annotations

import msgspec
import pytest
from engine_site import FLEET, NEW, OLD, EngineSite, blame, content, job_failed

from beanpole.control.update import hooks_of
from beanpole.operations import release as releases
from beanpole.operations.work import Brought
from beanpole.options.ebextensions import ContainerCommand
from beanpole.platforms.hooks import Hooks
from beanpole.policies.change import Member
from beanpole.policies.plan import AnyStep, Finish, Once, Prepare
from beanpole.store import environments

COMMANDS = (ContainerCommand("01_migrate", "migrate", leader_only=True), ContainerCommand("02_collect", "collect"))


@pytest.fixture
def site(site: EngineSite) -> EngineSite:
    """Release 2 has a command for the leader and one for all."""
    with site.database.write() as db:
        found = environments.find_release(db, "e-1", 2)
        assert found is not None
        changed = msgspec.structs.replace(releases.decode(found.content), commands=COMMANDS, hooks=True)
        environments.update_release(db, "e-1", 2, content=releases.encode(changed))
    return site


def steps(hooks: Hooks) -> list[AnyStep]:
    return [
        Once(key="once", slots=FLEET[:1], hooks=hooks, words="Leader"),
        Prepare(key="prepare-1", slots=FLEET, hooks=hooks, words="Prepare"),
        Finish(key="finish-1", slots=FLEET, batch=1, hooks=hooks, words="Finish"),
    ]


def jobs(site: EngineSite, instance: str) -> list[str]:
    return [what for where, what, _ in site.fleet.jobs if where == instance]


AFTER = ["hooks hooks predeploy", "prepare", "switch", "hooks hooks postdeploy", "commit"]


def test_hooks_come_in_their_order_and_the_leaders_prebuild_ones_before_its_commands(site: EngineSite) -> None:
    assert site.carry_out(site.submit(*steps("hooks"))).outcome == "succeeded"
    assert jobs(site, "i-1") == ["hooks hooks prebuild", "run Once", "run Prepare", *AFTER]
    assert jobs(site, "i-2") == ["hooks hooks prebuild", "run Prepare", *AFTER]


def test_a_change_of_settings_has_hooks_of_its_own_and_a_bundle_without_any_has_no_job(site: EngineSite) -> None:
    site.carry_out(site.submit(*steps("confighooks")[1:]))
    assert [what for what in jobs(site, "i-1") if what.startswith("hooks")] == [
        f"hooks confighooks {stage}" for stage in ("prebuild", "predeploy", "postdeploy")
    ]
    site.fleet.jobs.clear()
    site.carry_out(site.submit(*steps("")))
    assert jobs(site, "i-2") == ["run Prepare", "prepare", "switch", "commit"]


def test_no_hook_runs_where_a_rollback_finds_the_release_as_it_was(site: EngineSite) -> None:
    site.fleet.kept = [NEW]
    site.carry_out(site.submit(*steps("hooks")[1:], kind="rollback"))
    assert jobs(site, "i-1") == ["preflight", "switch", "commit"]

    site.fleet.jobs.clear()
    site.fleet.kept = []
    site.carry_out(site.submit(*steps("hooks")[1:], kind="rollback"))
    assert jobs(site, "i-1") == ["preflight", "hooks hooks prebuild", "run Prepare", *AFTER]


def test_a_hook_that_fails_after_the_switch_commits_nothing(site: EngineSite) -> None:
    def on_job(instance: str, kind: str) -> None:
        if (instance, kind, site.fleet.jobs[-1][1]) == ("i-2", "hooks", "hooks hooks postdeploy"):
            raise job_failed("hook 01.sh ended with exit status 3", "See eb-hooks.log.")

    site.fleet.on_job = on_job
    done = site.carry_out(site.submit(*steps("hooks")))
    assert done.outcome == "failed"
    assert (blame(done)["instance"], blame(done)["cause"]) == ("i-2", "hook 01.sh ended with exit status 3")
    assert "commit" not in jobs(site, "i-2")
    assert site.told()[-1] == ("ERROR", "Failed to deploy application.")


WITH = msgspec.structs.replace(content("A"), hooks=True)
OTHER_FILES = msgspec.structs.replace(WITH, files="others")
OTHER_PLATFORM = msgspec.structs.replace(WITH, python="3.12")
HERE = Member("i-1", WITH.digest())
ASTRAY = Member("i-2", OLD)


@pytest.mark.parametrize(
    ("after", "label", "fleet", "wanted"),
    [
        (WITH, "v1", (HERE,), "confighooks"),
        (WITH, "v2", (HERE,), "hooks"),
        (OTHER_FILES, "v1", (HERE,), "hooks"),
        (OTHER_PLATFORM, "v1", (HERE,), "hooks"),
        (WITH, "v1", (HERE, ASTRAY), "hooks"),
        (WITH, "v1", (HERE, msgspec.structs.replace(ASTRAY, reachable=False)), "confighooks"),
        (content("A"), "v1", (HERE,), ""),
    ],
    ids=["settings", "version", "files", "platform", "instance that runs another", "dead instance", "no hooks"],
)
def test_hooks_of_settings_are_for_instances_that_run_the_version(
    after: releases.Content, label: str, fleet: tuple[Member, ...], wanted: str
) -> None:
    current = Brought(1, WITH.digest(), "v1", WITH, None)  # type: ignore[arg-type]
    assert hooks_of(after, label, current, fleet) == wanted


def test_a_first_deployment_is_one() -> None:
    assert hooks_of(WITH, "v1", None, ()) == "hooks"
