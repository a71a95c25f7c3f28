"""What unit.sh says of a service that somebody made by hand, as values. Pure: text in, a `Unit` out."""

from __future__ import annotations

import base64
import binascii
import re
import shlex
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_PREFIXES = "@-:+!|"
"""Of a command in a unit: how systemd runs it, and no part of it."""

_LISTENER = re.compile(r"\S+\s+\d+\s+\d+\s+(?P<address>\S+):(?P<port>\d+)\s")
_PID = re.compile(r"pid=(\d+)")
_ASSIGNMENT = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)


class UnitUnreadable(Exception):
    """`cause` and `remedy` are sentences."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause} {remedy}")
        self.cause = cause
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Python:
    """`prefix`: its virtual environment, or where it is installed."""

    path: str
    version: tuple[int, int, int]
    prefix: str
    virtual: bool
    frozen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Listening:
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Unit:
    """`command`: the words of ExecStart. `entries`: kind (file, folder, venv) of each thing in the folder.

    `large`: bytes of files above 50 MiB, by their path in the folder. `revision`: git's word for what is checked out.
    """

    name: str
    path: str
    text: str
    state: str
    enabled: bool
    user: str
    folder: str
    command: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    """Paths of the files that variables came from."""
    listening: tuple[Listening, ...] = ()
    entries: dict[str, str] = field(default_factory=dict)
    large: dict[str, int] = field(default_factory=dict)
    revision: str = ""
    python: Python | None = None
    hooks: tuple[str, ...] = ()
    """Directives that run something beside ExecStart."""
    kernel: tuple[int, int] | None = None
    """Linux's version; None: not known."""


def parse(name: str, told: Iterable[list[str]]) -> Unit:
    """From the words that the script said. Raises UnitUnreadable when that is no service which runs."""
    of: dict[str, list[list[str]]] = {}
    for key, *words in told:
        of.setdefault(key, []).append(words)
    shown = dict(line.partition("=")[::2] for line in _first(of, "show").splitlines())
    if shown.get("LoadState") != "loaded":
        raise UnitUnreadable(f"There is no unit {name}.", "See `systemctl list-units --type=service` on the server.")
    if shown.get("ActiveState") != "active":
        raise UnitUnreadable(
            f"{name} is {shown.get('ActiveState', 'unknown')}, not active.",
            "Start it: a service is adopted as it runs.",
        )
    text = _first(of, "text")
    pids = {word for words in of.get("pids", []) for word in words}
    variables = dict(_assigned(shlex.split(shown.get("Environment", ""))))
    for words in of.get("variables", []):
        variables |= environment_file(_unpacked(words[1]) if len(words) > 1 else "")
    python = _python(of)
    return Unit(
        name=name,
        path=shown.get("FragmentPath", ""),
        text=text,
        state=shown["ActiveState"],
        enabled=shown.get("UnitFileState") == "enabled",
        user=shown.get("User") or "root",
        folder=shown.get("WorkingDirectory", "").lstrip("!-").rstrip("/"),
        command=_command(text, name),
        variables=variables,
        files=tuple(_unpacked(words[0]) for words in of.get("variables", []) if words),
        listening=_listening(_first(of, "listening"), pids),
        entries={_unpacked(words[1]): words[0] for words in of.get("entry", []) if len(words) > 1},
        large={_unpacked(words[1]): int(words[0]) for words in of.get("large", []) if len(words) > 1},
        revision=_first(of, "revision").strip(),
        python=python,
        kernel=_kernel(of),
        hooks=tuple(key for key in ("ExecStartPre", "ExecStartPost", "ExecStop", "ExecReload") if shown.get(key)),
    )


def environment_file(text: str) -> dict[str, str]:
    """The variables of an EnvironmentFile=: lines of NAME=VALUE, quotes and continued lines as systemd reads them."""
    found: dict[str, str] = {}
    for line in text.replace("\\\n", "").splitlines():
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            continue
        match = _ASSIGNMENT.fullmatch(stripped)
        if match is not None:
            found[match[1]] = _unquoted(match[2].strip())
    return found


def _command(text: str, name: str) -> tuple[str, ...]:
    """The words of the last ExecStart= of the unit and its drop-ins; an empty one takes back those before."""
    commands: list[str] = []
    for line in text.replace("\\\n", " ").splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and key.strip() == "ExecStart":
            commands = [*commands, value.strip()] if value.strip() else []
    if len(commands) != 1:
        raise UnitUnreadable(
            f"{name} has {len(commands)} commands in ExecStart=.", "Only a service with one is adopted."
        )
    try:
        return tuple(shlex.split(commands[0].lstrip(_PREFIXES)))
    except ValueError as error:
        raise UnitUnreadable(f"ExecStart= of {name} cannot be read: {error}.", "Correct its quotes.") from error


def _listening(text: str, pids: set[str]) -> tuple[Listening, ...]:
    found = set()
    for line in text.splitlines():
        match = _LISTENER.match(line)
        if match is not None and not pids.isdisjoint(_PID.findall(line)):
            address = match["address"].partition("%")[0].strip("[]")
            found.add((address if address != "*" else "::", int(match["port"])))
    return tuple(Listening(*each) for each in sorted(found))


def _kernel(of: dict[str, list[list[str]]]) -> tuple[int, int] | None:
    found = re.match(r"(\d+)\.(\d+)", " ".join(of.get("kernel", [[]])[0]))
    return (int(found[1]), int(found[2])) if found else None


def _python(of: dict[str, list[list[str]]]) -> Python | None:
    words = of.get("python", [[]])[0]
    said = _unpacked(words[1]).split(" ") if len(words) > 1 else []
    if len(said) != 3:
        return None
    version = tuple(int(part) for part in said[0].split("."))
    frozen = tuple(line for line in _first(of, "frozen").splitlines() if line and not line.startswith("#"))
    return Python(_unpacked(words[0]), (version[0], version[1], version[2]), said[1], said[2] == "True", frozen)


def _assigned(words: Iterable[str]) -> Iterable[tuple[str, str]]:
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            yield name, value


def _unquoted(text: str) -> str:
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        inner = text[1:-1]
        return re.sub(r"\\(.)", r"\1", inner) if text[0] == '"' else inner
    return text


def _first(of: dict[str, list[list[str]]], key: str) -> str:
    words = of.get(key, [[]])[0]
    return _unpacked(words[0]) if words else ""


def _unpacked(word: str) -> str:
    try:
        return base64.b64decode(word, validate=True).decode("utf-8", "replace")
    except (binascii.Error, ValueError):
        return ""
