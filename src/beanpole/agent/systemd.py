"""What is asked of systemd, through systemctl: each question has a time limit, and none holds up the agent.

A systemd that does not answer, or says no, is a JobFailure with its words.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Sequence, Tuple

from .deadline import within
from .environment import PATH
from .failure import JobFailure
from .process import KILL_SECONDS, Exit

ANSWER_SECONDS = 30.0  # for anything but a stop: the slowest, a reload of a large server, takes a second or two
STAGE = "systemd"
REMEDY = "Look at `systemctl --failed` and `journalctl -b -p warning` on the instance."
NOT_LOADED = 5  # exit status of systemctl for a unit that systemd does not know
CGROUPS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd")  # version 2; both; version 1
EXITED, KILLED, DUMPED = 1, 2, 3  # values of ExecMainCode: CLD_EXITED and so on

FIRST_EXEC_ERROR = 200  # exit statuses from here on are systemd's own, for what it could not do before the program

_PROPERTIES = (
    "ActiveState", "Result", "Job", "NeedDaemonReload", "MainPID",
    "ExecMainPID", "ExecMainCode", "ExecMainStatus", "ExecMainStartTimestampMonotonic",
)  # fmt: skip
_EXEC_ERRORS = {
    200: "the release's folder cannot be entered by its user",
    203: "/bin/sh cannot be executed by its user",
    209: "its log file cannot be opened",
    217: "its user does not exist",
}


@dataclass(frozen=True)
class Facts:
    """What systemd knows of a unit now."""

    values: Dict[str, str]

    @property
    def pid(self) -> int:
        """Of the main process, 0 when none runs."""
        return self._number("MainPID")

    @property
    def last_pid(self) -> int:
        """Of the main process that runs or ran last."""
        return self._number("ExecMainPID")

    @property
    def ending(self) -> bool:
        """It is being ended; what follows is not decided."""
        return self.values.get("ActiveState") == "deactivating"

    @property
    def runs(self) -> bool:
        return self.pid != 0 and self.values.get("ActiveState") in ("active", "activating", "reloading")

    @property
    def at_rest(self) -> bool:
        """Nothing runs and nothing is about to."""
        return self.values.get("ActiveState") in ("inactive", "failed") and not self._number("Job")

    @property
    def stale(self) -> bool:
        """Its file is another one than systemd has read."""
        return self.values.get("NeedDaemonReload") == "yes"

    @property
    def started_at(self) -> float:
        """Unix time at which the main process was started."""
        monotonic = self._number("ExecMainStartTimestampMonotonic") / 1e6
        return time.time() - (time.clock_gettime(time.CLOCK_MONOTONIC) - monotonic) if monotonic else time.time()

    def end_of(self, pid: int) -> Optional[Exit]:
        """How that main process ended. None: it has not, or systemd has not noticed yet."""
        if self.pid == pid:
            return None
        code, status = self._number("ExecMainCode"), self._number("ExecMainStatus")
        if self.last_pid != pid or code not in (EXITED, KILLED, DUMPED):
            return Exit(None, None, time.time())
        return Exit(status, None, time.time()) if code == EXITED else Exit(None, status, time.time())

    @property
    def forgotten(self) -> bool:
        """It ended well, and systemd keeps no record of that."""
        return self.at_rest and self.last_pid == 0 and self.values.get("Result") == "success"

    @property
    def executed(self) -> bool:
        """Whether its program was started, however soon it may have ended."""
        return self.runs or (self._number("ExecMainCode") != 0 and self._number("ExecMainStatus") < FIRST_EXEC_ERROR)

    @property
    def cause(self) -> str:
        """Why it could not be started."""
        status, result = self._number("ExecMainStatus"), self.values.get("Result", "unknown")
        return _EXEC_ERRORS.get(status, f"result {result}, status {status}")

    def _number(self, name: str) -> int:
        text = self.values.get(name, "")
        return int(text) if text.isdigit() else 0


class Systemd:
    """`words` begin the command line; `seconds`: limit for an answer."""

    def __init__(self, words: Sequence[str] = ("systemctl",), seconds: float = ANSWER_SECONDS) -> None:
        self._words = list(words)
        self._seconds = seconds

    async def show(self, unit: str) -> Facts:
        _, output, _ = await self._checked("show", f"--property={','.join(_PROPERTIES)}", unit)
        pairs = (line.partition("=") for line in output.splitlines())
        return Facts({name: value for name, _, value in pairs})

    async def start(self, unit: str) -> bool:
        """Whether its program could be executed."""
        status, _, _ = await self._ask("start", unit)
        return status == 0

    async def reload(self) -> None:
        """Reads changed files of units; what runs is not touched."""
        await self._checked("daemon-reload")

    async def stop(self, unit: str, grace: float) -> bool:
        """Ends all of its processes, for good; True when SIGKILL was needed. OSError when that was not enough."""
        stopping = asyncio.ensure_future(self._ask("stop", unit, limit=grace + self._seconds + KILL_SECONDS))
        try:
            await asyncio.wait([stopping], timeout=grace)
            killed = not stopping.done()
            if killed:
                await self._ask("kill", "--signal=SIGKILL", unit)
                await asyncio.wait([stopping], timeout=KILL_SECONDS)
            if not stopping.done():
                raise OSError(f"unit {unit} outlives SIGKILL: a process hangs in the kernel (a dead disk?)")
            status, _, errors = stopping.result()
        finally:
            stopping.cancel()
        if status not in (0, NOT_LOADED):
            raise self._refused(["stop", unit], status, errors)
        return killed

    async def reset_failed(self, units: Sequence[str]) -> None:
        """systemd forgets how they ended."""
        for unit in units:
            await self._ask("reset-failed", unit)  # most are not known, which is what is wanted

    async def names(self, pattern: str) -> List[str]:
        """Units that systemd knows and whose name fits."""
        _, output, _ = await self._checked("list-units", "--all", "--plain", "--no-legend", "--full", pattern)
        return [line.split()[0] for line in output.splitlines() if line.strip()]

    async def value(self, unit: str, name: str) -> str:
        """One property of a unit."""
        _, output, _ = await self._checked("show", f"--property={name}", "--value", unit)
        return output.strip()

    async def pids(self, unit: str) -> List[int]:
        """All processes of a unit; none when it does not run."""
        group = (await self.value(unit, "ControlGroup")).lstrip("/")
        if not group:
            return []
        return next((found for mount in CGROUPS if (found := _members(Path(mount, group)))), [])

    async def enabled(self, unit: str) -> bool:
        """Whether it is started at boot."""
        _, output, _ = await self._ask("is-enabled", unit)
        return output.strip() == "enabled"

    async def disable(self, unit: str) -> None:
        """It is not started at boot any more; what runs is not touched."""
        await self._checked("disable", "--quiet", unit)

    async def enable(self, unit: str) -> None:
        await self._checked("enable", "--quiet", unit)

    async def state(self) -> str:
        """`running`, `degraded`, `starting`, `stopping`, `maintenance`…"""
        _, output, _ = await self._ask("is-system-running")
        return output.strip() or "unknown"

    async def _checked(self, *words: str) -> Tuple[int, str, str]:
        status, output, errors = await self._ask(*words)
        if status != 0:
            raise self._refused(words, status, errors)
        return status, output, errors

    async def _ask(self, *words: str, limit: Optional[float] = None) -> Tuple[int, str, str]:
        """Exit status, output, errors. JobFailure when no answer comes in time."""
        try:
            process = await asyncio.create_subprocess_exec(
                *self._words, "--no-ask-password", "--no-pager", *words,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env={"LC_ALL": "C", "PATH": PATH},
            )  # fmt: skip
        except OSError as error:
            raise JobFailure(STAGE, f"systemctl cannot be started: {error}", "This server needs systemd.") from error
        try:
            output, errors = await within(limit or self._seconds, process.communicate())
        except asyncio.TimeoutError as error:
            message = f"systemd did not answer `systemctl {' '.join(words)}` within {limit or self._seconds:.0f} s"
            raise JobFailure(STAGE, message, REMEDY) from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return process.returncode or 0, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace")

    def _refused(self, words: Sequence[str], status: int, errors: str) -> JobFailure:
        said = errors.strip().splitlines()[0] if errors.strip() else "it said nothing"
        message = f"`systemctl {' '.join(words)}` failed with status {status}: {said}"
        return JobFailure(STAGE, message, REMEDY, exit_status=status, last_lines=tuple(errors.splitlines()[-10:]))


def _members(group: Path) -> List[int]:
    """The processes of a cgroup and of those below it."""
    texts = [path.read_text() for path in group.rglob("cgroup.procs")]
    return sorted({int(word) for text in texts for word in text.split()})
