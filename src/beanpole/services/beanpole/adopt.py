"""Our operations that take over a hand-made service, and give it back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from beanpole.control.adopt import Adoptions, Wanted
from beanpole.control.context import By

if TYPE_CHECKING:
    from beanpole.aws.call import Call, Handler
    from beanpole.control.adoption import Proposal
    from beanpole.control.eject import Ejections

T = TypeVar("T")


class AdoptCalls:
    def __init__(self, adoptions: Adoptions, ejections: Ejections, loop: asyncio.AbstractEventLoop) -> None:
        self._adoptions = adoptions
        self._ejections = ejections
        self._loop = loop

    def handlers(self) -> dict[str, Handler]:
        return {
            "PlanAdoption": self.plan,
            "AdoptUnit": self.adopt,
            "DescribeAdoption": self.describe,
            "EjectHost": self.eject_host,
            "EjectEnvironment": self.eject_environment,
            "DescribeEjection": self.describe_ejection,
        }

    def plan(self, call: Call) -> dict[str, Any]:
        return {"Proposal": _shape(self._wait(self._adoptions.plan(_wanted(call))))}

    def adopt(self, call: Call) -> dict[str, Any]:
        return {"Proposal": _shape(self._wait(self._adoptions.begin(_by(call), _wanted(call))))}

    def describe(self, call: Call) -> dict[str, Any]:
        task = self._adoptions.task(call.params["HostName"])
        if task is None:
            return {"State": "none"}
        return {**_progress(task), "EnvironmentName": task.environment} | (
            {
                "Seconds": task.result.get("waited", 0.0),
                "Kept": task.result.get("kept", 0),
                "Cut": task.result.get("cut", 0),
            }
            if task.over
            else {}
        )

    def eject_host(self, call: Call) -> dict[str, Any]:
        return {"EnvironmentNames": self._wait(self._ejections.host(_by(call), call.params["HostName"]))}

    def eject_environment(self, call: Call) -> dict[str, Any]:
        unit = call.params.get("ToUnit", False)
        names = self._wait(self._ejections.environment(_by(call), call.params["EnvironmentName"], to_unit=unit))
        return {"HostNames": names}

    def describe_ejection(self, call: Call) -> dict[str, Any]:
        task = self._ejections.task(call.params["Name"])
        if task is None:
            return {"State": "none"}
        return _progress(task) | ({"Seconds": task.gap} if task.over else {})

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _progress(task: Any) -> dict[str, Any]:
    state = "done" if task.over else "failed" if task.cause else "running"
    return {
        "State": state,
        "Words": task.words,
        "Done": task.done,
        "Total": task.total,
        "Cause": task.cause,
        "Remedy": task.remedy,
    }


def _wanted(call: Call) -> Wanted:
    given = call.params
    return Wanted(
        host=given["HostName"],
        unit=given["Unit"] if "." in given["Unit"] else f"{given['Unit']}.service",
        port=given.get("Port"),
        application=given.get("ApplicationName"),
        environment=given.get("EnvironmentName"),
        health_path=given.get("HealthCheckPath"),
        force=given.get("Force", False),
    )


def _shape(proposal: Proposal) -> dict[str, Any]:
    return {
        "Unit": proposal.unit,
        "ApplicationName": proposal.application,
        "EnvironmentName": proposal.environment,
        "VersionLabel": proposal.label,
        "Address": proposal.address,
        "Port": proposal.port,
        "Folder": proposal.folder,
        "Python": proposal.python,
        "Procfile": proposal.procfile,
        "Requirements": len(proposal.requirements.splitlines()) if proposal.requirements else None,
        "Properties": [{"Name": name, "Value": value} for name, value in sorted(proposal.shown().items())],
        "LeftOut": list(proposal.left_out),
        "Large": [{"Path": path, "Size": size} for path, size in proposal.large],
        "Doubts": [{"Cause": each.cause, "Remedy": each.remedy, "Blocking": each.blocking} for each in proposal.doubts],
        "Blocked": proposal.blocked,
    }


def _by(call: Call) -> By:
    return By(call.caller.user, call.request_id)
