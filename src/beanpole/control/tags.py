"""Tags of applications, versions, saved configurations and environments: which may be, and changing them later."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from beanpole.aws.errors import AwsError
from beanpole.control import errors
from beanpole.store import applications, environments, events, tags, templates
from beanpole.store.events import Subject

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import sqlalchemy as sa

    from beanpole.control.context import By, Control
    from beanpole.store.environments import Environment

LIMIT = 50
"""Tags of a resource, the service's own among them; an environment has three of those."""

UPDATED = "Environment tag update completed successfully."
"""What ends a client's wait."""

_KEY = re.compile(r"[\w .:/=+@-]{1,127}")
_VALUE = re.compile(r"[\w .:/=+@-]{0,255}")
_RESERVED = ("aws:", "elasticbeanstalk:")


def check(wanted: Mapping[str, str], limit: int = LIMIT) -> None:
    """Raises the API's errors for tags that cannot be, or for more than the limit."""
    if len(wanted) > limit:
        raise AwsError("TooManyTagsException", f"A resource can have {limit} tags; this one would have {len(wanted)}.")
    for key, value in wanted.items():
        if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value) or is_services(key):
            raise errors.invalid(
                f"The tag '{key}' cannot be used: keys have 1 to 127, values up to 255 letters, digits, spaces and "
                "_ . : / = + - @, and keys named Name or beginning with aws: or elasticbeanstalk: are the service's."
            )


def is_services(key: str) -> bool:
    return key.startswith(_RESERVED) or key == "Name"


def listed(db: sa.Connection, control: Control, arn: str) -> dict[str, str]:
    """Those of the service first. Raises ResourceNotFoundException for what is not there."""
    return of_service(_resource(db, control, arn)) | tags.listed(db, arn)


def update(control: Control, by: By, arn: str, added: Mapping[str, str], removed: Iterable[str]) -> None:
    """Add or overwrite tags, and remove others; a key to remove that is not there is no error.

    Raises the API's errors, and changes nothing when it does. An environment has to be ready, and tells of it.
    """
    removed = set(removed)
    if not added and not removed:
        raise errors.missing("At least one of TagsToAdd and TagsToRemove must be given.")
    if both := removed.intersection(added):
        raise errors.invalid(f"The tag '{min(both)}' cannot be added and removed at once.")
    if ours := sorted(filter(is_services, removed)):
        raise errors.invalid(f"The tag '{ours[0]}' is the service's and cannot be removed.")
    database = control.database
    with database.write() as db:
        environment = _resource(db, control, arn)
        if environment is not None and environment.status != "Ready":
            raise errors.not_ready(environment.name)
        check(added)
        after = {key: value for key, value in tags.listed(db, arn).items() if key not in removed} | dict(added)
        check(after, LIMIT - len(of_service(environment)))
        tags.add(db, arn, after)
        if environment is not None:
            subject = Subject(environment.application, environment.id, environment.name, None, by.request_id)
            events.say(db, database.now_ms(), subject, "Environment tag update is starting.")
            events.say(db, database.now_ms(), subject, UPDATED)


def of_service(environment: Environment | None) -> dict[str, str]:
    """The tags that nobody gave: an environment's only."""
    if environment is None:
        return {}
    return {
        "Name": environment.name,
        "elasticbeanstalk:environment-id": environment.id,
        "elasticbeanstalk:environment-name": environment.name,
    }


def _resource(db: sa.Connection, control: Control, arn: str) -> Environment | None:
    """The environment that the ARN names; None for another kind of resource. Raises the API's errors."""
    prefix = control.arn("")
    kind, _, name = arn.removeprefix(prefix).partition("/")
    first, _, second = name.partition("/")
    if arn.startswith(prefix):
        if kind == "environment" and (found := environments.find_live(db, second)) and found.application == first:
            return found
        if kind == "application" and applications.find(db, name):
            return None
        if kind == "applicationversion" and applications.find_version(db, first, second):
            return None
        if kind == "configurationtemplate" and applications.find(db, first) and templates.exists(db, first, second):
            return None
        if kind == "platform":
            raise AwsError("ResourceTypeNotSupportedException", "Beanpole's platforms have no tags.")
    raise AwsError("ResourceNotFoundException", f"Resource not found for arn '{arn}'.")
