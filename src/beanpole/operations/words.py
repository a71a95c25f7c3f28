"""What is said when a step begins and ends: the sentences that Elastic Beanstalk's users know, where it has some."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.policies import immutable
from beanpole.policies.plan import (
    ANSWER,
    Activate,
    After,
    AnyStep,
    Fetch,
    Finish,
    Gate,
    Launch,
    Once,
    Plan,
    Prepare,
    Retire,
    Shift,
    Smoke,
    Terminate,
    Watch,
)
from beanpole.policies.replacement import POLICY as REPLACEMENT
from beanpole.policies.restart import POLICY as RESTART

if TYPE_CHECKING:
    from beanpole.store.events import Severity
    from beanpole.store.operations import Operation

MAKING = ("create", "rebuild")
"""Operations that make instances: nothing is deployed to any that there was."""

Said = "list[tuple[str, Severity]]"


def begin_events(
    step: AnyStep, instances: list[str], operation: Operation, plan: Plan, *, new_version: bool
) -> list[tuple[str, Severity]]:
    """The events of a step's begin, oldest first. `instances`: ids, or slot names before they are bound."""
    names = f"[{', '.join(instances)}]"
    creating = operation.kind in MAKING
    match step:
        case Launch(key=immutable.TEST) if plan.policy == immutable.NAME:
            words = "Launching one instance with the new settings to verify health."
            return [(f"Immutable deployment policy enabled. {words}", "INFO")]
        case Launch() if plan.policy == immutable.NAME:
            return [("Test instance passed health checks. Launching remaining new instances.", "INFO")]
        case Launch() if plan.policy == REPLACEMENT:
            return [(f"{step.words}.", "INFO")]
        case Fetch() | Terminate() if plan.policy == REPLACEMENT:
            return []  # said for each batch by its launch, and for each instance that is removed
        case After(slots=slots) if slots != (ANSWER,):
            return [(f"{step.words}.", "INFO")]
        case Launch():
            return [("Waiting for EC2 instances to launch. This may take a few minutes.", "INFO")]
        case Activate(batch=batch) if plan.policy == RESTART:
            how = "Stopping and starting" if step.stop_first else "Starting"
            return [(f"Batch {batch}: {how} the application anew on instance(s) {names}.", "INFO")]
        case Fetch() | Prepare() if plan.policy == RESTART:
            return []
        case Fetch() if plan.policy == immutable.NAME and step.key != "fetch":
            return []  # said for the first one
        case Fetch() if not creating and plan.policy != "Rollback":
            what = "version" if new_version else "configuration"
            return [(f"Deploying new {what} to instance(s).", "INFO")]
        case Once():
            return [(f"Running the leader-only commands on instance {names}.", "INFO")]
        case Prepare() if not creating and plan.policy != "Rollback":
            return [(f"{_batch(step.key)}Starting application deployment on instance(s) {names}.", "INFO")]
        case Activate() if plan.policy == "Rollback":
            return [(f"Returning instance(s) {names} to the previous release.", "INFO")]
        case Activate(batch=batch) if not creating and step.stop_first:
            return [
                (f"Batch {batch}: Stopping the old release on instance(s) {names}, then starting the new one.", "INFO")
            ]
        case Gate() if _waiting(step, plan):
            listed = f"({', '.join(instances)})"
            return [(f"Waiting for instance(s) {listed} to pass health checks.", "INFO")]
        case Gate() if plan.policy == "Rollback":
            return [(f"Waiting for instance(s) {names} to be healthy on it.", "INFO")]
        case Gate(batch=batch) if not creating:
            words = "Registering instance(s) with the load balancer and waiting for them to be healthy."
            return [(f"Batch {batch}: {words}", "INFO")]
        case Smoke():
            return [(f"{step.words}.", "INFO")]
        case Shift(percent=0):
            return [(f"Sending no requests to the new instance(s) {names} any more.", "INFO")]
        case Shift(percent=100) if plan.policy == immutable.NAME:
            listed = f"({', '.join(instances)})"
            return [
                ("Successfully launched all instances.", "INFO"),
                (f"Adding new instance(s) {listed} to the load balancer.", "INFO"),
            ]
        case Shift(percent=percent):
            share = "all requests" if percent == 100 else f"{percent} % of the requests"
            return [(f"Sending {share} to the instance(s) with the new version: {names}.", "INFO")]
        case Watch():
            return [(f"{step.words}.", "INFO")]
        case Retire():
            return [(f"Deployment succeeded. Terminating the instance(s) that were replaced: {names}.", "INFO")]
        case Terminate():
            return [("Waiting for EC2 instances to terminate. This may take a few minutes.", "INFO")]
    return []


def end_events(step: AnyStep, operation: Operation, plan: Plan) -> list[tuple[str, Severity]]:
    """The events of a step that is done on all of its instances."""
    match step:
        case Finish(batch=batch) if plan.policy == RESTART:
            return [(f"Batch {batch}: Restarted application server.", "INFO")]
        case Finish() if any(_waiting(other, plan) for other in plan.steps):
            return []
        case Finish(batch=batch) if operation.kind not in MAKING and plan.policy != "Rollback":
            return [(f"Batch {batch}: Completed application deployment.", "INFO")]
        case Smoke():
            return [("The smoke tests through the balancer passed.", "INFO")]
    return []


def _waiting(step: AnyStep, plan: Plan) -> bool:
    """Whether it is the gate of instances that get no requests before their share is decided."""
    if not isinstance(step, Gate):
        return False
    return any(isinstance(each, Activate) and each.waits and each.slots == step.slots for each in plan.steps)


def _batch(key: str) -> str:
    number = key.rpartition("-")[2]
    return f"Batch {number}: " if number.isdigit() else ""
