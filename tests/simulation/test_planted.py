"""Faults that are put into the control plane on purpose: the simulator has to find each of them within some seeds.

A simulator that never complains proves nothing. Each fault is one that a hasty change could make.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa

from beanpole.control import update
from beanpole.operations import closing, engine, lease, phase, work
from beanpole.operations.closing import Closing
from beanpole.operations.steps import HANDLERS, activate, leave
from beanpole.operations.work import Work
from beanpole.policies import immutable, plan, rollback, rolling
from beanpole.policies.plan import Fetch, Finish, Plan
from beanpole.simulation.balancer import SimulatedBalancers
from beanpole.simulation.run import run
from beanpole.simulation.scenario import Command, Fault, Scenario, drawn
from beanpole.simulation.version import Version
from beanpole.store import events, instances, operations

SEEDS = 120
"""Within so many scenarios a fault has to be found. Most are by the first few."""

ABORTED = Scenario(versions=(Version(), Version(boot=3.0)), commands=(Command("deploy", 1.0, 2), Command("abort", 3.0)))
"""In few of the others an abort comes while it can still be heard, and nothing else ends the operation."""

INTERRUPTED = Scenario(
    planes=2,
    versions=(Version(), Version(leader=True)),
    commands=(Command("deploy", 1.0, 2),),
    faults=(Fault("freeze", 1.5, 20.0),),
)
"""In few of the others the leader-only commands are under way when somebody else takes over."""

ALONE = Scenario(instances=4, versions=(Version(), Version(port=8000)))
"""In few of the others releases cannot run beside each other, batches are small, and nothing else goes wrong."""

RARE = (ABORTED, INTERRUPTED, ALONE)

Patch = pytest.MonkeyPatch


def skip_the_drain(patch: Patch) -> None:
    """Processes are stopped without waiting for their requests."""

    async def idle(*_: object) -> int:
        return 0

    patch.setattr(SimulatedBalancers, "idle", idle)


def forget_a_journal_entry(patch: Patch) -> None:
    real = phase.record

    def record(db: Any, held: Any, now: int, key: str, result: Any) -> None:
        if "/fetch/" not in key or key.endswith("begin"):
            real(db, held, now, key, result)

    patch.setattr(phase, "record", record)


def ignore_the_lease(patch: Patch) -> None:
    """Whoever lost it goes on writing."""

    @contextlib.contextmanager
    def holding(database: Any, held: Any) -> Iterator[sa.Connection]:
        with database.write() as db:
            yield db

    async def beat(_: lease.Lease) -> None:
        await engine.asyncio.Event().wait()

    for module in (operations, phase, closing, engine, work):
        patch.setattr(module, "holding", holding)
    patch.setattr(lease.Lease, "_beat", beat)


def run_leader_only_commands_again(patch: Patch) -> None:
    real = work.Work.job

    async def job(self: Work, kind: str, arguments: Any, timeout: float, *, name: str = "", repeat: bool = True) -> Any:
        if arguments.get("stage") == "Once":
            name = f"{name}{self.operation.epoch}"  # another key with each claim
        return await real(self, kind, arguments, timeout, name=name, repeat=True)

    patch.setattr(work.Work, "job", job)


def lose_an_amendment(patch: Patch) -> None:
    """Which instance was made for a slot is not written down before it is made."""
    patch.setattr(sys.modules["beanpole.operations.steps.launch"], "record", lambda *_: None)


def switch_before_all_have_fetched(patch: Patch) -> None:
    def late(members: Any, target: Any, rules: Any) -> Plan:
        made = real(members, target, rules)
        fetch = next(step for step in made.steps if isinstance(step, Fetch))
        first, rest = (
            Fetch(key=f"fetch-{at}", slots=slots, words="fetch")
            for at, slots in enumerate((fetch.slots[:1], fetch.slots[1:]))
        )
        steps = [first if step is fetch else step for step in made.steps]
        at = next((at for at, step in enumerate(steps) if step.key == "finish-1"), 0)
        steps.insert(at + 1, rest)
        return Plan(policy=made.policy, steps=tuple(steps))

    real = rolling.plan
    patch.setitem(update.POLICIES, "Rolling", late)


def close_before_ready(patch: Patch) -> None:
    patch.setattr(Closing, "_accept", lambda *_: None)


def never_return(patch: Patch) -> None:
    patch.setattr(rollback, "plan", lambda *_, **__: Plan(policy="Rollback", steps=()))


def drop_the_abort(patch: Patch) -> None:
    real = operations.renew

    def renew(database: Any, held: Any, ttl: int) -> bool:
        real(database, held, ttl)
        return False

    def finish(db: Any, held: Any, now: int, outcome: Any, error: Any = None, account: Any = None) -> bool:
        columns = {"phase": "done", "finished_at": now, "outcome": outcome, "expires_at": 0, "account": account}
        db.execute(operations.operation.update().where(operations.operation.c.id == held.id).values(**columns))
        return True

    patch.setattr(operations, "renew", renew)
    patch.setattr(operations, "finish", finish)


def send_requests_to_what_is_not_proven(patch: Patch) -> None:
    async def job(self: Work, kind: str, arguments: Any, timeout: float, **more: Any) -> Any:
        if kind != "start":
            return await asked(self, kind, arguments, timeout, **more)
        told = engine.asyncio.create_task(asked(self, kind, arguments, timeout, **more))
        await engine.asyncio.sleep(0.05)
        found = self.parts.fleet._world.machines[self.instance].webs.get(arguments["release"])  # type: ignore[attr-defined]
        if found is not None and not told.done():
            with self.writing() as db:
                instances.put_endpoint(
                    db,
                    instances.Endpoint(
                        self.instance, arguments["release"], "127.0.0.1", found.port, "serving", self.now(), "{}"
                    ),
                )
            await self.parts.balancers.apply(self.instance)
        return await told

    asked = work.Work.job
    patch.setattr(work.Work, "job", job)


def stop_the_old_before_the_new_is_healthy(patch: Patch) -> None:
    async def hasty(of: Work) -> dict[str, Any]:
        await leave.leave(of, keep=of.release.digest)
        await leave.stop_others(of, None)
        return await activate.activate(of)

    patch.setitem(HANDLERS, plan.Activate, hasty)


def forget_the_boot_target(patch: Patch) -> None:
    async def finish(_: Work) -> dict[str, Any]:
        return {}

    patch.setitem(HANDLERS, Finish, finish)


def take_larger_batches_than_were_asked_for(patch: Patch) -> None:
    def plan_all(members: Any, target: Any, rules: Any) -> Plan:
        return real(members, target, type(rules)(policy="Rolling", batch_size=100, batch_is_percentage=True))

    real = rolling.plan
    patch.setitem(update.POLICIES, "Rolling", plan_all)


def let_time_stand_still_in_events(patch: Patch) -> None:
    def say(db: Any, now: int, subject: Any, message: str, severity: Any = "INFO") -> int:
        last = db.execute(events._LAST).scalar() or now
        at = last - 1  # so that the second of two events is before the first
        if db.execute(sa.select(events.event.c.id).where(events.event.c.at == at)).all():
            at = last + 2
        said = {"at": at, "message": message, "severity": severity, **msgspec.structs.asdict(subject)}
        db.execute(events._SAY, said)
        return at

    patch.setattr(events, "say", say)


def retire_before_the_others_serve(patch: Patch) -> None:
    """The instances of before leave while the new ones still wait for their share."""

    def hasty(*given: Any) -> Plan:
        made = real(*given)
        at = {type(step): step for step in made.steps}
        steps = [step for step in made.steps if not isinstance(step, plan.Retire)]
        steps.insert(steps.index(at[plan.Shift]), at[plan.Retire])
        return Plan(policy=made.policy, steps=tuple(steps))

    real = immutable.plan
    patch.setitem(update.REPLACING, "Immutable", hasty)


PLANTED: list[Callable[[Patch], None]] = [
    skip_the_drain,
    forget_a_journal_entry,
    ignore_the_lease,
    run_leader_only_commands_again,
    lose_an_amendment,
    switch_before_all_have_fetched,
    close_before_ready,
    never_return,
    drop_the_abort,
    send_requests_to_what_is_not_proven,
    stop_the_old_before_the_new_is_healthy,
    forget_the_boot_target,
    take_larger_batches_than_were_asked_for,
    let_time_stand_still_in_events,
    retire_before_the_others_serve,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant: Callable[[Patch], None], monkeypatch: Patch) -> None:
    monkeypatch.setattr("beanpole.simulation.run.PATIENCE", 300.0)
    plant(monkeypatch)
    for scenario in (*RARE, *map(drawn, range(SEEDS))):
        if run(scenario).broken:
            return
    pytest.fail(f"{SEEDS} scenarios passed although the control plane has this fault")


@pytest.mark.parametrize("scenario", RARE)
def test_without_a_fault_the_same_scenarios_pass(scenario: Scenario) -> None:
    assert run(scenario).broken == []
