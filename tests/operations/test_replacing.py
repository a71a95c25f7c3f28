"""Policies with new instances on the engine: to the end, back from each failure, and through kill -9 at every entry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
import structlog
from engine_site import FLEET, LIMIT, NEW, OLD, REGISTRY, EngineSite, blame, content, job_failed

from beanpole.aws.errors import AwsError
from beanpole.control.abort import abort
from beanpole.control.context import By
from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.operations import release as releases
from beanpole.options.precedence import Context, resolve
from beanpole.options.setting import Setting
from beanpole.policies import immutable, rolling_with_additional_batch, traffic_splitting
from beanpole.policies.change import Member, Rules, Target
from beanpole.policies.plan import AnyStep, Fetch, Preflight, Prepare, Watch
from beanpole.store import environments, operations
from beanpole.store.database import Database
from beanpole.store.schema import journal

SUCCEEDED = ("INFO", "Environment update completed successfully.")
NOT_DEPLOYED = ("ERROR", "Failed to deploy application.")
REVERTED = ("INFO", "The environment was reverted to the previous configuration setting.")

POLICIES = {module.NAME: module.plan for module in (immutable, traffic_splitting, rolling_with_additional_batch)}
RULES = Rules(batch_size=1, batch_is_percentage=False, percent=25, evaluation=0.2)

AS_BEFORE = dict.fromkeys(FLEET, (OLD, "serving", 1))


def steps(policy: str) -> list[AnyStep]:
    """Of the policy, without what brings files to instances, of which these have none."""
    members = tuple(Member(name, OLD) for name in FLEET)
    made = POLICIES[policy](members, Target(NEW), RULES, len(members))
    return [step for step in made.steps if not isinstance(step, Preflight | Fetch | Prepare)]


def submit(site: EngineSite, policy: str, *, at_most: Callable[[AnyStep], AnyStep] = lambda step: step) -> int:
    return site.submit(*map(at_most, steps(policy)), policy=policy)


def fails_in(kind: str, number: int) -> Callable[[str, str], None]:
    """That job fails when it is done for the so-many-th time, on the way forward."""
    seen = 0

    def on_job(_instance: str, job: str) -> None:
        nonlocal seen
        seen += job == kind
        if job == kind and seen == number:
            raise job_failed("it answers 500", "Look at its log.")

    return on_job


def replaced(site: EngineSite, policy: str) -> None:
    """The release serves alone, on as many instances as before, and each of those that left is gone."""
    found = site.endpoints()
    assert len(found) == len(FLEET)
    assert set(found.values()) == {(NEW, "serving", 1)}
    stayed = set(FLEET) & set(found)
    assert len(stayed) == (1 if policy == rolling_with_additional_batch.NAME else 0)
    assert set(site.fleet.launched) == set(found)


@pytest.fixture
def site(site: EngineSite) -> EngineSite:
    site.fleet.launched += FLEET
    return site


@pytest.mark.parametrize("policy", POLICIES)
def test_new_instances_take_the_place_of_the_old_ones(site: EngineSite, policy: str) -> None:
    number = submit(site, policy)
    done = site.carry_out(number)
    assert (done.outcome, done.committed) == ("succeeded", True), done.error
    replaced(site, policy)
    assert site.told()[-1] == SUCCEEDED
    assert site.environment().desired == 2


def test_an_immutable_deployment_is_told_in_the_known_words(site: EngineSite) -> None:
    site.carry_out(submit(site, immutable.NAME))
    told = [words.partition("(")[0].partition("[")[0] for _, words in site.told()]
    order = [
        "Immutable deployment policy enabled. Launching one instance with the new settings to verify health.",
        "Waiting for instance",
        "Test instance passed health checks. Launching remaining new instances.",
        "Waiting for instance",
        "Successfully launched all instances.",
        "Adding new instance",
        "Deployment succeeded. Terminating the instance",
        "Removed instance ",
        "Removed instance ",
        "Environment update completed successfully.",
    ]
    assert [words for words in told if words in order] == order


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("failure", [("start", 1), ("gate", 2), ("commit", 2)])
def test_what_fails_before_removes_the_new_instances_and_touches_no_old_one(
    site: EngineSite, policy: str, failure: tuple[str, int]
) -> None:
    site.fleet.on_job = fails_in(*failure)
    done = site.carry_out(submit(site, policy))
    assert (done.outcome, done.committed) == ("failed", False)
    assert site.endpoints() == AS_BEFORE
    assert set(site.fleet.launched) == set(FLEET)
    assert site.told()[-1] == NOT_DEPLOYED
    if policy != rolling_with_additional_batch.NAME:
        assert not {instance for instance, _, _ in site.fleet.jobs} & set(FLEET)


@pytest.mark.parametrize("policy", [immutable.NAME, traffic_splitting.NAME])
def test_without_automatic_return_the_surplus_goes_all_the_same(site: EngineSite, policy: str) -> None:
    chosen = [Setting.of("beanpole:deployment", "AutoRollback", "false")]
    in_force = tuple(resolve(REGISTRY, Context(), stored=chosen).rows())
    text = releases.encode(msgspec.structs.replace(content("New Python"), settings=in_force))
    with site.database.write() as db:
        environments.update_release(db, "e-1", 2, content=text)
    site.fleet.on_job = fails_in("commit", 1)
    done = site.carry_out(submit(site, policy))
    assert done.outcome == "failed"
    assert site.endpoints() == AS_BEFORE
    assert set(site.fleet.launched) == set(FLEET)


def test_a_canary_whose_requests_fail_ends_its_evaluation_at_once(site: EngineSite) -> None:
    site.edge.counts = lambda: {
        "127.0.1.3:1": {"2xx": 50, "5xx": 50, "failed": 50, "latency_ms": []},
        "127.0.0.2:1": {"2xx": 900, "failed": 0, "latency_ms": []},
    }
    done = site.carry_out(submit(site, traffic_splitting.NAME, at_most=lambda step: lasting(step, 600.0)))
    assert done.outcome == "failed"
    assert "50.0% of 100 requests to the new release failed" in blame(done)["cause"]
    assert site.endpoints() == AS_BEFORE


def test_an_evaluation_without_requests_passes_and_says_that_it_judged_nothing(site: EngineSite) -> None:
    done = site.carry_out(submit(site, traffic_splitting.NAME))
    assert done.outcome == "succeeded"
    assert any(severity == "WARN" and "was not judged" in words for severity, words in site.told())


def test_a_promotion_skips_what_is_left_of_the_evaluation(site: EngineSite) -> None:
    number = submit(site, traffic_splitting.NAME, at_most=lambda step: lasting(step, 600.0))

    async def run() -> None:
        async with site.engine() as ended, asyncio.timeout(LIMIT):
            await begun(site, number, "watch")
            shares = {weight for digest, _, weight in site.endpoints().values() if digest == NEW}
            others = {weight for digest, _, weight in site.endpoints().values() if digest == OLD}
            assert (shares, others) == ({1}, {3})
            with site.database.write() as db:
                assert operations.promote(db, number)
            await ended.wait()

    asyncio.run(run())
    assert site.operation(number).outcome == "succeeded"
    replaced(site, traffic_splitting.NAME)


def test_an_abort_before_the_first_retirement_goes_back(site: EngineSite) -> None:
    number = submit(site, traffic_splitting.NAME, at_most=lambda step: lasting(step, 600.0))

    async def run() -> None:
        async with site.engine() as ended, asyncio.timeout(LIMIT):
            await begun(site, number, "watch")
            ask_abort(site)
            await ended.wait()

    asyncio.run(run())
    assert site.operation(number).outcome == "aborted"
    assert site.endpoints() == AS_BEFORE
    assert site.told()[-1] == REVERTED


def test_an_abort_after_it_is_too_late(site: EngineSite) -> None:
    number = submit(site, immutable.NAME)
    stopping, may_end = asyncio.Event(), asyncio.Event()

    async def stop() -> None:
        stopping.set()
        await may_end.wait()

    site.fleet.on_job = lambda instance, kind: stop() if kind == "stop" else None

    async def run() -> None:
        async with site.engine() as ended, asyncio.timeout(LIMIT):
            await stopping.wait()
            assert not site.operation(number).abortable
            with pytest.raises(AwsError, match="cannot be aborted any more") as refused:
                ask_abort(site)
            assert refused.value.code == "InvalidParameterValue"
            may_end.set()
            await ended.wait()

    asyncio.run(run())
    assert site.operation(number).outcome == "succeeded"
    replaced(site, immutable.NAME)


def test_an_abort_that_is_asked_for_just_before_the_retirement_is_not_lost(site: EngineSite) -> None:
    """The last job before it asks for the abort, which the engine has not heard of when the step begins."""
    number = submit(site, immutable.NAME)

    def on_job(_instance: str, kind: str) -> None:
        if kind == "commit":
            with site.database.write() as db:
                operations.ask_abort(db, "e-1")

    site.fleet.on_job = on_job
    done = site.carry_out(number)
    assert (done.outcome, done.committed) == ("aborted", False)
    assert site.endpoints() == AS_BEFORE


def test_an_old_instance_that_cannot_be_removed_is_told_and_fails_nothing(site: EngineSite) -> None:
    class Stuck(type(site.fleet)):  # type: ignore[misc]
        shared_machine = True

        def place(self, _instance: str) -> Stuck:
            return self

        async def terminate(self, instance: str) -> None:
            if instance == FLEET[0]:
                raise AgentUnreachable("its folder cannot be removed")
            await super().terminate(instance)

    site.fleet.__class__ = Stuck
    done = site.carry_out(submit(site, immutable.NAME))
    assert done.outcome == "succeeded"
    assert any(severity == "WARN" and "is removed later" in words for severity, words in site.told())
    assert site.told()[-1] == SUCCEEDED
    found = site.endpoints()
    assert found.pop(FLEET[0]) == ("", "", 0), "it gets no requests"
    assert set(found.values()) == {(NEW, "serving", 1)}


@pytest.mark.parametrize("ends", ["deadline", "crashes"])
def test_what_ends_an_operation_while_it_retires_makes_it_succeed(site: EngineSite, ends: str) -> None:
    number = submit(site, immutable.NAME)

    async def never() -> None:
        await asyncio.Event().wait()

    site.fleet.on_job = lambda instance, kind: never() if kind == "stop" else None

    async def run() -> None:
        async with site.engine(), asyncio.timeout(LIMIT):
            await begun(site, number, "retire")
        column = operations.operation.c
        values = {"deadline_at": 1} if ends == "deadline" else {"attempts": 1000}
        with site.database.write() as db:
            db.execute(operations.operation.update().where(column.id == number).values(**values))
        async with site.engine() as ended, asyncio.timeout(LIMIT):
            await ended.wait()

    asyncio.run(run())
    assert site.operation(number).outcome == "succeeded"
    assert site.environment().version_label == "v2"
    told = site.told()
    assert told[-1] == SUCCEEDED
    warned = [words for severity, words in told if severity == "WARN"]
    assert any("what is left of the others is removed later" in words for words in warned)


def lasting(step: AnyStep, seconds: float) -> AnyStep:
    return (
        Watch(key=step.key, slots=step.slots, words=step.words, to=step.to, seconds=seconds)
        if isinstance(step, Watch)
        else step
    )


async def begun(site: EngineSite, number: int, key: str) -> None:
    """Until that step has begun, and what it writes first is written."""
    wanted = f"forward/{key}/begin"

    def has() -> bool:
        with site.database.read() as db:
            return wanted in list(operations.journal_of(db, number))[:-1]

    def is_last() -> bool:
        with site.database.read() as db:
            return wanted in operations.journal_of(db, number)

    while not await asyncio.to_thread(is_last if key == "retire" else has):  # noqa: ASYNC110
        await asyncio.sleep(0.01)


def ask_abort(site: EngineSite) -> None:
    control: Any = type("Control", (), {"database": site.database, "wake": staticmethod(lambda: None)})
    abort(control, By("ada", "R-abort"), name="shop-dev", id_=None)


class Killed(Exception):
    pass


def _long(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.long)


class Mortal(Database):
    """Of a control plane that dies with so many entries in the journal: from then on it reads and writes nothing."""

    entries = 0
    dead = False

    @contextmanager
    def write(self) -> Iterator[sa.Connection]:
        self._live()
        with super().write() as db:
            yield db
        with super().read() as db:
            written = db.execute(sa.select(sa.func.count()).select_from(journal)).scalar_one()
        self.dead = self.dead or bool(self.entries and written >= self.entries)
        self._live()

    @contextmanager
    def read(self) -> Iterator[sa.Connection]:
        self._live()
        with super().read() as db:
            yield db

    def _live(self) -> None:
        if self.dead:
            raise Killed


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("policy", "outcome", "stride"),
    [
        (immutable.NAME, "succeeded", 5),
        (immutable.NAME, "failed", 5),
        *(_long(policy, outcome, 1) for policy in POLICIES for outcome in ("succeeded", "failed")),
    ],
)
def test_a_control_plane_may_die_at_every_entry(tmp_path: Path, policy: str, outcome: str, stride: int) -> None:
    """Quickly: at every fifth."""
    entries = 0
    while True:
        entries += stride
        home = tmp_path / str(entries)
        home.mkdir()
        database = Mortal.at(home / "beanpole.db")
        site = EngineSite(database)
        site.fleet.launched += FLEET
        if outcome == "failed":
            site.fleet.on_job = broken_on_new(site)
        number = submit(site, policy)
        database.entries = entries
        with structlog.testing.capture_logs():
            died = asyncio.run(dies(site, database))
        if not died:
            break
        second = EngineSite.again(Database.at(home / "beanpole.db"), site.fleet, site.edge)
        done = second.carry_out(number)
        assert (done.phase, done.outcome) == ("done", outcome), (entries, done.error)
        if outcome == "succeeded":
            replaced(second, policy)
        else:
            assert second.endpoints() == AS_BEFORE, entries
            assert set(second.fleet.launched) == set(FLEET), entries
        told = [words for _, words in second.told()]
        assert len(told) == len(set(told)), f"{entries}: an event was told twice: {told}"
    assert entries > 12, "the journal says less than a deployment does"


def broken_on_new(site: EngineSite) -> Callable[[str, str], None]:
    """The release can be started and does not stay well, wherever it is tried."""

    def on_job(instance: str, kind: str) -> None:
        if kind == "commit" and (instance not in FLEET or ("start", NEW) in jobs_of(site, instance)):
            raise job_failed("it answers 500", "Look at its log.")

    return on_job


def jobs_of(site: EngineSite, instance: str) -> set[tuple[str, str]]:
    return {(kind, digest) for of, kind, digest in site.fleet.jobs if of == instance}


async def dies(site: EngineSite, database: Mortal) -> bool:
    """Run the engine until its control plane is dead; False when it got to the end before.

    What a dead one has to say is not drawn: with its tracebacks that takes longer than all the rest.
    """
    try:
        async with site.engine() as ended, asyncio.timeout(LIMIT):
            while not ended.is_set() and not database.dead:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    except (Killed, AssertionError):
        pass
    return database.dead
