"""Where an operation is shown while it is followed: drawn on a terminal, or written as lines everywhere else."""

from __future__ import annotations

import datetime as dt
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from beanpole.cli.lines import Lines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.live import Live

    from beanpole.cli.event import Event
    from beanpole.cli.operation import Operation
    from beanpole.cli.terminal import Terminal

LOUD = {"WARN", "ERROR", "FATAL"}
"""Severities of events that are written above a drawing. What the others say is in the drawing."""


class Screen(Protocol):
    def show(self, operation: Operation, events: list[Event]) -> None:
        """The operation as it is now, and the events since the last call."""

    def say(self, words: str) -> None:
        """Something about the following itself."""


class Written:
    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._lines = Lines()

    def show(self, operation: Operation, events: list[Event]) -> None:
        for line in self._lines.changes(operation, events, dt.datetime.now(dt.UTC)):
            self._terminal.say(line)

    def say(self, words: str) -> None:
        self._terminal.warn(words)


class Drawn:
    def __init__(self, live: Live, title: str) -> None:
        self._live = live
        self._title = title
        self._began = time.monotonic()
        self._blamed = False

    def show(self, operation: Operation, events: list[Event]) -> None:
        from beanpole.cli.view import blamed, picture

        for event in events:
            if event.severity in LOUD and not _in_picture(operation, event):
                self._live.console.print(event.line(), markup=False, highlight=False)
        if operation.fault is not None and not self._blamed:
            self._blamed = True
            self._live.console.print(blamed(operation.fault))
        # Until it is over by our own clock: that of a control plane elsewhere may differ.
        seconds = operation.seconds if operation.seconds is not None else time.monotonic() - self._began
        self._live.update(picture(self._title, operation, seconds), refresh=True)

    def say(self, words: str) -> None:
        self._live.console.print(words, markup=False, highlight=False)


@contextmanager
def screen_on(terminal: Terminal, title: str) -> Iterator[Screen]:
    """The last drawing stays on the terminal."""
    if not terminal.live:
        terminal.say(title)
        yield Written(terminal)
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(file=terminal.words, no_color=not terminal.colours, highlight=False, emoji=False)
    with Live(console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        yield Drawn(live, title)


def _in_picture(operation: Operation, event: Event) -> bool:
    noted = event.message in operation.notes
    return noted or (operation.fault is not None and operation.fault.cause.rstrip(".") in event.message)
