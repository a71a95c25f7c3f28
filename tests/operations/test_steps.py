"""Steps that cannot do all that they are for: what the operation makes of it, and what its user is told."""

from typing import Any

import msgspec
import pytest
from engine_site import FLEET, NEW, REGISTRY, EngineSite, blame, drain, job_failed, launch

from beanpole.operations import release as releases
from beanpole.operations.blame import Blame, StepFailed
from beanpole.operations.steps import HANDLERS
from beanpole.operations.steps.leave import DRAIN_DELAY
from beanpole.operations.work import Work
from beanpole.options.precedence import Context, resolve
from beanpole.policies.plan import Fetch, Gate
from beanpole.store import environments, instances
from beanpole.store.operations import Operation

UPDATED = ("INFO", "Environment update completed successfully.")
MB = 2**20


def stopping_fails(site: EngineSite, where: str) -> None:
    def on_job(instance: str, kind: str) -> None:
        if (instance, kind) == (where, "stop"):
            raise job_failed("the process does not end", "Restart the server.")

    site.fleet.on_job = on_job


def test_an_old_release_that_cannot_be_stopped_is_a_warning(site: EngineSite) -> None:
    for instance in FLEET:
        site.serve(instance, NEW)
    stopping_fails(site, "i-2")
    done = site.carry_out(site.submit(drain()))
    assert (done.phase, done.outcome) == ("done", "succeeded")
    environment = site.environment()
    assert (environment.status, environment.release, environment.version_label) == ("Ready", 2, "v2")
    told = site.told()
    warning = (
        "[Instance: i-2] Stop failed: the process does not end. Restart the server. "
        "The release serves; the next deployment tries again."
    )
    assert ("WARN", warning) in told
    assert told[-1] == UPDATED
    with site.database.read() as db:
        serving = {(each.instance_id, each.digest) for each in instances.endpoints(db) if each.state == "serving"}
    assert serving == {(instance, NEW) for instance in FLEET}


@pytest.mark.parametrize("number", [1, 2])
def test_a_drain_takes_as_long_as_either_release_promises(site: EngineSite, number: int) -> None:
    longer = resolve(REGISTRY, Context()).integer(*DRAIN_DELAY) + 30
    with site.database.write() as db:
        found = environments.find_release(db, "e-1", number)
        assert found is not None
        content = releases.decode(found.content)
        kept = [row for row in content.settings if row[:2] != DRAIN_DELAY]
        text = releases.encode(msgspec.structs.replace(content, settings=(*kept, (*DRAIN_DELAY, "", str(longer)))))
        environments.update_release(db, "e-1", number, content=text)
    for instance in FLEET:
        site.serve(instance, NEW)
    assert site.carry_out(site.submit(drain())).outcome == "succeeded"
    assert max(site.edge.waits) > longer - 10


def test_a_clock_that_is_put_back_does_not_prolong_a_drain(site: EngineSite) -> None:
    delay = resolve(REGISTRY, Context()).integer(*DRAIN_DELAY)
    now = site.database.clock()
    for instance in FLEET:
        site.serve(instance, NEW)  # since now
    site.database.clock = lambda: now - 3600
    done = site.carry_out(site.submit(drain()))
    assert done.outcome == "succeeded"
    assert len(site.edge.waits) == len(FLEET)
    assert max(site.edge.waits) <= delay


@pytest.mark.parametrize("named", [False, True])
def test_what_fails_for_several_names_those_that_are_to_blame(
    site: EngineSite, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    async def fetch(work: Work) -> dict[str, Any]:
        raise StepFailed(Blame(stage="Fetch", cause="no such package", instance=work.instance if named else ""))

    monkeypatch.setitem(HANDLERS, Fetch, fetch)
    step = Fetch(key="fetch", slots=tuple(FLEET), words="Bring bundle and dependencies")
    told = blame(site.carry_out(site.submit(step)))
    first, *others = FLEET
    also = f" ({', '.join(others)} failed in the same step)" if named else ""
    assert (told["cause"], told["instance"]) == (f"no such package{also}", first if named else "")


def with_memory(site: EngineSite, available: int | None) -> Operation:
    """An update with two more instances on a machine that has so much memory left."""
    site.fleet.memory = available
    return site.carry_out(site.submit(launch("new-1", "new-2")))


def test_more_instances_than_there_is_memory_for_are_not_launched(site: EngineSite) -> None:
    done = with_memory(site, 95 * MB)
    assert done.outcome == "failed"
    assert blame(done)["cause"].startswith(
        "2 more instances need at least 96 MB of memory and this machine has 95 MB available"
    )
    assert "MinSize" in blame(done)["remedy"]
    assert site.fleet.launched == []
    with site.database.read() as db:
        assert [each.id for each in instances.listed(db)] == list(FLEET)
        assert {each.digest for each in instances.endpoints(db) if each.state == "serving"} == {"digest-1"}
    assert site.environment().status == "Ready"


@pytest.mark.parametrize("available", [96 * MB, None])
def test_as_many_as_there_is_memory_for_are_launched(site: EngineSite, available: int | None) -> None:
    assert with_memory(site, available).outcome == "succeeded"
    assert len(site.fleet.launched) == 2


@pytest.mark.parametrize(("fails", "platform"), [(True, "Old Python"), (False, "New Python")])
def test_another_platform_is_the_environments_once_its_release_has_passed(
    site: EngineSite, fails: bool, platform: str
) -> None:
    with site.database.write() as db:
        environments.update(db, "e-1", platform="New Python")  # as an update does that asks for it
    done = with_memory(site, 0 if fails else None)
    assert done.outcome == ("failed" if fails else "succeeded")
    assert site.environment().platform == platform


def test_a_batch_has_the_time_that_rolling_updates_give_it(site: EngineSite, monkeypatch: pytest.MonkeyPatch) -> None:
    deadlines: set[float] = set()
    job = site.fleet.job

    async def noting(instance: str, key: str, kind: str, arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
        deadlines.add(arguments["deadline"])
        return await job(instance, key, kind, arguments, **more)

    monkeypatch.setattr(site.fleet, "job", noting)
    for instance in FLEET:
        site.serve(instance, NEW)
    gate = Gate(key="gate-1", slots=FLEET, batch=1, within=1800.0, words="Check")
    assert site.carry_out(site.submit(gate)).outcome == "succeeded"
    assert deadlines == {1800.0}
