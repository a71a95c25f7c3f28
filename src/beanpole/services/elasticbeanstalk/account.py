"""What an account may have, and what managed updates are planned for its environments: none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.aws.errors import AwsError
from beanpole.control import quotas
from beanpole.control.context import Control, the_environment

if TYPE_CHECKING:
    from beanpole.aws.call import Call


class Account:
    def __init__(self, control: Control) -> None:
        self._control = control

    def attributes(self, _call: Call) -> dict[str, Any]:
        """Custom platforms cannot be made here, so there may be none."""
        return {
            "ResourceQuotas": {
                "ApplicationQuota": {"Maximum": quotas.APPLICATIONS},
                "ApplicationVersionQuota": {"Maximum": quotas.VERSIONS},
                "EnvironmentQuota": {"Maximum": quotas.ENVIRONMENTS},
                "ConfigurationTemplateQuota": {"Maximum": quotas.TEMPLATES},
                "CustomPlatformQuota": {"Maximum": 0},
            }
        }

    def managed_actions(self, call: Call) -> dict[str, Any]:
        self._named(call)
        return {"ManagedActions": []}

    def managed_history(self, call: Call) -> dict[str, Any]:
        self._named(call)
        return {"ManagedActionHistoryItems": []}

    def apply_managed_action(self, call: Call) -> dict[str, Any]:
        action = call.params["ActionId"]
        self._named(call)
        words = f"No managed action {action} is scheduled: Beanpole schedules none. Update the platform yourself."
        raise AwsError("ManagedActionInvalidStateException", words)

    def _named(self, call: Call) -> None:
        """Raises the API's error for an environment that is not there."""
        with self._control.database.read() as db:
            the_environment(db, name=call.params.get("EnvironmentName"), id_=call.params.get("EnvironmentId"))
