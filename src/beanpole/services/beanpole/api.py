"""The operations of our own service."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from beanpole import __version__
from beanpole.aws.errors import AwsError
from beanpole.control import expiry, rollback, update
from beanpole.control.context import By, Control, the_environment
from beanpole.control.promote import promote
from beanpole.fleet.agent_client import AgentError, AgentUnreachable
from beanpole.fleet.detached import AgentWillNotStart
from beanpole.operations.rehearsal import findings
from beanpole.operations.steps.turn import may_pause
from beanpole.services.beanpole import history, shapes
from beanpole.services.elasticbeanstalk.shapes import moment
from beanpole.store import environments, instances, operations
from beanpole.store.bundles import Manifest

if TYPE_CHECKING:
    from beanpole.aws.call import Call, Handler
    from beanpole.control.compose import Composed
    from beanpole.control.update import Decision
    from beanpole.fleet.fleet import Fleet
    from beanpole.operations.board import Board
    from beanpole.services.elasticbeanstalk.environments import Environments

T = TypeVar("T")

_ID = re.compile("[0-9]{1,18}")
"""What the ids of operations look like; the databases' integers have no more digits."""

_REMEDY = "Try again in a moment: an agent that died is started again. Killing one that hangs ends no application."

ANSWER_LIMIT = 20.0
"""Seconds that a call may wait for an agent."""


@dataclass(frozen=True)
class ControlPlane:
    """Where this one is; what `beanpole status` shows."""

    home: str
    database: str
    """Its path, or its address without a password."""
    api: str


class Beanpole:
    def __init__(
        self,
        control: Control,
        fleet: Fleet,
        board: Board,
        environments_: Environments,
        here: ControlPlane,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._control = control
        self._fleet = fleet
        self._board = board
        self._environments = environments_
        self._here = here
        self._loop = loop

    def handlers(self) -> dict[str, Handler]:
        return {
            "DescribeControlPlane": self.control_plane,
            "DescribeHistory": self.history,
            "DescribeOperations": self.operations,
            "DescribeReleases": self.releases,
            "DescribeRequests": self.requests,
            "PlanEnvironmentUpdate": self.plan,
            "PromoteEnvironment": self.promote,
            "RollbackEnvironment": self.rollback,
            "ScheduleTermination": self.schedule_termination,
            "TailLogs": self.tail,
        }

    def control_plane(self, _call: Call) -> dict[str, Any]:
        with self._control.database.read() as db:
            live, fleet = environments.listed(db), instances.listed(db)
        identity = self._control.identity
        return {
            "Version": __version__,
            "Home": self._here.home,
            "Database": self._here.database,
            "StoreId": identity.store,
            "Region": identity.region,
            "Account": identity.account,
            "ApiUrl": self._here.api,
            "BalancerUrl": self._control.balancers.fronts[0].url,
            "Environments": len(live),
            "Instances": len(fleet),
        }

    def operations(self, call: Call) -> dict[str, Any]:
        """Newest first; those of one environment, of one request, or the one with an id."""
        params = call.params
        with self._control.database.read() as db:
            if "OperationId" in params:
                known = _ID.fullmatch(params["OperationId"])
                one = operations.find(db, int(params["OperationId"])) if known else None
                found = [one] if one else []
            else:
                of = the_environment_or_gone(db, params) if _names_one(params) else None
                found = operations.listed(
                    db, environment_id=of, request_id=params.get("RequestId"), limit=params.get("MaxRecords", 20)
                )
            return {"Operations": [shapes.operation(db, self._board, each) for each in found]}

    def history(self, call: Call) -> dict[str, Any]:
        with self._control.database.read() as db:
            return history.describe(db, call.params)

    def releases(self, call: Call) -> dict[str, Any]:
        with self._control.database.read() as db:
            environment = self._named(db, call)
            found = environments.releases(db, environment.id)[: call.params.get("MaxRecords", 100)]
        return {
            "Releases": [
                {
                    "Number": release.number,
                    "VersionLabel": release.version_label,
                    "Digest": release.digest,
                    "CreatedAt": moment(release.created_at),
                    "PassedAt": moment(release.passed_at) if release.passed_at else None,
                    "Current": release.number == environment.release,
                }
                for release in found
            ]
        }

    def plan(self, call: Call) -> dict[str, Any]:
        wanted = self._environments.wanted(call.params)
        name, id_ = call.params.get("EnvironmentName"), call.params.get("EnvironmentId")
        decision = update.decide(self._control, wanted, name=name, id_=id_)
        answer: dict[str, Any] = {"Plan": shapes.plan(decision.plan)}
        if call.params.get("Preflight", False) and decision.composed is not None:
            answer["Findings"] = self._findings(decision, decision.composed)
        return answer

    def _findings(self, decision: Decision, composed: Composed) -> list[str]:
        """What is in the way of the plan on each instance, as far as its agent says without being started."""
        size = Manifest.from_json(self._control.blobs.path(composed.content.manifest).read_text()).size
        first = composed.content.stop_first is not None
        pause = may_pause(len(decision.basis.fleet), composed.settings)
        return self._wait(findings(self._fleet, decision.plan, size, stop_first=first, may_pause=pause))

    def rollback(self, call: Call) -> dict[str, Any]:
        params = call.params
        decision = rollback.decide(
            self._control,
            name=params.get("EnvironmentName"),
            id_=params.get("EnvironmentId"),
            number=params.get("ReleaseNumber"),
        )
        answer: dict[str, Any] = {
            "Release": decision.back_to.number,
            "VersionLabel": decision.back_to.version_label,
            "Differences": [{"What": each.what, "From": each.old, "To": each.new} for each in decision.differences],
            "Plan": shapes.plan(decision.plan),
        }
        if not params.get("DryRun", False):
            by = By(call.caller.user, call.request_id)
            begun = rollback.rollback(self._control, by, decision)
            answer |= {"OperationId": str(begun.operation), "Release": begun.release}
        return answer

    def promote(self, call: Call) -> dict[str, Any]:
        name, id_ = call.params.get("EnvironmentName"), call.params.get("EnvironmentId")
        found = promote(self._control, By(call.caller.user, call.request_id), name=name, id_=id_)
        return {"OperationId": str(found.id), "RequestId": found.request_id}

    def schedule_termination(self, call: Call) -> dict[str, Any]:
        params = call.params
        by = By(call.caller.user, call.request_id)
        name, id_ = params.get("EnvironmentName"), params.get("EnvironmentId")
        found = expiry.schedule(self._control, by, params.get("Seconds"), name=name, id_=id_)
        at = moment(found.terminate_at) if found.terminate_at is not None else None
        return {"EnvironmentName": found.name, "TerminateAt": at}

    def requests(self, call: Call) -> dict[str, Any]:
        """Since the environment's first request."""
        with self._control.database.read() as db:
            environment = self._named(db, call)
            endpoints = instances.endpoints(db, environment.id)
        counted = self._wait(self._control.balancers.requests(self._control.database.now_ms() // 1000 - 60))
        totals = counted["totals"].get(environment.id, {})
        recent: dict[str, list[int]] = {}
        for pools in counted["seconds"].values():
            for key, counts in pools.get(environment.id, {}).items():
                sums = recent.setdefault(key, [0, 0])
                sums[0] += sum(counts.get(kind, 0) for kind in ("2xx", "3xx", "4xx", "5xx"))
                sums[1] += counts.get("failed", 0)
        return {
            "Served": totals.get("requests", 0),
            "Failed": totals.get("failed", 0),
            "PerInstance": [
                {"InstanceId": endpoint.instance_id, "Served": served, "Failed": failed}
                for endpoint in endpoints
                for served, failed in [recent.get(f"{endpoint.address}:{endpoint.port}", [0, 0])]
            ],
        }

    def tail(self, call: Call) -> dict[str, Any]:
        with self._control.database.read() as db:
            environment = self._named(db, call)
            fleet = instances.listed(db, environment.id)
        wanted = call.params.get("InstanceId")
        chosen = [instance.id for instance in fleet if wanted in (None, instance.id)]
        lines = call.params.get("Lines", 100)
        return {"Files": self._wait(self._tails(chosen, lines))}

    async def _tails(self, chosen: list[str], lines: int) -> list[dict[str, Any]]:
        found = await asyncio.gather(*(self._tail(instance, lines) for instance in chosen))
        return [file for files in found for file in files]

    async def _tail(self, instance: str, lines: int) -> list[dict[str, Any]]:
        try:
            async with asyncio.timeout(ANSWER_LIMIT - 1):
                client = await self._fleet.client(instance)
                files = await client.logs(lines)
        except TimeoutError:
            raise AgentUnreachable(f"the agent of {instance} gave no answer in time") from None
        return [{"InstanceId": instance, "Name": file["name"], "Text": file["text"]} for file in files]

    def _named(self, db: Any, call: Call) -> environments.Environment:
        return the_environment(db, name=call.params.get("EnvironmentName"), id_=call.params.get("EnvironmentId"))

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """From a worker thread: have the event loop do it. AwsError when an agent is not there or takes too long."""
        try:
            return asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, ANSWER_LIMIT), self._loop).result()
        except (AgentError, AgentWillNotStart) as problem:
            raise AwsError("AgentUnavailable", f"{str(problem).rstrip('.')}. {_REMEDY}") from problem
        except TimeoutError as problem:
            raise AwsError("AgentUnavailable", f"No answer within {ANSWER_LIMIT:.0f} s. {_REMEDY}") from problem


def _names_one(params: dict[str, Any]) -> bool:
    return "EnvironmentName" in params or "EnvironmentId" in params


def the_environment_or_gone(db: Any, params: dict[str, Any]) -> str:
    """The id; also of a terminated environment when it is named by id, so that its end can be followed."""
    if "EnvironmentId" in params and environments.find(db, params["EnvironmentId"]) is not None:
        return str(params["EnvironmentId"])
    return the_environment(db, name=params.get("EnvironmentName")).id
