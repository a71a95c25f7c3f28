"""Start the application of an environment anew, on every instance, without another version or other settings.

It is the same release in its next turn: brought as a deployment is, from what lies on the instances already. So it
loses no request, is continued after a crash, and one that does not come up leaves what ran before running.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from beanpole.control import errors, submit, update
from beanpole.control.compose import Composed
from beanpole.control.context import By, Control, the_environment
from beanpole.operations.brought import brought
from beanpole.operations.observed import members, target
from beanpole.options.smoke import tests_of
from beanpole.policies import restart as policy
from beanpole.policies.smoke import with_smoke
from beanpole.store import environments

if TYPE_CHECKING:
    from beanpole.operations.work import Brought
    from beanpole.policies.change import Member
    from beanpole.policies.plan import Plan
    from beanpole.store.environments import Environment

STARTING = "restartAppServer is starting."


def restart(control: Control, by: By, *, name: str | None, id_: str | None) -> Environment:
    """Begin the restart. Raises the API's errors, and changes nothing when it does."""
    with control.database.write() as db:
        environment = the_environment(db, name=name, id_=id_)
        if environment.status != "Ready":
            raise errors.not_ready(environment.name)
        current = brought(db, control.registry, environment.id, environment.release)
        if current is None:
            raise errors.invalid(
                f"Environment named {environment.name} has no version that passed yet, so there is nothing to restart. "
                "Deploy one."
            )
        once_more = _once_more(current)
        composed = Composed(once_more.version_label, once_more.content, once_more.settings)
        stored = environments.options(db, environment.id)
        submit.begin(
            db,
            control,
            by,
            environment,
            _plan(members(db, environment.id), once_more),
            kind="restart",
            release=submit.add_release(db, control, environment.id, composed, stored),
            desired=None,
            settings=current.settings,
            words=[(STARTING, "INFO")],
        )
        begun = environments.find(db, environment.id)
    control.wake()
    return begun or environment


def _once_more(current: Brought) -> Brought:
    content = msgspec.structs.replace(current.content, turn=current.content.turn + 1)
    return type(current)(current.number, content.digest(), current.version_label, content, current.settings)


def _plan(fleet: tuple[Member, ...], once_more: Brought) -> Plan:
    goal = msgspec.structs.replace(target(once_more), once=False)
    made = policy.plan(fleet, goal, update.rules_of(once_more.settings))
    return with_smoke(made, [test.words for test in tests_of(once_more.settings)])
