"""Environments that are to be terminated at a time that somebody said beforehand: the old one after a swap, say.

The control plane does that by itself. One that is busy at that time is terminated when it is Ready again, and a swap of
its name is the end of the appointment: it may serve somebody now.
"""

from __future__ import annotations

import datetime as dt
import secrets
from typing import TYPE_CHECKING

import structlog

from beanpole.control import errors, terminate
from beanpole.control.context import By, Control, the_environment
from beanpole.store import environments, events
from beanpole.store.events import Subject

if TYPE_CHECKING:
    from beanpole.store.environments import Environment

SYSTEM = "beanpole"
"""Who acts when no user does."""

log = structlog.get_logger("expiry")


def schedule(control: Control, by: By, seconds: float | None, *, name: str | None, id_: str | None) -> Environment:
    """The environment is terminated in so many seconds; None: not by itself any more. Raises the API's errors."""
    database = control.database
    with database.write() as db:
        environment = the_environment(db, name=name, id_=id_)
        if environment.status == "Terminating":
            raise errors.invalid(f"Environment named {environment.name} is being terminated already.")
        at = None if seconds is None else database.now_ms() + int(seconds * 1000)
        if at != environment.terminate_at:
            environments.update(db, environment.id, terminate_at=at)
            subject = Subject(environment.application, environment.id, environment.name, None, by.request_id)
            events.say(db, database.now_ms(), subject, _words(at))
        after = environments.find(db, environment.id)
    return after or environment


def terminate_due(control: Control) -> list[str]:
    """Begin to terminate those whose time has come; their names."""
    database = control.database
    begun = []
    with database.write() as db:
        now = database.now_ms()
        for environment in environments.listed(db):
            if environment.terminate_at is None or environment.terminate_at > now or environment.status != "Ready":
                continue
            terminate.submit(db, control, By(SYSTEM, f"system-{secrets.token_hex(8)}"), environment)
            begun.append(environment.name)
    if begun:
        log.info("environments are terminated as was said beforehand", environments=begun)
        control.wake()
    return begun


def _words(at: int | None) -> str:
    if at is None:
        return "The environment is no longer to be terminated by itself."
    moment = dt.datetime.fromtimestamp(at / 1000, dt.UTC)
    return (
        f"The environment will be terminated by itself at {moment:%Y-%m-%d %H:%M:%S} UTC, unless it is swapped before."
    )
