"""A plan: what a change will do, decided before anything is done, and stored so that a restart resumes this very plan.

A plan is a list of steps. Steps are barriers; inside a step the slots go in parallel. A slot is an instance that
exists (`i-…`) or one that a Launch step will bind (`new-1`). Keys are stable within a plan: the journal knows the work
by them.
"""

from __future__ import annotations

import msgspec

from beanpole.platforms.hooks import Hooks

SCHEMA = 1
"""Raised when a step's meaning changes. A stored plan of an unknown schema is not carried on but returned from."""


class Step(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What happens to some slots before the next step begins. `words` is one line for a person."""

    key: str
    slots: tuple[str, ...]
    words: str


class Preflight(Step, frozen=True, kw_only=True, tag=True):
    """Look whether the release has room on each instance. Changes nothing."""


class Launch(Step, frozen=True, kw_only=True, tag=True):
    """Make the instances that the slots will stand for.

    `beside`: instances that are to leave later. A server of one of them may take a second instance of the environment
    until then; without them an environment has one on a server.
    """

    beside: tuple[str, ...] = ()


class Fetch(Step, frozen=True, kw_only=True, tag=True):
    """The bundle and its dependency layer arrive and are verified by hash. No user code runs."""


class Once(Step, frozen=True, kw_only=True, tag=True):
    """Leader-only commands, on the one slot. Never repeated by a retry, never part of a return.

    The prebuild hooks of that slot come before them.
    """

    hooks: Hooks = ""


class Prepare(Step, frozen=True, kw_only=True, tag=True):
    """What runs before the switch on each instance: prebuild hooks, container commands, predeploy hooks.

    Nothing where a rollback finds it done.
    """

    hooks: Hooks = ""


class Activate(Step, frozen=True, kw_only=True, tag=True):
    """Start the release, prove that it answers, send requests to it and no new ones to the old one.

    Stop-first: the old one is drained and stopped before the new one starts, because both cannot run at once.
    `waits`: the balancer checks it and sends nothing; it gets its share of the requests by a Shift step.
    """

    batch: int
    stop_first: bool = False
    waits: bool = False


class Gate(Step, frozen=True, kw_only=True, tag=True):
    """Consecutive passing checks of the release on each instance.

    `within`: seconds in which they must have passed; 0: as long as a start may take.
    """

    batch: int
    within: float = 0.0


class Pause(Step, frozen=True, kw_only=True, tag=True):
    """So many seconds pass before the next step, counted from the first time that it began. Nothing is asked."""

    seconds: float


class Smoke(Step, frozen=True, kw_only=True, tag=True):
    """The fleet answers the release's critical endpoints through the balancer."""


class Finish(Step, frozen=True, kw_only=True, tag=True):
    """Other processes than `web` go over to the release, postdeploy hooks run, and it becomes what a boot starts.

    No hook where Prepare had nothing to do.
    """

    batch: int
    hooks: Hooks = ""


class Drain(Step, frozen=True, kw_only=True, tag=True):
    """Wait until nothing else than the release has requests, or the drain deadline is over; stop the rest."""


class Register(Step, frozen=True, kw_only=True, tag=True):
    """The balancer learns how the settings want these instances checked. No instance is touched."""


class Swap(Step, frozen=True, kw_only=True, tag=True):
    """The names of two environments, the operation's own (the slot) and `other` (an id), lead to each other's instances
    from one moment on. No instance is touched."""

    other: str


class Exclude(Step, frozen=True, kw_only=True, tag=True):
    """No new requests to these instances, which cannot be reached. Nothing is asked of them."""


class Shift(Step, frozen=True, kw_only=True, tag=True):
    """Requests are shared anew: `percent` of them to the instances `to`, the rest to the environment's others.

    0 and 100 are exact. Within each of the two groups all instances get the same. Done once, whatever `slots` say: they
    name one of the instances, since it is the balancer that changes. `percent` is 0 to 100.
    """

    percent: int
    to: tuple[str, ...]


class Watch(Step, frozen=True, kw_only=True, tag=True):
    """For so many seconds the release on the instances `to` is judged by what requests meet there and at the others.

    One that is clearly worse fails the step before the time is over; a promotion ends it early, as passed. Done once,
    as Shift is.
    """

    seconds: float
    to: tuple[str, ...]


class Retire(Step, frozen=True, kw_only=True, tag=True):
    """These instances leave, and others serve instead: no new requests, wait until they have none or the drain deadline
    is over, then stop everything on them and remove them.

    From its begin there is no way back. The begin and an abort exclude each other in one transaction: either the abort
    was asked for before, and nothing is retired, or it is answered "too late". What goes wrong with an instance is told
    and left to be removed later; no operation fails by it. So a plan retires last: after this only Retire may follow.
    """


class Leave(Step, frozen=True, kw_only=True, tag=True):
    """No new requests to these instances; wait until they have none, or the drain deadline is over."""


class Terminate(Step, frozen=True, kw_only=True, tag=True):
    """Stop everything on the instances and remove them."""


class After(Step, frozen=True, kw_only=True, tag=True):
    """Other environments of the same request come first. The slots are their names, or ANSWER alone.

    `limit`: seconds that the others may take. One of them that fails fails the step.
    """

    limit: int = 0


ANSWER = "the answer"
"""A slot of After that waits a moment, so that a client which counts from the call's answer misses nothing."""

AnyStep = (
    After
    | Preflight
    | Launch
    | Fetch
    | Once
    | Prepare
    | Activate
    | Gate
    | Pause
    | Finish
    | Exclude
    | Smoke
    | Drain
    | Register
    | Swap
    | Shift
    | Watch
    | Retire
    | Leave
    | Terminate
)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`notes` are sentences that a person should read before consenting: reasons, exclusions, expected downtime."""

    policy: str
    steps: tuple[AnyStep, ...]
    notes: tuple[str, ...] = ()
    downtime: bool = False
    """Whether requests will fail for a while although nothing goes wrong."""
    schema: int = SCHEMA

    @property
    def touches(self) -> bool:
        """Whether it does anything to the environment itself."""
        return any(not isinstance(step, After) for step in self.steps)


class UnknownPlan(Exception):
    """The stored plan was written by a Beanpole that this one does not understand."""


def encode(plan: Plan) -> str:
    return msgspec.json.encode(plan).decode()


def decode(text: str) -> Plan:
    """Read a stored plan. Raises UnknownPlan for another schema or an unknown kind of step."""
    try:
        plan = msgspec.json.decode(text, type=Plan)
    except msgspec.DecodeError as problem:
        raise UnknownPlan(str(problem)) from problem
    if plan.schema != SCHEMA:
        raise UnknownPlan(f"plan of schema {plan.schema}, this Beanpole knows {SCHEMA}")
    return plan
