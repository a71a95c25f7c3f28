"""What a person types: a thin client of our own API. Every outcome has an exit status that scripts can rely on."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from beanpole.cli.errors import CommandFailed, Misused, OutputClosed

TRACEBACK = "BEANPOLE_TRACEBACK"
"""A variable that shows where a mistake of ours happened."""

INTERRUPTED = 130
"""The exit status after Ctrl-C."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run one command and exit: 0 done, 1 failed, 2 wrong usage, 3 wrong state, 4 no control plane, 130 Ctrl-C."""
    from beanpole.cli.terminal import Terminal

    for stream in (sys.stdout, sys.stderr):
        # A terminal or a pipe that cannot show a character shows another one instead of ending the command.
        getattr(stream, "reconfigure", lambda **_: None)(errors="replace")
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        _run(words)
    except CommandFailed as failed:
        Terminal.here().failure(failed)
        sys.exit(failed.exit_status)
    except OutputClosed as closed:
        # What is left in the stream's buffer would be written once more at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), closed.stream.fileno())
        sys.exit(closed.exit_status)
    except KeyboardInterrupt:
        _leave_line()
        sys.exit(INTERRUPTED)
    except Exception as mistake:  # the last line of defence: a sentence instead of a traceback
        if os.environ.get(TRACEBACK):
            raise
        what = f"Beanpole made a mistake: {type(mistake).__name__}: {mistake}"
        Terminal.here().failure(CommandFailed(what, f"{TRACEBACK}=1 shows where; please report it with that."))
        sys.exit(1)
    sys.exit(0)


def _run(words: list[str]) -> None:
    home, words = _leading_home(words)
    if words[:1] == ["eb"]:
        # Before any parsing: -h, --version and everything else belong to the EB CLI.
        from beanpole.cli.eb import eb

        eb(words[1:], Path(home) if home is not None else None)
    if home is not None and words:
        words[1:1] = ["--home", home]
    from beanpole.cli.app import make_app
    from beanpole.cli.waiting import spelled

    try:
        make_app()(args=spelled(words), prog_name="beanpole")
    except SystemExit as ended:
        if ended.code == INTERRUPTED:
            _leave_line()
        raise


def _leave_line() -> None:
    """Whoever typed Ctrl-C at a terminal sees ^C in the line: what comes next begins a new one."""
    if sys.stderr.isatty():
        sys.stderr.write("\n")


def _leading_home(words: list[str]) -> tuple[str | None, list[str]]:
    """`--home X` may stand before the command, too: before `eb` it can stand nowhere else."""
    first = words[0] if words else ""
    if first.startswith("--home="):
        return first.removeprefix("--home="), words[1:]
    if first == "--home":
        if len(words) < 2:
            raise Misused("--home needs a folder.", "As in `beanpole --home /srv/beanpole status`.")
        return words[1], words[2:]
    return None, words
