"""What is said when a step begins and ends: the sentences that Elastic Beanstalk's users know, where it has some."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    Smoke,
    Terminate,
)

if TYPE_CHECKING:
    from beanpole.store.events import Severity
    from beanpole.store.operations import Operation

Said = "list[tuple[str, Severity]]"


def begin_events(
    step: AnyStep, instances: list[str], operation: Operation, plan: Plan, *, new_version: bool
) -> list[tuple[str, Severity]]:
    """The events of a step's begin, oldest first. `instances`: ids, or slot names before they are bound."""
    names = f"[{', '.join(instances)}]"
    creating = operation.kind == "create"
    match step:
        case After(slots=slots) if slots != (ANSWER,):
            return [(f"{step.words}.", "INFO")]
        case Launch():
            return [("Waiting for EC2 instances to launch. This may take a few minutes.", "INFO")]
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
        case Gate() if plan.policy == "Rollback":
            return [(f"Waiting for instance(s) {names} to be healthy on it.", "INFO")]
        case Gate(batch=batch) if not creating:
            words = "Registering instance(s) with the load balancer and waiting for them to be healthy."
            return [(f"Batch {batch}: {words}", "INFO")]
        case Smoke():
            return [(f"{step.words}.", "INFO")]
        case Terminate():
            return [("Waiting for EC2 instances to terminate. This may take a few minutes.", "INFO")]
    return []


def end_events(step: AnyStep, operation: Operation, plan: Plan) -> list[tuple[str, Severity]]:
    """The events of a step that is done on all of its instances."""
    match step:
        case Finish(batch=batch) if operation.kind != "create" and plan.policy != "Rollback":
            return [(f"Batch {batch}: Completed application deployment.", "INFO")]
        case Smoke():
            return [("The smoke tests through the balancer passed.", "INFO")]
    return []


def _batch(key: str) -> str:
    number = key.rpartition("-")[2]
    return f"Batch {number}: " if number.isdigit() else ""
