"""Operations on tags, and the tags of a call that makes something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control import tags
from beanpole.control.context import By

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from beanpole.aws.call import Call
    from beanpole.control.context import Control

LIMIT = tags.LIMIT
OF_ENVIRONMENT = 47
"""Tags of one's own on an environment; three more are the service's."""


def given(params: Iterable[Mapping[str, Any]], limit: int = OF_ENVIRONMENT) -> dict[str, str]:
    """The tags of a call. Raises the API's errors for those that cannot be."""
    found = {each.get("Key", ""): each.get("Value", "") for each in params}
    tags.check(found, limit)
    return found


class Tags:
    def __init__(self, control: Control) -> None:
        self._control = control

    def list(self, call: Call) -> dict[str, Any]:
        arn = call.params["ResourceArn"]
        with self._control.database.read() as db:
            found = tags.listed(db, self._control, arn)
        return {"ResourceArn": arn, "ResourceTags": [{"Key": key, "Value": value} for key, value in found.items()]}

    def update(self, call: Call) -> None:
        params = call.params
        # By key: the same one twice is the later one.
        added = {each.get("Key", ""): each.get("Value", "") for each in params.get("TagsToAdd", [])}
        by = By(call.caller.user, call.request_id)
        tags.update(self._control, by, params["ResourceArn"], added, params.get("TagsToRemove", []))
