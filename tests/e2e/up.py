"""Runs a control plane for a test: `up.py HOME API_PORT BALANCER_PORT [CRASH_AT]`.

With CRASH_AT the process ends itself with SIGKILL right after the transaction of the Nth journal entry since SIGUSR1 is
committed; with -N right before that.
"""

import contextlib
import os
import signal
import sys
from pathlib import Path

from beanpole import server
from beanpole.home import Home
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


if __name__ == "__main__":
    home, api, balancer, *crash = sys.argv[1:]
    options = server.Options(Home(Path(home)), ("127.0.0.1", int(api)), ("127.0.0.1", int(balancer)))
    if crash:
        crash_at(int(crash[0]))
    try:
        server.run(options, lambda address: print(f"ready {address}", flush=True))
    except server.StartFailed as problem:
        sys.exit(f"start failed: {problem}")
