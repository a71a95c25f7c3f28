"""The steps that policies are made of, so that the policies' own files say only what differs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from beanpole.platforms.hooks import HOOKS
from beanpole.policies.plan import (
    Activate,
    AnyStep,
    Drain,
    Exclude,
    Fetch,
    Finish,
    Gate,
    Launch,
    Once,
    Preflight,
    Prepare,
    Retire,
    Shift,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beanpole.policies.change import Member, Target

Slots = tuple[str, ...]


def arrive(slots: Slots, target: Target) -> list[AnyStep]:
    """Everywhere at once, before anything is switched anywhere."""
    steps: list[AnyStep] = [
        Preflight(key="preflight", slots=slots, words=f"Look whether the release has room on {count(slots)}"),
        Fetch(key="fetch", slots=slots, words=f"Bring bundle and dependencies to {count(slots)}"),
    ]
    if target.once:
        words = f"Run the leader-only commands on {slots[0]}"
        steps.append(Once(key="once", slots=slots[:1], hooks=target.hooks, words=words))
    return steps


def replace(batches: Sequence[Slots], target: Target, behind: Slots = ()) -> list[AnyStep]:
    """Batch after batch onto the release; the old one stays, drained but alive, until all batches have passed.

    That keeps the way back short as long as it may be needed, and lets long requests end while the next batch starts.
    `behind`: instances that cannot be reached and serve something else.
    """
    steps: list[AnyStep] = []
    for number, slots in enumerate(batches, 1):
        steps += batch(number, len(batches), slots, target)
    steps += exclude(behind)
    steps.append(drain(tuple(slot for slots in batches for slot in slots)))
    return steps


def batch(number: int, of: int, slots: Slots, target: Target) -> list[AnyStep]:
    name = f"batch {number} of {of}: {count(slots)}"
    return [*prove(number, of, slots, target), finish(f"finish-{number}", number, slots, target, name)]


def finish(key: str, number: int, slots: Slots, target: Target, name: str) -> AnyStep:
    """The end of a batch; `name` says of which."""
    hooks = target.hooks if target.prepare else ""
    words = f"{'Run the postdeploy hooks and make' if hooks else 'Make'} it the release of record ({name})"
    return Finish(key=key, slots=slots, batch=number, hooks=hooks, words=words)


def prove(number: int, of: int, slots: Slots, target: Target, *, waits: bool = False) -> list[AnyStep]:
    """A batch as far as its gate. `waits`: on new instances, which get no requests until a Shift says so."""
    name = f"batch {number} of {of}: {count(slots)}"
    first = target.stop_first is not None
    how = "Stop the old release, start the new one" if first else "Start the new release beside the old one and switch"
    if waits:
        how = "Start the new release, without requests yet"
    steps: list[AnyStep] = []
    if target.prepare:
        words = f"Prepare, with the bundle's {target.hooks} ({name})" if target.hooks else f"Prepare ({name})"
        steps.append(Prepare(key=f"prepare-{number}", slots=slots, hooks=target.hooks, words=words))
    return [
        *steps,
        Activate(
            key=f"activate-{number}",
            slots=slots,
            batch=number,
            stop_first=first,
            waits=waits,
            words=f"{how} ({name})",
        ),
        Gate(key=f"gate-{number}", slots=slots, batch=number, words=f"Check that it stays well ({name})"),
    ]


def new_slots(number: int, first: int = 1) -> Slots:
    return tuple(f"new-{at}" for at in range(first, first + number))


def on_new(target: Target) -> Target:
    """On instances that are new nothing has to stop first, and whatever brings the release is a deployment to them."""
    return msgspec.structs.replace(target, stop_first=None, hooks=HOOKS if target.hooks else "")


def launch(slots: Slots, beside: Slots, key: str = "launch") -> AnyStep:
    return Launch(key=key, slots=slots, beside=beside, words=f"Launch {count(slots)} beside the present ones")


def prefixed(prefix: str, steps: Sequence[AnyStep]) -> list[AnyStep]:
    """The same steps under other keys, for what a plan does twice."""
    return [msgspec.structs.replace(step, key=f"{prefix}-{step.key}") for step in steps]


def shift(to: Slots, percent: int, key: str = "shift") -> AnyStep:
    share = "all requests" if percent == 100 else f"{percent} % of the requests"
    return Shift(key=key, slots=to[:1], to=to, percent=percent, words=f"Send {share} to the new release")


def retire(slots: Slots) -> list[AnyStep]:
    if not slots:
        return []
    words = f"Retire {count(slots)}: let their requests end, then remove them"
    return [Retire(key="retire", slots=slots, words=words)]


def exclude(slots: Slots) -> list[AnyStep]:
    """After the others went over: until then what does not answer may well serve the same as they do."""
    if not slots:
        return []
    return [Exclude(key="exclude", slots=slots, words=f"Take {count(slots)} that cannot be reached out of rotation")]


def notes_of(behind: Sequence[Member]) -> tuple[str, ...]:
    """The sentence about those that are left behind."""
    if not behind:
        return ()
    names = ", ".join(slots_of(behind))
    return (f"These instances cannot be reached and stay behind until they answer again: {names}.",)


def slots_of(members: Sequence[Member]) -> Slots:
    return tuple(member.id for member in members)


def drain(slots: Slots, words: str = "Let the old release finish its requests and stop it") -> AnyStep:
    return Drain(key="drain", slots=slots, words=f"{words} ({count(slots)})")


def count(slots: Slots) -> str:
    return "1 instance" if len(slots) == 1 else f"{len(slots)} instances"


def stop_first_notes(target: Target, several: bool) -> tuple[tuple[str, ...], bool]:
    """The sentences about stop-first, and whether there will be downtime."""
    if target.stop_first is None:
        return (), False
    reason = f"Stop-first: {target.stop_first}"
    if several:
        return (f"{reason}. The other instances serve meanwhile.",), False
    return (f"{reason}. No other instance can take over: requests fail until the new release answers.",), True
