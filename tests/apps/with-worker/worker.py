"""The worker process: holds an exclusive lock for as long as it lives, and logs its starts and stops.

WORKER_LOCK is the lock's path; `{instance}` in it becomes the name of the folder that holds the instance's releases, so
that several instances of one machine do not disturb each other. The log is the same path with `.log` added:
`start VERSION PID`, `stop VERSION PID`, or `TWICE VERSION PID` when another worker holds the lock (exit status 1).
"""

import fcntl
import os
import signal
import sys
from pathlib import Path

VERSION = Path(__file__).with_name("VERSION").read_text(encoding="utf-8").strip()
ENDINGS = {signal.SIGTERM, signal.SIGINT}


def main() -> int:
    if not os.environ.get("WORKER_LOCK"):
        print("WORKER_LOCK is not set: give the path of the lock as an environment property.", file=sys.stderr)
        return 2
    path = Path(os.environ["WORKER_LOCK"])
    if "{instance}" in path.name:
        # The working folder is INSTANCE/releases/DIGEST/app.
        path = path.with_name(path.name.replace("{instance}", Path.cwd().parents[2].name))
    # Blocked before the start is logged, so that no ending is lost between the two.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDINGS)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log(path, "TWICE")
            return 1
        log(path, "start")
        signal.sigwait(ENDINGS)
        log(path, "stop")
    return 0


def log(path: Path, word: str) -> None:
    line = f"{word} {VERSION} {os.getpid()}\n"
    with path.with_name(path.name + ".log").open("a") as file:
        file.write(line)
    print(line, end="", flush=True)


if __name__ == "__main__":
    sys.exit(main())
