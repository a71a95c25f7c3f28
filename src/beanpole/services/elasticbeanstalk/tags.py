"""Tags as given when a resource was made, and those that every environment has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from beanpole.aws.errors import AwsError
from beanpole.control import errors
from beanpole.store import applications, environments, tags

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from beanpole.aws.call import Call
    from beanpole.control.context import Control

LIMIT = 47
"""Tags of one's own on an environment; three more are the service's."""

_KEY = re.compile(r"[\w .:/=+@-]{1,127}")
_VALUE = re.compile(r"[\w .:/=+@-]{0,255}")
_RESERVED = ("aws:", "elasticbeanstalk:")


def given(params: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The tags of a call. Raises the API's errors for those that cannot be."""
    found = {each.get("Key", ""): each.get("Value", "") for each in params}
    if len(found) > LIMIT:
        raise AwsError("TooManyTagsException", f"A resource can have {LIMIT} tags; the call has {len(found)}.")
    for key, value in found.items():
        if not _KEY.fullmatch(key) or not _VALUE.fullmatch(value) or key.startswith(_RESERVED) or key == "Name":
            raise errors.invalid(
                f"The tag '{key}' cannot be used: keys have 1 to 127, values up to 255 letters, digits, spaces and "
                "_ . : / = + - @, and keys named Name or beginning with aws: or elasticbeanstalk: are the service's."
            )
    return found


class Tags:
    def __init__(self, control: Control) -> None:
        self._control = control

    def list(self, call: Call) -> dict[str, Any]:
        arn = call.params["ResourceArn"]
        with self._control.database.read() as db:
            own = self._of_service(db, arn)
            found = own | tags.listed(db, arn)
        return {"ResourceArn": arn, "ResourceTags": [{"Key": key, "Value": value} for key, value in found.items()]}

    def _of_service(self, db: Any, arn: str) -> dict[str, str]:
        """The tags that nobody gave. Raises ResourceNotFoundException for what is not there."""
        kind, _, name = arn.removeprefix(self._control.arn("")[:-1]).strip(":/").partition("/")
        first, _, second = name.partition("/")
        if kind == "environment" and (found := environments.find_live(db, second)) and found.application == first:
            return {
                "Name": found.name,
                "elasticbeanstalk:environment-id": found.id,
                "elasticbeanstalk:environment-name": found.name,
            }
        if kind == "application" and applications.find(db, name):
            return {}
        if kind == "applicationversion" and applications.find_version(db, first, second):
            return {}
        raise AwsError("ResourceNotFoundException", f"Resource not found for arn '{arn}'.")
