"""What a clone takes from the environment that it is made of: settings, platform, tier, version, tags, and its place.

Name, CNAME and membership in a group do not travel; the addresses of linked environments do, as the settings that they
are. Instances live where those of the source do unless the call says
otherwise: a copy for tests is to have the same servers under it. Nothing else ties the two together afterwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.control import errors, templates
from beanpole.control.base import Base
from beanpole.control.context import the_environment
from beanpole.operations.placing import LOCATION, location_of
from beanpole.options.setting import Setting
from beanpole.store import environments, tags

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.control.context import Control
    from beanpole.store.environments import Environment


OURS = "beanpole:"
"""How the keys of tags begin by which commands of ours know an environment: they are about that one alone."""


def source(control: Control, application: str, name: str) -> Base:
    """Raises the API's errors for one that is not there, has ended, is another application's or is not ready."""
    with control.database.read() as db:
        environment = ready(db, application, name)
        stored = environments.options(db, environment.id)
        given = tags.listed(db, control.arn("environment", environment.application, environment.name))
    base = templates.of_environment(environment, stored)
    return Base(
        settings=[*base.settings, Setting(LOCATION[0], LOCATION[1], "", location_of(stored))],
        platform=base.platform,
        tier=base.tier,
        version_label=environment.version_label,
        tags={key: value for key, value in given.items() if not key.startswith(OURS)},
    )


def ready(db: sa.Connection, application: str, name: str) -> Environment:
    """The environment of that application, if it may be copied from now."""
    environment = the_environment(db, name=name)
    if environment.application != application:
        raise errors.no_environment(name)
    if environment.status != "Ready":
        raise errors.not_ready(environment.name)
    return environment
