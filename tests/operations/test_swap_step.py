"""A swap of names carried out: one moment for both, whatever dies or is in trouble in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import sqlalchemy as sa
from engine_site import LIMIT, EngineSite

from beanpole.control import swap
from beanpole.control.context import By
from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.policies import plan as plans
from beanpole.policies.plan import Plan
from beanpole.store import environments, events, hosts, instances, operations
from beanpole.store.environments import Environment
from beanpole.store.events import Event, Filter
from beanpole.store.hosts import Host
from beanpole.store.instances import Instance
from beanpole.store.operations import Draft
from beanpole.store.schema import operation

NOT_SWAPPED = "Update environment operation is complete, but with errors. The CNAMEs were not swapped."
SWAPPED = "Completed swapping CNAMEs for environments 'shop-dev' and 'shop-new'."


class Pair:
    """`shop-dev` (e-1) and `shop-new` (e-2), and a swap of the two that was accepted."""

    def __init__(self, folder: Path, before: Callable[[sa.Connection], None] = lambda db: None) -> None:
        self.site = EngineSite.at(folder)
        database = self.site.database
        new = msgspec.structs.replace(
            self.site.environment(), id="e-2", name="shop-new", cname_prefix="new", release=None, terminate_at=1
        )
        control: Any = SimpleNamespace(database=database)
        with database.write() as db:
            environments.add(db, new)
            before(db)
            one, other = environments.find(db, "e-1"), environments.find(db, "e-2")
            assert one is not None
            assert other is not None
            self.number = swap.begin(db, control, By("ada", "R"), one, other)
        self.looks: list[dict[str, str | None]] = []
        self.site.edge.apply_everywhere = self.told  # type: ignore[method-assign]

    def names(self) -> dict[str, str | None]:
        with self.site.database.read() as db:
            return {each.name: each.cname_prefix for each in environments.listed(db)}

    def other(self) -> Environment:
        with self.site.database.read() as db:
            found = environments.find(db, "e-2")
        assert found is not None
        return found

    def statuses(self) -> set[str]:
        return {self.site.environment().status, self.other().status}

    async def told(self) -> None:
        self.looks.append(self.names())

    def events_of(self, environment: str) -> list[Event]:
        with self.site.database.read() as db:
            return events.listed(db, Filter(environment_id=environment))

    def messages(self) -> list[str]:
        """Those of the operation's own environment."""
        return [event.message for event in self.events_of("e-1")[::-1]]


BEFORE = {"shop-dev": "shop", "shop-new": "new"}
AFTER = {"shop-dev": "new", "shop-new": "shop"}


def on_servers(db: sa.Connection) -> None:
    """Both are on h-1, where `shop-dev` was first; on h-2 it is alone."""
    for number, (name, environment) in enumerate([("h-1", "e-1"), ("h-1", "e-2"), ("h-2", "e-1")]):
        if hosts.find(db, name) is None:
            row = {"id": name, "name": name, "address": "{}", "host_key": "k", "labels": "[]"}
            hosts.add(db, Host(**row, app_port=8080, state="ready", added_at=number))  # type: ignore[arg-type]
            hosts.set_catch_all(db, name, environment)
        there = Instance(f"i-s{number}", environment, "running", f"127.7.7.{number}", None, number, host=name)
        instances.add(db, there)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path)


def test_balancers_are_ready_before_and_told_after_the_one_moment(pair: Pair) -> None:
    done = pair.site.carry_out(pair.number)
    assert (done.outcome, pair.names(), pair.statuses()) == ("succeeded", AFTER, {"Ready"})
    assert pair.other().terminate_at is None, "what was to end before serves somebody now"
    assert pair.looks == [BEFORE, AFTER]
    assert pair.messages() == [
        "swapEnvironmentCNAMEs is starting.",
        "Swapping CNAMEs for environments 'shop-dev' and 'shop-new'.",
        "'new.localhost' now points to 'shop-dev'.",
        "'shop.localhost' now points to 'shop-new'.",
        SWAPPED,
    ]
    (of_other,) = pair.events_of("e-2")
    assert (of_other.message, of_other.request_id) == ("'shop.localhost' now points to 'shop-new'.", None)


@pytest.mark.parametrize("look", [0, 1])
def test_a_crash_before_or_after_the_moment_ends_in_one_swap(pair: Pair, look: int) -> None:
    async def dies() -> None:
        reached, never = asyncio.Event(), asyncio.Event()

        async def told() -> None:
            await pair.told()
            if len(pair.looks) > look:
                reached.set()
                await never.wait()

        pair.site.edge.apply_everywhere = told  # type: ignore[method-assign]
        async with pair.site.engine(), asyncio.timeout(LIMIT):
            await reached.wait()

    asyncio.run(dies())
    assert pair.names() == (BEFORE, AFTER)[look]
    assert pair.statuses() == {"Updating"}
    pair.site.edge.apply_everywhere = pair.told  # type: ignore[method-assign]
    assert pair.site.carry_out(pair.number).outcome == "succeeded"
    assert (pair.names(), pair.statuses()) == (AFTER, {"Ready"})
    assert pair.messages().count(SWAPPED) == 1


@pytest.mark.parametrize("look", [0, 1])
def test_a_balancer_in_trouble_leaves_the_names_as_they_were(pair: Pair, look: int) -> None:
    async def told() -> None:
        await pair.told()
        if len(pair.looks) > look:
            raise AgentUnreachable("the edge balancer does not answer")

    pair.site.edge.apply_everywhere = told  # type: ignore[method-assign]
    done = pair.site.carry_out(pair.number)
    assert (done.outcome, pair.names(), pair.statuses()) == ("failed", BEFORE, {"Ready"})
    assert pair.messages()[-1] == NOT_SWAPPED
    assert pair.looks[-1] == BEFORE, "nobody told the balancer that the names are back"


def test_a_balancer_that_never_answers_ends_it_at_its_deadline(pair: Pair) -> None:
    async def told() -> None:
        if operations_phase(pair) == "forward":
            await asyncio.Event().wait()

    with pair.site.database.write() as db:
        db.execute(operation.update().values(deadline_at=pair.site.database.now_ms() + 200))
    pair.site.edge.apply_everywhere = told  # type: ignore[method-assign]
    assert pair.site.carry_out(pair.number).outcome == "failed"
    assert (pair.names(), pair.statuses(), pair.messages()[-1]) == (BEFORE, {"Ready"}, NOT_SWAPPED)


def operations_phase(pair: Pair) -> str:
    return pair.site.operation(pair.number).phase


def test_with_an_environment_that_is_being_terminated_nothing_is_exchanged(pair: Pair) -> None:
    with pair.site.database.write() as db:
        environments.update(db, "e-2", status="Terminating")
    assert pair.site.carry_out(pair.number).outcome == "failed"
    assert (pair.names(), pair.other().status) == (BEFORE, "Terminating")
    assert pair.site.environment().status == "Ready"


def test_what_the_system_does_in_the_other_makes_way(tmp_path: Path) -> None:
    def begun(db: sa.Connection) -> None:
        plan = plans.encode(Plan(policy="AllAtOnce", steps=()))
        names = {"environment_id": "e-2", "kind": "align", "origin": "system", "actor": "beanpole", "request_id": "S"}
        draft = Draft(**names, release=1, previous=1, desired=None, plan=plan, deadline_at=1)  # type: ignore[arg-type]
        operations.submit(db, 0, draft)

    pair = Pair(tmp_path, begun)
    with pair.site.database.read() as db:
        (aligning,) = [each for each in operations.listed(db) if each.origin == "system"]
    assert aligning.abort


def test_what_names_no_environment_goes_with_the_names_where_both_are(tmp_path: Path) -> None:
    pair = Pair(tmp_path, on_servers)
    assert pair.site.carry_out(pair.number).outcome == "succeeded"
    with pair.site.database.read() as db:
        assert hosts.catch_alls(db) == {"h-1": "e-2", "h-2": "e-1"}
