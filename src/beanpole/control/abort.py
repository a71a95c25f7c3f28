"""Stop an update that is under way; the engine hears it within a second and goes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.control import errors
from beanpole.control.context import By, Control, the_environment
from beanpole.store import environments, events, operations
from beanpole.store.events import Subject

if TYPE_CHECKING:
    from beanpole.store.environments import Environment


def abort(control: Control, by: By, *, name: str | None, id_: str | None) -> Environment:
    """Raises InvalidParameterValue when nothing runs that can be aborted, or when it is too late."""
    database = control.database
    with database.write() as db:
        environment = the_environment(db, name=name, id_=id_)
        running = operations.listed(db, environment_id=environment.id, open_only=True, limit=5)
        mine = next((each for each in running if each.origin == "user"), None)
        if mine is None or mine.kind == "terminate":
            raise errors.invalid(
                f"Environment named {environment.name} has no operation in progress that can be aborted."
            )
        if mine.phase != "forward":
            raise errors.invalid(f"The update of environment {environment.name} is being reverted already.")
        if not operations.ask_abort(db, environment.id):
            raise errors.invalid(
                f"The update of environment {environment.name} cannot be aborted any more: the instances that it "
                "replaced are being removed."
            )
        environments.update(db, environment.id, status="Aborting", updated_at=database.now_ms())
        for request_id, words in (
            (by.request_id, "abortEnvironmentUpdate is starting."),
            (mine.request_id, "The operation in progress is being aborted."),
        ):
            subject = Subject(environment.application, environment.id, environment.name, None, request_id)
            events.say(db, database.now_ms(), subject, words)
        after = environments.find(db, environment.id)
    control.wake()
    return after or environment
