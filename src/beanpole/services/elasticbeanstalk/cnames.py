"""Operations on the names that lead to environments: whether one is free, and the exchange of two."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control import create
from beanpole.control.context import By, Control
from beanpole.control.swap import Called, swap

if TYPE_CHECKING:
    from beanpole.aws.call import Call


class Cnames:
    def __init__(self, control: Control) -> None:
        self._control = control

    def available(self, call: Call) -> dict[str, Any]:
        prefix = call.params["CNAMEPrefix"]
        free = create.cname_available(self._control, prefix)
        return {"Available": free, "FullyQualifiedCNAME": self._control.balancers.cname(prefix)}

    def swap(self, call: Call) -> None:
        by = By(call.caller.user, call.request_id)
        swap(self._control, by, _called(call.params, "Source"), _called(call.params, "Destination"))


def _called(params: dict[str, Any], which: str) -> Called:
    return Called(params.get(f"{which}EnvironmentId"), params.get(f"{which}EnvironmentName"))
