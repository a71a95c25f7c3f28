"""The web servers that people start from a Procfile: which of their options say where they listen.

`recognise` finds the server in the words of a command, behind `exec`, `python -m`, `poetry run` and their like.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from beanpole.platforms.shell import Word


@dataclass(frozen=True, slots=True)
class Server:
    """Options by what they mean. `default` is the port without any of them; None: there is none, or it is $PORT.

    `takes_port` says that it listens on $PORT by itself, `reads_file` that it looks for a configuration file by itself.
    `add_host` and `add_bind` are what to add, with {address} and {port}, to make it listen on one address.
    """

    bind: tuple[str, ...] = ()
    host: tuple[str, ...] = ()
    port: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    configuration: tuple[str, ...] = ()
    takes_port: bool = False
    reads_file: bool = False
    positional: Literal["", "bind", "port"] = ""
    with_value: tuple[str, ...] = ()
    default: int | None = None
    add_host: str = ""
    add_bind: str = ""


def _host_and_port(default: int, *, host: str = "--host", short: tuple[str, str] = ("", "")) -> Server:
    hosts, ports = (host, short[0]), ("--port", short[1])
    return Server(
        host=tuple(option for option in hosts if option),
        port=tuple(option for option in ports if option),
        elsewhere=("--uds", "--fd"),
        default=default,
        add_host=host + " {address}",
    )


_FLASK = _host_and_port(5000, short=("-h", "-p"))
_RUNSERVER = Server(
    positional="bind",
    with_value=("-v", "--verbosity", "--settings", "--pythonpath"),
    default=8000,
    add_bind="{address}:{port}",
)

SERVERS: dict[str, Server] = {
    "gunicorn": Server(bind=("-b", "--bind"), configuration=("-c", "--config"), takes_port=True, reads_file=True),
    "uvicorn": _host_and_port(8000),
    "hypercorn": Server(
        bind=("-b", "--bind"), configuration=("-c", "--config"), default=8000, add_bind="--bind {address}:{port}"
    ),
    "daphne": Server(
        host=("-b", "--bind"),
        port=("-p", "--port"),
        elsewhere=("-u", "--unix-socket", "-e", "--endpoint", "--fd"),
        default=8000,
        add_host="--bind {address}",
    ),
    "waitress-serve": Server(
        bind=("--listen",),
        host=("--host",),
        port=("--port",),
        elsewhere=("--unix-socket",),
        default=8080,
        add_host="--host {address}",
    ),
    "uwsgi": Server(bind=("--http", "--http-socket"), configuration=("--ini", "--yaml", "--xml", "--json")),
    "granian": _host_and_port(8000),
    "sanic": _host_and_port(8000, short=("-H", "-p")),
    "http.server": Server(
        host=("-b", "--bind"),
        positional="port",
        with_value=("-b", "--bind", "-d", "--directory", "-p", "--protocol"),
        default=8000,
        add_host="--bind {address}",
    ),
    "flask run": _FLASK,
    "quart run": _FLASK,
    "fastapi run": _host_and_port(8000),
    "fastapi dev": _host_and_port(8000),
    "litestar run": _host_and_port(8000, short=("-H", "-p")),
    "streamlit run": Server(
        host=("--server.address",), port=("--server.port",), default=8501, add_host="--server.address {address}"
    ),
    "manage.py runserver": _RUNSERVER,
    "django-admin runserver": _RUNSERVER,
}
"""By program, or program and subcommand."""

_MODULES = {"waitress": "waitress-serve", "django": "django-admin"}
"""`python -m` names that differ from the program's."""

_WITH_SUBCOMMAND = frozenset(name.split()[0] for name in SERVERS if " " in name)
_BEFORE = frozenset({"exec", "env", "nohup", "time", "command", "opentelemetry-instrument", "ddtrace-run", "dumb-init"})
_RUNNERS = {
    "poetry": "run",
    "pipenv": "run",
    "uv": "run",
    "pdm": "run",
    "hatch": "run",
    "rye": "run",
    "newrelic-admin": "run-program",
}
_SHELLS = frozenset({"sh", "bash", "dash"})
_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=.*", re.DOTALL)
_PYTHON = re.compile(r"python(\d(\.\d+)?)?")
_PYTHON_WITH_VALUE = frozenset({"-W", "-X"})


@dataclass(frozen=True, slots=True)
class Call:
    """`server` None: not recognised. `script` is the line that a shell in the command is given. `end`: of its name."""

    server: Server | None
    arguments: list[Word]
    end: int = -1
    script: Word | None = None


def recognise(words: list[Word]) -> Call:
    """What a simple command starts."""
    rest = words
    while rest:
        name = rest[0].text.rpartition("/")[2]
        following = rest[1].text if len(rest) > 1 else ""
        if _ASSIGNMENT.fullmatch(rest[0].text):
            if rest[0].text.startswith("PORT="):
                return Call(None, [])
            rest = rest[1:]
        elif name in _BEFORE:
            rest = rest[1:]
        elif _RUNNERS.get(name) == following:
            rest = rest[2:]
        else:
            break
    return _program(rest) if rest else Call(None, [])


def _program(words: list[Word]) -> Call:
    name, rest = words[0].text.rpartition("/")[2], words[1:]
    end = words[0].end
    if name in _SHELLS:
        at = next((index for index, word in enumerate(rest) if word.text in ("-c", "-lc", "-ec")), None)
        script = rest[at + 1] if at is not None and at + 1 < len(rest) else None
        return Call(None, [], script=script)
    if _PYTHON.fullmatch(name):
        while rest and rest[0].text.startswith("-") and rest[0].text not in ("-m", "-c"):
            rest = rest[2:] if rest[0].text in _PYTHON_WITH_VALUE else rest[1:]
        if len(rest) > 1 and rest[0].text == "-m":
            rest = rest[1:]
        elif not rest or rest[0].text == "-c" or not rest[0].text.endswith("manage.py"):
            return Call(None, rest)
        name, end, rest = rest[0].text.rpartition("/")[2], rest[0].end, rest[1:]
        name = _MODULES.get(name, name)
    if name in _WITH_SUBCOMMAND:
        for index, word in enumerate(rest):
            if server := SERVERS.get(f"{name} {word.text}"):
                return Call(server, rest[index + 1 :], word.end)
        return Call(None, rest, end)
    return Call(SERVERS.get(name), rest, end)
