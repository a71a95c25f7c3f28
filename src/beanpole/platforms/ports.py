"""Whether a `web` command listens on the port that it is given, and, where it does not, on which one.

Instances of one machine have addresses of their own (127.x.y.z). A command with a hard-coded port can run once on each
address when it listens there instead of everywhere: `localize` changes the host in such a command, and nothing else.
"""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from beanpole.platforms import servers, shell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from beanpole.platforms.servers import Server
    from beanpole.platforms.shell import Word

_PORT_VARIABLE = re.compile(r"\$PORT(?![A-Za-z0-9_])|\$\{PORT(:?[-=?+][^}]*)?\}")
_BIND = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]*\]|[A-Za-z0-9_.*-]*)(?::(?P<port>\d{1,5}))?")
_NUMBER = re.compile(r"\d{1,5}")

_LOCAL_HOSTS = frozenset({"", "*", "0", "0.0.0.0", "127.0.0.1", "localhost", "::", "[::]", "::1", "[::1]"})  # noqa: S104
"""Hosts that mean "this machine, wherever": an instance's own address says the same more narrowly."""

_BARE_HOST_PORT = 8000
"""Port of a bind without one: what gunicorn, the only server here that allows it, takes."""


@dataclass(frozen=True, slots=True)
class Port:
    """`Port.follows`: on $PORT. `Port.fixed(n)`: on n, whatever $PORT says. `Port.unknown`: cannot be told."""

    kind: Literal["follows", "fixed", "unknown"]
    number: int | None = None

    follows: ClassVar[Port]
    unknown: ClassVar[Port]

    @classmethod
    def fixed(cls, number: int) -> Port:
        return cls("fixed", number)


Port.follows = Port("follows")
Port.unknown = Port("unknown")


def port_of(command: str, *, configured: bool = False) -> Port:
    """Where the command listens, as far as its words tell.

    `configured` says that the bundle has a configuration file which the server reads on its own (`gunicorn.conf.py`).
    """
    ports = [finding.port for finding in _decisive(command, configured=configured)]
    fixed = next((port for port in ports if port.kind == "fixed"), None)
    return fixed or (Port.follows if Port.follows in ports else Port.unknown)


def localize(command: str, address: str) -> str:
    """The command with `address` as host of every hard-coded port; unchanged where that cannot be told for certain."""
    fixed = [finding for finding in _decisive(command) if finding.port.kind == "fixed"]
    edits = {edit for finding in fixed for edit in finding.edits(address)}
    for start, end, text in sorted(edits, reverse=True):
        command = command[:start] + text + command[end:]
    return command


@dataclass(frozen=True, slots=True)
class _Value:
    """What an option was given, and where that stands in the line (None: cannot be edited)."""

    text: str
    span: tuple[int, int] | None
    expands: bool
    word_end: int


@dataclass(frozen=True, slots=True)
class _Finding:
    """One place that decides a port. An edit is (start, end, text); one with start = end inserts."""

    port: Port
    known: bool = True
    bind: _Value | None = None
    host: _Value | None = None
    add: str = ""
    add_at: int = -1

    def edits(self, address: str) -> Iterator[tuple[int, int, str]]:
        port = self.port.number
        if self.bind is not None:
            match = _BIND.fullmatch(self.bind.text)
            only_port = _NUMBER.fullmatch(self.bind.text)
            if self.bind.span and match and (only_port or match["host"] in _LOCAL_HOSTS):
                yield (*self.bind.span, f"{address}:{port}")
        elif self.host is not None:
            if self.host.span and not self.host.expands and self.host.text in _LOCAL_HOSTS:
                yield (*self.host.span, address)
        elif self.add:
            yield (self.add_at, self.add_at, " " + self.add.format(address=address, port=port))


def _decisive(command: str, *, configured: bool = False) -> list[_Finding]:
    """The findings on servers that we know, where there is one; else those that other programs' options suggest."""
    found = list(_findings(command, configured=configured))
    return [finding for finding in found if finding.known] or found


def _findings(command: str, *, configured: bool) -> Iterator[_Finding]:
    for words in shell.commands(command) or ():
        call = servers.recognise(words)
        if call.script is not None:
            inner = call.script.part(command, call.script.text)
            if inner and not call.script.expands:
                for finding in _findings(command[slice(*inner)], configured=configured):
                    yield _moved(finding, inner[0])
                continue
        if call.server is not None:
            yield from _of_server(command, call.server, call.arguments, call.end, configured=configured)
        elif any(word.expands and _PORT_VARIABLE.search(word.text) for word in words):
            yield _Finding(Port.follows, known=False)
        else:
            yield from _of_unknown(command, call.arguments)


def _of_server(line: str, server: Server, arguments: list[Word], end: int, *, configured: bool) -> Iterator[_Finding]:
    binds = list(_values(line, arguments, server.bind))
    ports = list(_values(line, arguments, server.port))
    hosts = list(_values(line, arguments, server.host))
    if server.positional and (place := _positional(line, arguments, server)):
        (binds if server.positional == "bind" else ports).append(place)
    for bind in binds:
        yield _Finding(_port_of_bind(bind), bind=bind)
    host = hosts[-1] if hosts else None
    if ports:
        port = ports[-1]
        yield _Finding(_port_of_number(port), host=host, add=server.add_host, add_at=port.word_end)
    if binds or ports:
        return
    told_elsewhere = any(True for _ in _values(line, arguments, server.elsewhere + server.configuration))
    if told_elsewhere or (configured and server.reads_file):
        yield _Finding(Port.unknown)
    elif server.default is None:
        yield _Finding(Port.follows if server.takes_port else Port.unknown)
    else:
        add = server.add_host or server.add_bind
        yield _Finding(Port.fixed(server.default), host=host, add=add, add_at=end)


def _of_unknown(line: str, arguments: list[Word]) -> Iterator[_Finding]:
    """Another program: its options are taken for what they nearly always mean, and nothing is added to them."""
    for bind in _values(line, arguments, ("--bind", "--listen", "-b")):
        if ":" in bind.text:
            yield _Finding(_port_of_bind(bind), known=False, bind=bind)
    hosts = list(_values(line, arguments, ("--host",)))
    for port in _values(line, arguments, ("--port",)):
        yield _Finding(_port_of_number(port), known=False, host=hosts[-1] if hosts else None)
    for port in _values(line, arguments, ("-p",)):
        if _NUMBER.fullmatch(port.text) and int(port.text) >= 1024:
            yield _Finding(_port_of_number(port), known=False)


def _values(line: str, arguments: list[Word], options: Iterable[str]) -> Iterator[_Value]:
    """What the options were given: as `--bind X`, `--bind=X`, `-b X` or `-bX`."""
    options = tuple(options)
    for index, word in enumerate(arguments):
        for option in options:
            if word.text == option and index + 1 < len(arguments):
                following = arguments[index + 1]
                yield _value(line, following, following.text)
            elif option.startswith("--") and word.text.startswith(f"{option}="):
                yield _value(line, word, word.text.removeprefix(f"{option}="))
            elif len(option) == 2 and word.text.startswith(option) and len(word.text) > 2:
                yield _value(line, word, word.text.removeprefix(option).removeprefix("="))


def _positional(line: str, arguments: list[Word], server: Server) -> _Value | None:
    """The argument without a name that is a port or HOST:PORT, as `runserver` and `http.server` take it."""
    for index, word in enumerate(arguments):
        before = arguments[index - 1].text if index else ""
        if before.startswith("-") and "=" not in before and before in server.with_value:
            continue
        if _PORT_VARIABLE.search(word.text) and not word.text.startswith("-"):
            return _value(line, word, word.text)
        match = _BIND.fullmatch(word.text)
        if _NUMBER.fullmatch(word.text) or (match and match["port"]):
            return _value(line, word, word.text)
    return None


def _value(line: str, word: Word, text: str) -> _Value:
    return _Value(text, word.part(line, text), word.expands, word.end)


def _port_of_bind(value: _Value) -> Port:
    if value.expands:
        return Port.follows if _PORT_VARIABLE.search(value.text) else Port.unknown
    if _NUMBER.fullmatch(value.text):
        return _port_of_number(value)
    match = _BIND.fullmatch(value.text)
    if match is None or match["host"] in ("unix", "fd"):
        return Port.unknown
    return _fixed(match["port"] or str(_BARE_HOST_PORT))


def _port_of_number(value: _Value) -> Port:
    if value.expands:
        return Port.follows if _PORT_VARIABLE.search(value.text) else Port.unknown
    return _fixed(value.text)


def _fixed(digits: str) -> Port:
    return Port.fixed(int(digits)) if _NUMBER.fullmatch(digits) and 0 < int(digits) < 65536 else Port.unknown


def _moved(finding: _Finding, by: int) -> _Finding:
    def move(value: _Value | None) -> _Value | None:
        if value is None or value.span is None:
            return value
        return dataclasses.replace(value, span=(value.span[0] + by, value.span[1] + by), word_end=value.word_end + by)

    return dataclasses.replace(finding, bind=move(finding.bind), host=move(finding.host), add_at=finding.add_at + by)
