"""What a command writes to and asks of the two streams."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable

import pytest

from beanpole.cli.errors import CommandFailed, Misused
from beanpole.cli.terminal import Terminal

Here = Callable[..., tuple[Terminal, io.StringIO, io.StringIO]]


class Stream(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """A command's terminal, its output and its error, which are terminals or not."""

    def made(
        *, out: bool = True, err: bool = True, json: bool = False, typed: str = ""
    ) -> tuple[Terminal, io.StringIO, io.StringIO]:
        monkeypatch.setenv("TERM", "xterm")
        output, error = Stream(terminal=out), Stream(terminal=err)
        monkeypatch.setattr(sys, "stdout", output)
        monkeypatch.setattr(sys, "stderr", error)
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        return Terminal.here(json=json), output, error

    return made


@pytest.mark.parametrize("json", [False, True])
@pytest.mark.parametrize("out", [False, True])
@pytest.mark.parametrize("err", [False, True])
def test_each_stream_has_its_own_colours(here: Here, *, out: bool, err: bool, json: bool) -> None:
    terminal, output, error = here(out=out, err=err, json=json)
    terminal.say(terminal.styled("well", "green"))
    terminal.failure(CommandFailed("It failed.", "Try again."))
    words_painted = err if json else out
    well = "\x1b[32mwell\x1b[0m\n" if words_painted else "well\n"
    failure = (
        "\x1b[31mError:\x1b[0m It failed.\n\x1b[1mRemedy:\x1b[0m Try again.\n"
        if err
        else ("Error: It failed.\nRemedy: Try again.\n")
    )
    assert output.getvalue() == ("" if json else well)
    assert error.getvalue() == (well if json else "") + failure


@pytest.mark.parametrize(("value", "coloured"), [("", True), ("0", False), ("1", False)])
def test_no_color_counts_when_it_is_not_empty(
    here: Here, monkeypatch: pytest.MonkeyPatch, value: str, *, coloured: bool
) -> None:
    monkeypatch.setenv("NO_COLOR", value)
    terminal, _, _ = here()
    assert (terminal.colours, terminal.colours_errors) == (coloured, coloured)


@pytest.mark.parametrize("default", [True, False])
@pytest.mark.parametrize(("typed", "answer"), [("", False), ("\n", None), ("y\n", True), ("no\n", False)])
def test_the_end_of_the_input_is_a_no(here: Here, typed: str, answer: bool | None, *, default: bool) -> None:
    terminal, _, _ = here(typed=typed)
    assert terminal.confirm("Well?", default=default) == (default if answer is None else answer)


def test_the_end_of_the_input_is_nobodys_name(here: Here) -> None:
    terminal, _, error = here()
    with pytest.raises(Misused):
        terminal.confirm_by_name("Whose?", "")
    assert error.getvalue() == "Whose? \n"
