"""Reads a Procfile: which processes an application has, in order, and their command lines."""

from __future__ import annotations

import re
from dataclasses import dataclass

from beanpole.platforms.problem import Problem

WEB = "web"
"""The process that requests go to."""

NAME_LIMIT = 64
"""Characters of a process name: it becomes part of file and unit names."""

_LINE = re.compile(r"([A-Za-z0-9_-]+):\s*([^\s].*)")


@dataclass(frozen=True, slots=True)
class Process:
    """`command` is a shell line; it runs in the application's folder."""

    name: str
    command: str


def parse(text: str, *, web_required: bool = True, file: str = "Procfile") -> tuple[Process, ...] | Problem:
    """The processes of a Procfile, or what is wrong with it.

    Empty lines and lines that begin with # are skipped. A tier that takes requests needs a process `web`.
    """
    processes: dict[str, Process] = {}
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        match = _LINE.fullmatch(stripped)
        if match is None or "\0" in line:
            return Problem(
                f"Line {number} of {file} is not of the form `name: command`.",
                "Names have letters, digits, - and _; one process a line, for example `web: gunicorn app:app`.",
                file,
                number,
            )
        name, command = match[1], match[2]
        if name in processes:
            message = f"Line {number} of {file} names the process {name!r} a second time."
            return Problem(message, "Give each process its own name.", file, number)
        if len(name) > NAME_LIMIT:
            message = f"The process name in line {number} of {file} has more than {NAME_LIMIT} characters."
            return Problem(message, "Choose a shorter name.", file, number)
        processes[name] = Process(name, command)
    if not processes:
        return Problem(f"{file} names no process.", "Add a line such as `web: gunicorn app:app`.", file)
    if web_required and WEB not in processes:
        return Problem(
            f"{file} has no process `web`, so nothing would answer requests.",
            f"Name the process that listens on $PORT `web`; {file} has {', '.join(processes)}.",
            file,
        )
    return tuple(processes.values())
