"""A Procfile gives its processes in order, or the line that is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.platforms.problem import Problem
from beanpole.platforms.procfile import Process, parse

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("text", "processes"),
    [
        ("web: gunicorn app:app", [("web", "gunicorn app:app")]),
        ("web:gunicorn app:app\n", [("web", "gunicorn app:app")]),
        ("worker: a\nweb: b\n", [("worker", "a"), ("web", "b")]),
        ("\ufeffweb: a\r\nclock-1: b\r\n\r\n", [("web", "a"), ("clock-1", "b")]),
        ("# a comment\n\nweb:   a: b  \n", [("web", "a: b")]),
        ("web: PORT=1 sh -c 'x && y'", [("web", "PORT=1 sh -c 'x && y'")]),
    ],
)
def test_processes(text: str, processes: list[tuple[str, str]]) -> None:
    assert parse(text) == tuple(Process(*process) for process in processes)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("web: a\nworker b\n", 2, "not of the form"),
        ("we b: a\n", 1, "not of the form"),
        ("web:\n", 1, "not of the form"),
        ("web: a\0b\n", 1, "not of the form"),
        ("web: a\n\nweb: b\n", 3, "'web' a second time"),
        ("x" * 65 + ": a\nweb: b", 1, "more than 64 characters"),
        ("", 0, "no process"),
        ("# only words\n", 0, "no process"),
        ("worker: a\n", 0, "no process `web`"),
    ],
)
def test_what_is_wrong_and_where(text: str, line: int, words: str) -> None:
    problem = parse(text)
    assert isinstance(problem, Problem)
    assert words in problem.message
    assert (problem.file, problem.line) == ("Procfile", line)
    assert problem.remedy


def test_web_is_not_needed_where_nothing_asks_for_it() -> None:
    assert parse("worker: a\n", web_required=False) == (Process("worker", "a"),)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True),
        st.from_regex(r"[!-~]([ -~]*[!-~])?", fullmatch=True),
        min_size=1,
    )
)
def test_what_is_written_is_read(processes: dict[str, str]) -> None:
    text = "".join(f"{name}: {command}\n" for name, command in processes.items())
    assert parse(text, web_required=False) == tuple(Process(*each) for each in processes.items())


@given(st.text(max_size=100))
def test_no_text_breaks_it(text: str) -> None:
    parse(text)
