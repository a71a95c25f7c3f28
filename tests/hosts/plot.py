"""A plot: folder, names and addresses that one bed of this machine has for itself, from a row of numbered ones.

A lock holds it. A watcher ends the bed when the plot is given back and also when the process that took it dies, in
whatever way; until that is done the watcher shares the lock, so nobody is given a plot where something still grows.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path
from types import TracebackType

HOSTS = Path(__file__).parents[1] / "testbed" / "hosts"
LAND = Path("/var/cache/beanpole-testbed")
"""Only root can write there. The base systems in it are kept from run to run, and shared by all beds."""

PLOTS = 10
NET = "198.18.{number}"
"""From the range that RFC 2544 sets aside for tests of networks, so it is hardly ever some real network's."""

ENDING = 120.0  # seconds that ending a bed may take; one second is usual
WATCH = 'cat > /dev/null; exec "$0" down'
"""Reads its end of the pipe until nobody holds the other one."""


class Plot:
    """One of the plots, from `with` on, free of what an earlier bed may have left."""

    def __init__(self) -> None:
        self.number = -1
        self.lock = -1
        self.watcher: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        return LAND / f"bp{self.number}"

    @property
    def log(self) -> Path:
        """What the watcher said."""
        return LAND / f"bp{self.number}.log"

    @property
    def environment(self) -> dict[str, str]:
        """What makes `hosts` work on this plot."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("TESTBED_")},
            "TESTBED_DIR": str(self.folder),
            "TESTBED_BASES": str(LAND / "bases"),
            "TESTBED_NAME": f"bp{self.number}",
            "TESTBED_NET": NET.format(number=self.number),
        }

    def __enter__(self) -> Plot:
        self._take()
        with self.log.open("wb") as log:
            self.watcher = subprocess.Popen(
                ["sh", "-c", WATCH, str(HOSTS)],
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[self.lock],
                start_new_session=True,  # Ctrl-C is for the tests; the watcher has its work then
            )
        os.close(self.lock)
        subprocess.run([HOSTS, "down"], env=self.environment, stdout=subprocess.DEVNULL, timeout=ENDING, check=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self.watcher is not None
        assert self.watcher.stdin is not None
        self.watcher.stdin.close()
        status = self.watcher.wait(ENDING)
        assert status == 0, f"ending the test bed in {self.folder} failed: {self.log.read_text()}"

    def _take(self) -> None:
        LAND.mkdir(mode=0o755, parents=True, exist_ok=True)
        for self.number in range(PLOTS):
            self.lock = os.open(LAND / f"bp{self.number}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self.lock)
            else:
                return
        raise RuntimeError(f"all {PLOTS} plots in {LAND} are taken by running test beds; end one of them")
