"""Why a command ended badly: one sentence of cause, one of remedy, and the exit status that scripts rely on.

CommandFailed          1    the operation was tried and did not come about
├── Misused            2    the command line itself is wrong
├── WrongState         3    something is not there, or is in no state for this
│   └── Busy           3    something else is under way in the environment
├── Unreachable        4    the control plane does not run or does not answer: whoever follows may try again
├── WrongKeys          4    it answers, and does not know our keys
├── Refused            *    the API said no; the status follows from its code
└── Interrupted        130  Ctrl-C while following

OutputClosed           141  no failure: whoever read what the command writes has seen enough
"""

from __future__ import annotations

from typing import Self, TextIO


class CommandFailed(Exception):
    """`cause` and `remedy` are sentences for a person; `remedy` may be empty when there is nothing to advise."""

    exit_status = 1

    def __init__(self, cause: str, remedy: str = "") -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy

    @classmethod
    def of(cls, message: str) -> Self:
        """A message of cause and remedy in its two parts."""
        cause, stop, remedy = message.partition(". ")
        return cls(f"{cause[:1].upper()}{cause[1:]}{stop.strip()}", remedy)


class Misused(CommandFailed):
    exit_status = 2


class WrongState(CommandFailed):
    exit_status = 3


class Busy(WrongState):
    """Something else is under way in the environment; it may be waited for."""

    def __init__(self, environment: str, cause: str, remedy: str) -> None:
        super().__init__(cause, remedy)
        self.environment = environment


class Unreachable(CommandFailed):
    exit_status = 4


class WrongKeys(CommandFailed):
    exit_status = 4


class Refused(CommandFailed):
    """`code` is the API's error code, `cause` its sentence."""

    def __init__(self, code: str, cause: str, remedy: str = "", exit_status: int = 1) -> None:
        super().__init__(cause, remedy)
        self.code = code
        self.exit_status = exit_status


class Interrupted(CommandFailed):
    exit_status = 130


class OutputClosed(Exception):
    """Nobody reads `stream` any more, as after `| head`. There is nobody to tell."""

    exit_status = 141
    """What a shell makes of SIGPIPE, which ends other programs here."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__("nobody reads the output any more")
        self.stream = stream
