"""`beanpole up`: start the control plane, here with a log to read, or detached."""

from __future__ import annotations

import http.client
import json as jsons
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from beanpole.cli.errors import CommandFailed, Misused, WrongState
from beanpole.cli.holder import holder_of
from beanpole.cli.parameters import HomeOption, JsonOption
from beanpole.cli.ports import FIRST, Ports, keep, last_of
from beanpole.cli.terminal import Terminal

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import URL

    from beanpole.home import Home

READY_LIMIT = 60.0
"""Seconds in which a detached control plane must answer. It takes two; a first start on a slow disk takes longer."""

POLL = 0.05
"""Seconds between two looks whether it answers."""

LOG_LIMIT = 10 * 2**20
"""Bytes of the log of earlier starts; beyond, it becomes `….log.1` at the next start."""

CAUSE_LINES = 5
"""Lines of the log that are shown when it did not start and gave no cause."""


def up(
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Start it in the background and return.")] = False,
    api_port: Annotated[
        int | None,
        typer.Option(
            "--api-port", metavar="PORT", min=0, max=65535, help="Of the API; else the last one, at first 8600."
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", metavar="PORT", min=1, max=65535, help="Of the balancer; else the last one, at first 8080."
        ),
    ] = None,
    domain: Annotated[str, typer.Option("--domain", help="Environments are reached as NAME.DOMAIN.")] = "localhost",
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            show_default=False,
            help="A PostgreSQL database, postgresql://USER@HOST/NAME; else the last one, at first a file in the home. "
            "Also BEANPOLE_DATABASE, which may hold the password.",
        ),
    ] = None,
    move: Annotated[
        bool, typer.Option("--move", help="Move the store from the file in the home to the database first.")
    ] = False,
    region: Annotated[str, typer.Option("--region", help="The name of the AWS region that clients see.")] = "local-1",
    home: HomeOption = None,
    json: JsonOption = False,
) -> None:
    """Start the control plane.

    Applications and balancer that are running already are taken over, on the ports that were used last.
    """
    from beanpole.home import Home

    terminal = Terminal.here(json=json)
    chosen = Home.chosen(home)
    if (holder := holder_of(chosen)) is not None:
        raise WrongState(
            f"A control plane (pid {holder}) runs on {chosen.root} already.",
            "Stop it with `beanpole down`, or choose another home with --home.",
        )
    address = _database(database, chosen)
    if move:
        _move(terminal, chosen, address)
    last = last_of(chosen)
    before = last or FIRST
    wanted = Ports(before.api if api_port is None else api_port, before.balancer if port is None else port)
    if detach:
        words = ["--api-port", str(wanted.api), "--port", str(wanted.balancer), "--domain", domain, "--region", region]
        words += ["--database", database] if database is not None else []
        _detached(terminal, chosen, words, last)
        return
    _here(terminal, chosen, address, wanted, last, domain, region)


def _database(option: str | None, home: Home) -> URL | None:
    """Raises Misused for what is no address, and for a password that every user of this machine could read."""
    if not (option or os.environ.get("BEANPOLE_DATABASE") or home.store.exists()):
        return None  # which needs no imports
    from beanpole.storage import chosen
    from beanpole.store.database import DatabaseUnusable

    try:
        found = chosen(option, home)
    except DatabaseUnusable as problem:
        raise Misused.of(str(problem)) from problem
    if option is not None and found is not None and found.password is not None:
        raise Misused(
            "A password on the command line can be read by everybody on this machine.",
            "Give the address with its password in BEANPOLE_DATABASE, or leave the password to PGPASSFILE, a service "
            "file or PGPASSWORD.",
        )
    return found


def _move(terminal: Terminal, home: Home, where: URL | None) -> None:
    from beanpole.home import HomeUnusable
    from beanpole.storage import move
    from beanpole.store.database import DatabaseUnusable

    if where is None:
        raise Misused("It is not said where the store moves to.", "Name an empty database with --database.")
    try:
        home.make()
        home.lock()
        move(home, where)
    except (HomeUnusable, DatabaseUnusable) as problem:
        raise CommandFailed.of(str(problem)) from problem
    finally:
        home.clear()
        home.unlock()
    terminal.say(f"The store has moved. The file stays as {home.database}.moved, until you delete it.")


def _here(
    terminal: Terminal, home: Home, database: URL | None, ports: Ports, last: Ports | None, domain: str, region: str
) -> None:
    from beanpole import server
    from beanpole.cli.log import readable
    from beanpole.store.tenure import Superseded

    readable(sys.stderr)
    options = server.Options(
        home=home,
        api=("127.0.0.1", ports.api),
        balancer=("127.0.0.1", ports.balancer),
        domain=domain,
        region=region,
        database=database,
    )

    def ready(address: str) -> None:
        now = Ports(_port_in(address), ports.balancer)
        keep(home, now)
        terminal.say(f"Beanpole is up: API {address}, applications at http://NAME.{domain}:{ports.balancer}.")
        for moved in now.moved_from(last):
            terminal.say(moved)
        terminal.say(f"Its home is {home.root}.")
        terminal.say("Deploy with `beanpole deploy`. Ctrl-C stops the control plane; applications keep serving.")

    try:
        server.run(options, ready)
    except (server.StartFailed, Superseded) as failed:
        raise CommandFailed.of(str(failed)) from failed
    terminal.say("The control plane has stopped; applications keep serving.")


def _detached(terminal: Terminal, home: Home, words: list[str], last: Ports | None) -> None:
    from beanpole.home import HomeUnusable

    try:
        home.make()
    except HomeUnusable as unusable:
        raise CommandFailed.of(str(unusable)) from unusable
    start = _make_room(home.log)
    with home.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "beanpole.cli", "up", "--home", str(home.root), *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home.root,
            start_new_session=True,
        )
    state = _wait(process, home, start)
    terminal.say(f"Beanpole is up (pid {process.pid}): API {state['api']}, balancer {state['balancer']}.")
    for moved in Ports(_port_in(state["api"]), _port_in(state["balancer"])).moved_from(last):
        terminal.say(moved)
    terminal.say(f"Log: {home.log}")
    terminal.result({"pid": process.pid, "api": state["api"], "balancer": state["balancer"], "log": str(home.log)})


def _port_in(address: str) -> int:
    return urlsplit(address).port or 80


def _wait(process: subprocess.Popen[bytes], home: Home, start: int) -> dict[str, Any]:
    """Its state once it answers. Raises CommandFailed with the cause from the log, and leaves nothing behind."""
    deadline = time.monotonic() + READY_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise _cause(home.log, start, process.returncode)
        state = _state(home, process.pid)
        if state is not None and _answers(state["api"]):
            return state
        time.sleep(POLL)
    process.terminate()
    raise CommandFailed(f"The control plane did not answer within {READY_LIMIT:.0f} s.", f"Look at its log {home.log}.")


def _state(home: Home, pid: int) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = jsons.loads(home.state.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return state if state.get("pid") == pid else None


def _answers(address: str) -> bool:
    """Any answer will do: without a signature it is a refusal."""
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "127.0.0.1", where.port, timeout=2)
    try:
        connection.request("GET", "/")
        connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
    return True


def _make_room(log: Path) -> int:
    """Where the log of the next start begins, in bytes."""
    log.touch(mode=0o600)
    if log.stat().st_size > LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
        log.touch(mode=0o600)
    return log.stat().st_size


def _cause(log: Path, start: int, status: int) -> CommandFailed:
    with log.open("rb") as file:
        file.seek(start)
        lines = file.read().decode(errors="replace").splitlines()
    cause = next((line.removeprefix("Error: ") for line in reversed(lines) if line.startswith("Error: ")), None)
    remedy = next((line.removeprefix("Remedy: ") for line in reversed(lines) if line.startswith("Remedy: ")), None)
    if cause is not None:
        return CommandFailed(cause, remedy or f"The log is {log}.")
    last = " / ".join(line for line in lines[-CAUSE_LINES:] if line.strip())
    return CommandFailed(
        f"The control plane ended with status {status}: {last or 'it said nothing'}.", f"The log is {log}."
    )
