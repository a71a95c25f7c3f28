"""An operation as plain lines, for everything that is no terminal: each change once, with its time. Pure.

Time does not go back from one line to the next: what was said since the last look comes before what is seen now.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.cli.event import Event, clock
from beanpole.cli.terminal import printable

if TYPE_CHECKING:
    import datetime as dt

    from beanpole.cli.operation import Operation

QUIET = {"waiting"}
"""States that are not worth a line: every step begins so."""


class Lines:
    """Remembers what was said. `changes` answers only what is new."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], str] = {}
        self._latest: dt.datetime | None = None

    def changes(self, operation: Operation, events: list[Event], now: dt.datetime) -> list[str]:
        """What changed since the last call: the events given, steps, and the instances in them.

        `now` is our clock. That of the control plane, which dates the events, may be ahead of it.
        """
        self._latest = now = max((now, *filter(None, (self._latest,)), *(event.at for event in events)))
        found = [event.line() for event in events if not _is_output(operation, event)]
        if operation.fault is not None and self._is_new(("fault",), "said"):
            found += [f"    | {printable(line)}" for line in operation.fault.shown_lines]
        for step in operation.steps:
            seen_at_work = (step.key,) in self._known
            changed = self._is_new((step.key,), step.state)
            if changed and step.state == "running":
                found.append(_line(now, "running", step.words))
            for each in step.instances:
                # A step that was over before it was looked at is one line.
                if self._is_new((step.key, each.instance), each.state) and (seen_at_work or step.state != "done"):
                    found.append(_line(now, each.state, f"  {each.instance} {each.told}".rstrip()))
            if changed and step.state != "running":
                found.append(_line(now, step.state, step.words))
        return found

    def _is_new(self, key: tuple[str, ...], state: str) -> bool:
        if state in QUIET or self._known.get(key) == state:
            return False
        self._known[key] = state
        return True


def _is_output(operation: Operation, event: Event) -> bool:
    """Whether the event only repeats a line of what failed, which is said in one piece."""
    fault = operation.fault
    return fault is not None and event.message.removeprefix(f"[Instance: {fault.instance}] ") in fault.shown_lines


def _line(now: dt.datetime, state: str, words: str) -> str:
    return f"{clock(now)}  {state:<7}  {printable(words)}"
