"""The probe application with a worker, which can be held: before it starts, in its commands, at its worker's end.

A file `NAME` in the folder of holds keeps whoever comes to that point; with a number in it, from the one that comes as
the so-manieth on. `NAME.reached` says that somebody waits, and in which folder. Nothing is timed: what shall happen in
the middle of a deployment happens when it has got there and cannot go on.
"""

from __future__ import annotations

from pathlib import Path

from beanpole_site import app

_HOLD = """\
import os
import pathlib
import sys
import time

HOLDS = pathlib.Path("{holds}")


def hold(name):
    try:
        first = int((HOLDS / name).read_text() or 1)
    except FileNotFoundError:
        return
    number = 1
    while True:
        try:
            (HOLDS / (name + "." + str(number))).mkdir()
            break
        except FileExistsError:
            number += 1
        except FileNotFoundError:
            return
    if number < first:
        return
    (HOLDS / (name + ".reached")).write_text(os.getcwd())
    while (HOLDS / name).exists():
        time.sleep(0.05)


if __name__ == "__main__":
    hold(sys.argv[1])
    if sys.argv[2:]:
        os.execvp(sys.argv[2], sys.argv[2:])
"""
_WORKER = """\
import signal

from hold import hold

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
signal.sigwait({signal.SIGTERM})
hold("finish")
"""
_COMMANDS = """\
container_commands:
  wait:
    command: "python3 hold.py prepare"
"""


def held(version: str, holds: str | Path, **more: str) -> dict[str, str]:
    """`holds`: the folder, as the application sees it. `more` replaces or adds files."""
    files = {
        "Procfile": "web: python hold.py activate python server.py\nworker: python worker.py\n",
        "hold.py": _HOLD.replace("{holds}", str(holds)),
        "worker.py": _WORKER,
        ".ebextensions/hold.config": _COMMANDS,
    }
    return app("probe", version, **(files | more))
