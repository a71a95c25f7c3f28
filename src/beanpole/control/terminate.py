"""End an environment. Heard in every state: an open operation is told to stop, and this one follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.control import errors
from beanpole.control.context import By, Control, the_environment
from beanpole.control.submit import end_of
from beanpole.operations.brought import brought
from beanpole.operations.closing import verdict
from beanpole.policies import capacity
from beanpole.policies import plan as plans
from beanpole.policies.plan import Plan
from beanpole.store import environments, events, instances, operations, pairs
from beanpole.store.events import Subject
from beanpole.store.operations import Draft

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.store.environments import Environment
    from beanpole.store.events import Said
    from beanpole.store.operations import Operation

DEADLINE = 30 * 60
"""Seconds for a termination beside its drains, which are as long as the settings say."""


def terminate(control: Control, by: By, *, name: str | None, id_: str | None) -> Environment:
    with control.database.write() as db:
        environment = the_environment(db, name=name, id_=id_)
        if environment.status == "Terminating":
            raise errors.invalid(f"Environment named {environment.name} is being terminated already.")
        submit(db, control, by, environment)
        after = environments.find(db, environment.id)
    control.wake()
    return after or environment


def submit(db: sa.Connection, control: Control, by: By, environment: Environment) -> None:
    """In the caller's transaction. The open user operation, if any, is aborted without a way back."""
    now = control.database.now_ms()
    under_way = operations.open_of_users(db, environment.id)
    operations.supersede(db, environment.id, now)
    for ended in under_way:
        pairs.let_go(db, now, ended)
        _tell_its_end(db, control, environment, ended)
    slots = tuple(instance.id for instance in instances.listed(db, environment.id))
    steps = tuple(capacity.remove(slots)) if slots else ()
    current = brought(db, control.registry, environment.id, environment.release)
    seconds = DEADLINE + (end_of(current.settings) if current is not None else 0)
    draft = Draft(
        environment_id=environment.id,
        kind="terminate",
        origin="user",
        actor=by.user,
        request_id=by.request_id,
        release=environment.release,
        previous=environment.release,
        desired=0,
        plan=plans.encode(Plan(policy="Terminate", steps=steps)),
        deadline_at=now + seconds * 1000,
    )
    operations.submit(db, now, draft)
    environments.update(db, environment.id, status="Terminating", updated_at=now)
    subject = Subject(environment.application, environment.id, environment.name, None, by.request_id)
    events.say(db, now, subject, "terminateEnvironment is starting.")


def _tell_its_end(db: sa.Connection, control: Control, environment: Environment, ended: Operation) -> None:
    """Whoever follows the superseded operation would otherwise wait for a sentence that nobody says any more."""
    release = environments.find_release(db, environment.id, ended.release)
    label = release.version_label if release else None
    subject = Subject(environment.application, environment.id, environment.name, label, ended.request_id)
    why = "The environment is being terminated: the operation in progress ends here."
    words: list[Said] = [(why, "INFO"), verdict(db, ended)]
    for message, severity in words:
        events.say(db, control.database.now_ms(), subject, message, severity)
