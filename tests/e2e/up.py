"""Runs a control plane for a test: `up.py HOME API_PORT BALANCER_PORT`, or `run_below` in a forked process.

With `crash` the process ends itself with SIGKILL right after the transaction of the Nth journal entry since SIGUSR1 is
committed; with -N right before that.
"""

import contextlib
import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from beanpole import server
from beanpole.home import Home
from beanpole.platforms import names
from beanpole.storage import chosen
from beanpole.store import operations


def crash_at(number: int) -> None:
    """Put counting functions in the place of the two through which every journal entry is written."""
    holding, record = operations.holding, operations.record
    written = 0
    armed = False
    entered: set[int] = set()

    def arm(*_):
        nonlocal armed
        armed = True

    signal.signal(signal.SIGUSR1, arm)

    def counting_record(db, held, now, key, result):
        nonlocal written
        record(db, held, now, key, result)
        written += armed
        entered.add(id(db))
        if armed and written == -number:
            os.kill(os.getpid(), signal.SIGKILL)

    @contextlib.contextmanager
    def counting_holding(database, held):
        with holding(database, held) as db:
            yield db
            counts = id(db) in entered
            entered.discard(id(db))
            reached = written  # as long as no other thread can write
        if armed and counts and reached == number:
            os.kill(os.getpid(), signal.SIGKILL)

    for module in list(sys.modules.values()):
        for name, old, new in (("record", record, counting_record), ("holding", holding, counting_holding)):
            if getattr(module, name, None) is old:
                setattr(module, name, new)


def run(
    home: str, api: int, balancer: int, crash: int | None, version: str | None, told: Callable[[str], None]
) -> None:
    """Serve until SIGTERM. `told` is given one line: where it serves, or why it does not.

    `version`: of the platforms that are offered; None for the program's own.
    """
    if version is not None:
        names.VERSION = version
    here = Home(Path(home))
    options = server.Options(here, ("127.0.0.1", api), ("127.0.0.1", balancer), database=chosen(None, here))
    if crash is not None:
        crash_at(crash)
    try:
        server.run(options, lambda address: told(f"ready {address}"))
    except server.StartFailed as problem:
        sys.exit(f"start failed: {problem}")


def run_below(root: str, environment: dict[str, str], words: tuple[Any, ...], told: Connection) -> None:
    """`run` in a process that was forked: with a folder, an output and an environment of its own."""
    os.chdir(root)
    os.environ.clear()
    os.environ.update(environment)
    log = os.open("up.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(log, 1)
    os.dup2(log, 2)
    faulthandler.enable()
    with told:
        run(*words, told.send)


if __name__ == "__main__":
    home, api, balancer = sys.argv[1:]
    run(home, int(api), int(balancer), None, None, lambda line: print(line, flush=True))
