"""Follow an operation until it is over, whatever happens to the control plane meanwhile.

The operation belongs to the control plane: nothing that ends the following (Ctrl-C, a limit, a lost connection) ends
the operation. Each of them says how to go on looking.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

from beanpole.cli.errors import CommandFailed, Interrupted, Refused, Unreachable
from beanpole.cli.event import Event, Events
from beanpole.cli.operation import Operation, operation_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from beanpole.cli.client import Api
    from beanpole.cli.screen import Screen

POLL = 0.3
"""Seconds between two looks at an operation: what a person takes for immediate."""

PATIENCE = 60.0
"""Seconds that the control plane may be away: longer than it needs to be restarted."""

RETRY = 0.5
"""Seconds between two attempts to reach it."""

MISSING = 3.0
"""Seconds after which a request without an operation is taken for one that had nothing to do."""

PASSING = {"InternalFailure", "ServiceUnavailable", "Throttling"}
"""Errors of the control plane that may be over at the next attempt, such as while it stops."""

T = TypeVar("T")


def follow(api: Api, environment: str, request_id: str, screen: Screen, limit: float) -> Operation | None:
    """The operation that the request began, once it is over; None when the request began none.

    Raises Interrupted on Ctrl-C, Unreachable when the control plane stays away, CommandFailed after `limit` seconds.
    """
    events = Events(api, RequestId=request_id)
    began = time.monotonic()

    def look() -> tuple[Operation | None, list[Event]]:
        # Events second: those that close an operation are written together with its end.
        return _operation(api, request_id), events.latest()

    try:
        while True:
            operation, said = patiently(api, screen.say, look)
            waited = time.monotonic() - began
            if operation is not None:
                screen.show(operation, said)
                if operation.over:
                    return operation
            elif waited > MISSING:
                return None
            if waited > limit:
                raise CommandFailed(
                    f"It is not over after {limit:.0f} s, and goes on without being followed.", how(environment)
                )
            time.sleep(POLL)
    except KeyboardInterrupt:
        raise Interrupted("You stopped following; the operation goes on.", how(environment)) from None
    except Unreachable as away:
        raise Unreachable(
            f"{away.cause} What was begun is continued, or undone, when it runs again.", away.remedy
        ) from away


def patiently(api: Api, say: Callable[[str], None], look: Callable[[], T]) -> T:
    """What `look` answers, repeated while the control plane is away, for PATIENCE seconds at most."""
    lost: float | None = None
    while True:
        try:
            answer = look()
        except (Unreachable, Refused) as problem:
            if isinstance(problem, Refused) and problem.code not in PASSING:
                raise
            now = time.monotonic()
            if lost is None:
                lost = now
                say(f"{problem.cause} Applications keep serving. Waiting up to {PATIENCE:.0f} s for it.")
            elif now - lost > PATIENCE:
                raise
            time.sleep(RETRY)
            api.forget_endpoint()
        else:
            if lost is not None:
                say("The control plane answers again.")
            return answer


def how(environment: str) -> str:
    return (
        f"Look at it with `beanpole events -f {environment}` and `beanpole status {environment}`; "
        f"stop it with `beanpole abort {environment}`."
    )


def _operation(api: Api, request_id: str) -> Operation | None:
    found = api.beanpole("DescribeOperations", RequestId=request_id, MaxRecords=1).get("Operations", [])
    return operation_of(found[0]) if found else None
