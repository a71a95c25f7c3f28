"""`--wait`: where an environment is busy, wait until it is Ready and then do what was asked for.

Somebody else may be quicker when it is; then the waiting goes on, all in all for no longer than was said.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from beanpole.cli.environment import find
from beanpole.cli.errors import Busy, Interrupted, Refused, WrongState
from beanpole.cli.follow import patiently

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from beanpole.cli.client import Api
    from beanpole.cli.terminal import Terminal

WAIT = 900.0
"""Seconds where nothing else is said: the ends of most deployments are within."""

POLL = 1.0
"""Seconds between two looks."""

WaitOption = Annotated[
    float | None,
    typer.Option(
        "--wait",
        metavar="[=SECONDS]",
        min=1,
        show_default=False,
        help=f"If it is busy, wait until it is Ready; at most {WAIT:.0f} s, or as long as said.",
    ),
]

_NOT_READY = re.compile(r"Environment named (\S+) is in an invalid state for this operation")


def spelled(words: Sequence[str]) -> list[str]:
    """The words of a command line with a bare `--wait` as what it stands for: it never takes the word behind it."""
    end = words.index("--") if "--" in words else len(words)
    return [f"--wait={WAIT:.0f}" if word == "--wait" and at < end else word for at, word in enumerate(words)]


def patient(api: Api, terminal: Terminal, seconds: float | None, act: Callable[[], None], *names: str) -> None:
    """Do `act` when the environments of these names are Ready, and once more whenever it finds one busy all the same.

    None: at once and only once. Raises WrongState when that does not come about in so many seconds.
    """
    if seconds is None:
        act()
        return
    limit = _Limit(seconds)
    for name in names:
        _until_ready(api, terminal, name, limit)
    while True:
        try:
            act()
        except (Busy, Refused) as problem:
            busy = _busy_one(problem)
            if busy is None:
                raise
            _until_ready(api, terminal, busy, limit)
            time.sleep(POLL)  # it may be in use by something that does not show
            if limit.over:
                raise
        else:
            return


class _Limit:
    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends = time.monotonic() + seconds

    @property
    def over(self) -> bool:
        return time.monotonic() > self._ends


def _until_ready(api: Api, terminal: Terminal, name: str, limit: _Limit) -> None:
    """Returns also when there is no such environment (any more): whoever goes on says so better."""
    began, waited = time.monotonic(), False
    try:
        while True:
            found = patiently(api, terminal.warn, lambda: find(api, name))
            if found is None or found.status == "Ready":
                break
            if found.status == "Terminating":
                raise WrongState(f"{name} is being terminated: there is nothing to wait for.")
            if limit.over:
                raise WrongState(
                    f"{name} is still {found.status} after {limit.seconds:.0f} s. Nothing was begun.",
                    f"Follow it with `beanpole events -f {name}`, or stop it with `beanpole abort {name}`.",
                )
            if not waited:
                terminal.say(f"{name} is {found.status}: waiting up to {limit.seconds:.0f} s until it is Ready.")
                waited = True
            time.sleep(POLL)
    except KeyboardInterrupt:
        raise Interrupted("You stopped waiting; nothing was begun.") from None
    if waited and found is not None:
        terminal.say(f"{name} is Ready, after {time.monotonic() - began:.0f} s.")


def _busy_one(problem: Busy | Refused) -> str | None:
    if isinstance(problem, Busy):
        return problem.environment
    found = _NOT_READY.match(problem.cause)
    return found.group(1) if found else None
