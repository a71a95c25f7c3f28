"""Decide by hand that a release is good while it is watched: it gets all requests now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.control import errors
from beanpole.control.context import By, Control, the_environment
from beanpole.policies import plan as plans
from beanpole.policies.plan import Watch
from beanpole.store import events, operations
from beanpole.store.events import Subject

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.store.operations import Operation


def promote(control: Control, by: By, *, name: str | None, id_: str | None) -> Operation:
    """The operation that goes on. Raises InvalidParameterValue when no new release is being watched."""
    database = control.database
    with database.write() as db:
        environment = the_environment(db, name=name, id_=id_)
        found = next(iter(operations.open_of_users(db, environment.id)), None)
        if found is None or not _watches(db, found) or not operations.promote(db, found.id):
            raise errors.invalid(
                f"Environment named {environment.name} has no new version that is being evaluated, so there is none to "
                "promote."
            )
        if not found.promoted:
            subject = Subject(environment.application, environment.id, environment.name, None, found.request_id)
            words = f"The new version is promoted by {by.user}: the rest of its evaluation is skipped."
            events.say(db, database.now_ms(), subject, words)
    return found


def _watches(db: sa.Connection, found: Operation) -> bool:
    try:
        steps = plans.decode(found.plan).steps
    except plans.UnknownPlan:
        return False
    journal = operations.journal_of(db, found.id)
    return any(
        f"forward/{step.key}/begin" in journal and f"forward/{step.key}/{step.slots[0]}" not in journal
        for step in steps
        if isinstance(step, Watch)
    )
