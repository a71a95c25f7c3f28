"""What must hold when all is over: one fleet and one outcome, or a named exception; one closing sentence each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.operations import closing
from beanpole.policies import plan as plans
from beanpole.policies.plan import Once, Shift, Smoke, Watch
from beanpole.simulation.promises import FAILURES, LAUNCHED, SUCCESSES

if TYPE_CHECKING:
    from beanpole.simulation.promises import Promises
    from beanpole.simulation.world import World

EXPECTED = {"succeeded": SUCCESSES, "failed": FAILURES, "aborted": (*FAILURES, closing.REVERTED)}


def unsettled(world: World) -> list[str]:
    """What is not as it should be in the end; it may become so yet."""
    ask = world.store.ask
    ((status, number, desired),) = ask("SELECT status, release, desired FROM environment WHERE id = ?", "e-1")
    found = [f"operation {each} is open" for (each,) in ask("SELECT id FROM operation WHERE phase <> 'done'")]
    there = ask("SELECT id, state FROM instance WHERE environment_id = 'e-1'")
    if status == "Terminated":
        return found + [f"{name} is there though the environment is terminated" for name, _ in there]
    if status != "Ready":
        return [*found, f"the environment is {status}"]
    if len(there) != desired:
        found.append(f"there are {len(there)} instances instead of {desired}")
    ((digest,),) = ask("SELECT digest FROM release WHERE environment_id = 'e-1' AND number = ?", number)
    serving = {seat.endpoint.instance_id: seat.endpoint.digest for seat, _ in world.edge.serving()}
    rotation: dict[str, str] = {}
    for seat in world.edge.mine():
        if not seat.serving:
            continue
        name = seat.endpoint.instance_id
        if name in rotation:
            found.append(f"{name} gets requests for two releases")
        rotation[name] = seat.endpoint.digest
    bad = world.version(digest).flaw in ("gate", "later")
    for name, _ in there:
        machine = world.machines.get(name)
        if machine is None:
            found.append(f"{name} is in the store and does not exist")
        elif machine.answers:
            what = serving.get(name)
            if bad and rotation.get(name) in (None, digest):
                continue  # it may be out of rotation, or may yet be returned from by a person
            if what != digest and not world.refuses(name, digest):
                found.append(f"{name} serves {what} instead of {digest}")
            elif machine.boot != digest and what == digest and name not in world.excused:
                found.append(f"{name} would start {machine.boot} with the machine instead of {digest}")
            elif len(machine.webs) > 1 and name not in world.excused:
                found.append(f"more than the release runs on {name}: {', '.join(machine.webs)}")
        elif name in rotation and rotation[name] != digest and len(rotation) > 1:
            found.append(f"{name} cannot be reached and gets requests for {rotation[name]}")
    return found


def audit(world: World, promises: Promises) -> list[str]:
    """Of what was done: sentences, journals, outcomes."""
    found = []
    ask = world.store.ask
    rows = ask("SELECT id, kind, origin, request_id, outcome, plan, release, abort FROM operation")
    for number, kind, origin, request, outcome, text, release, aborted in rows:
        said = promises.closings.get(request, [])
        if origin == "user":
            fits = EXPECTED.get(outcome, ())
            if len(said) != 1 or not (said[0] in fits or (kind == "create" and said[0].startswith(LAUNCHED))):
                found.append(f"operation {number} ({kind}) is {outcome}, and was closed with {said}")
        if aborted and outcome == "succeeded":
            found.append(f"operation {number} succeeded, although its abort had been accepted")
        found += _journal(world, number, outcome, text)
        flaw = _flaw(world, release)
        if outcome == "succeeded" and kind == "update" and flaw in ("start", "prepare", "once") and _activates(text):
            found.append(f"operation {number} succeeded, although its version has a flaw: {flaw}")
    return found


def _journal(world: World, number: int, outcome: str, text: str) -> list[str]:
    rows = world.store.ask("SELECT key, epoch, result FROM journal WHERE operation_id = ? ORDER BY id", number)
    found = []
    epochs = [epoch for _, epoch, _ in rows]
    if epochs != sorted(epochs):
        found.append(f"somebody who had lost the lease wrote into the journal of operation {number}")
    if outcome != "succeeded":
        return found
    keys = {key: result for key, _, result in rows}
    behind = {key.rpartition("/")[2] for key, result in keys.items() if '"behind"' in result}
    for step in plans.decode(text).steps:
        if isinstance(step, Once | Smoke | Shift | Watch):
            if not any(key.startswith(f"forward/{step.key}/") and not key.endswith("/begin") for key in keys):
                found.append(f"step {step.key} of operation {number} is not in its journal")
            continue
        for slot in step.slots:
            if slot not in behind and f"forward/{step.key}/{slot}" not in keys:
                found.append(f"{step.key} on {slot} is not in the journal of operation {number}, which succeeded")
    return found


def _activates(text: str) -> bool:
    return any(type(step).__name__ == "Activate" for step in plans.decode(text).steps)


def _flaw(world: World, release: int | None) -> str:
    rows = world.store.ask("SELECT version_label FROM release WHERE environment_id = 'e-1' AND number = ?", release)
    return world.scenario.versions[int(rows[0][0][1:]) - 1].flaw if rows else ""
