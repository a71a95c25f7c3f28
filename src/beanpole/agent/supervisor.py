"""Keeps the processes of releases running: starts, restarts with growing pauses, stops, finds them again.

What is wanted is written down before it is done. So whenever an agent dies, the next one knows what shall run, finds
what does run (also what was started and not yet written down, by its mark), and ends what should not.
"""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from .entry import BACKOFF, RUNNING, STARTING, STOPPED, Entry
from .environment import variables
from .events import EventLog
from .failure import JobFailure, last_lines
from .kernel import Kernel
from .orphans import end_marked
from .process import Process
from .release import Releases
from .reservation import FIRST, LAST, Ports, is_free
from .runner import SWEEP_SECONDS, Order, Runner
from .static_process import NAME as FILES
from .static_process import command_of
from .table import Table

TAIL_BYTES = 64 * 1024  # of a log that are read for its last lines
LISTENING = ("web", FILES)
"""Processes that have a port of their own, and of which two releases' may run at once."""


class Supervisor:
    """The processes of one home. `prefix` begins every mark."""

    def __init__(
        self,
        home: Path,
        prefix: str,
        address: str,
        kernel: Kernel,
        events: EventLog,
        releases: Releases,
        runner: Runner,
    ) -> None:
        self.ports = Ports()
        self._table = Table(home / "processes.json", kernel.boot, events)
        self._logs = home / "log"
        self._prefix = prefix
        self._address = address
        self._kernel = kernel
        self._events = events
        self._releases = releases
        self._runner = runner

    def entries(self) -> List[Entry]:
        return self._table.all()

    def find(self, release: str, name: str) -> Optional[Entry]:
        return self._table.find(release, name)

    def running(self, release: Optional[str] = None) -> List[Entry]:
        """Entries of that release (or of all) that run or shall run."""
        return [
            entry for entry in self._table.all() if (entry.wanted or entry.alive) and release in (None, entry.release)
        ]

    def resident(self, entry: Entry) -> int:
        return self._kernel.resident(entry.process.members()) if entry.process is not None and entry.alive else 0

    def reserve(self, port: int) -> bool:
        """Whether a server can listen on that port at our own address, where neighbours may insist on the same one."""
        held = self.ports.hold(port)
        return (held or not FIRST <= port <= LAST) and is_free(port, self._address)

    async def start(self, release: str, name: str, port: Optional[int], proven: bool) -> Entry:
        """Starts a process that does not run. One that is not `proven` is not started again when it dies.

        JobFailure when the release has no such process; OSError or JobFailure when it cannot be started.
        """
        entry = self._table.add(Entry(release, name))
        if entry.guard is not None and not entry.alive:
            entry.guard.cancel()
        async with entry.turn:
            if not entry.alive:
                await self._start(entry, port, proven)
        return entry

    async def _start(self, entry: Entry, port: Optional[int], proven: bool) -> None:
        entry.port, entry.proven, entry.restarts, entry.failures = port, proven, 0, 0
        # A release that runs again listens where it did: its command and this instance's address never change.
        entry.address = (entry.address if proven else None) or self._address_of(entry.name)
        try:
            await self._spawn(entry)
        except BaseException:
            entry.wanted, entry.state = False, STOPPED
            if entry.port is not None and entry.name in LISTENING:
                self.ports.release(entry.port)
            self._table.save()
            raise
        self._guard(entry)

    async def prove(self, entry: Entry, address: str) -> None:
        """From now on it is kept running, if it has not died meanwhile."""
        await self._runner.prove(entry)
        if entry.alive:
            entry.proven, entry.address, entry.state = True, address, RUNNING
            self._table.save()

    async def stop(self, entry: Entry, grace: float) -> bool:
        """Ends a process and everything it started, for good. True when SIGKILL was needed."""
        entry.wanted = False
        self._table.save()
        # Shielded: a caller that is cancelled must not leave a half-stopped process without anybody watching it.
        return await asyncio.shield(self._end(entry, grace))

    async def close(self, processes: bool, grace: float) -> None:
        """Before the agent ends: lets the processes go on, or ends them. What is wanted stays wanted either way."""
        if processes:
            await asyncio.gather(*(self._end(entry, grace) for entry in self.entries()))
            await self._runner.forget(self.entries())
        for entry in self.entries():
            if entry.guard is not None:
                entry.guard.cancel()
            if entry.process is not None:
                entry.process.release()

    async def forget(self, release: str) -> None:
        """Drops what is known of a release that is removed."""
        await self._runner.forget(self._table.of(release))
        self._table.drop(release)
        self._table.save()

    async def unboot(self, release: str) -> None:
        """That release is about to be committed: from now on no other one starts with the machine."""
        await self._runner.unboot(self._table.of(release))

    async def boot(self, release: str) -> None:
        """The release is committed: it starts with the machine, and is not the first to die for a lack of memory."""
        entries = self._table.of(release)
        await self._runner.boot(entries)
        for entry in entries:
            if entry.oom_base is not None and entry.process is not None:
                for pid in entry.process.members():
                    # Going back to where it came from needs no privilege. Where a sandbox forbids it all the same, the
                    # process only stays a likelier victim, which is no reason to fail a deployment.
                    self._kernel.set_oom_score(pid, entry.oom_base)
                entry.oom_base = None
        self._table.save()

    def output(self, entry: Entry) -> Tuple[str, ...]:
        """The last lines that the present (or last) run wrote."""
        try:
            with self.log(entry.name).open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                begin = entry.log_offset if entry.log_offset <= size else 0  # rotated since
                file.seek(max(begin, size - TAIL_BYTES))
                return last_lines(file.read())
        except FileNotFoundError:
            return ()

    def log(self, name: str) -> Path:
        return self._logs / f"{name}.stdout.log"

    async def load(self) -> None:
        """Takes over from an earlier agent: adopts what shall run, ends what shall not, starts what is missing."""
        target = self._releases.current
        entries, rebooted = self._table.read()
        here = {target} if rebooted else set(self._releases.all())  # after a reboot only the boot target counts
        known = [entry for entry in entries if entry.release in here]
        await self._runner.take_over(known)
        if not rebooted:
            marks = self._kernel.marked(f"{self._prefix}p-")
            await end_marked(self._kernel, set(marks.values()).difference(entry.mark for entry in known))
            for entry in known:
                await self._take_over(self._table.add(entry))
        await self._start_target({entry.name: entry for entry in known if entry.release == target})
        # The last agent may have had no time to see to what starts with the machine.
        await self._runner.unboot(self._table.of(target) if target is not None else [])
        if target is not None:
            await self.boot(target)

    async def _take_over(self, entry: Entry) -> None:
        if entry.port is not None and entry.wanted:
            self.ports.hold(entry.port)
        begun = entry.identity
        entry.process = await self._runner.adopt(entry)
        entry.identity = entry.process.identity if entry.process is not None else None
        if entry.process is None:
            if entry.wanted and entry.proven:
                self._guard(entry, begun is not None)
            elif entry.wanted:
                entry.wanted, entry.state = False, STOPPED
                if begun is not None:
                    self._tell(entry, "WARN", "ended before it had passed its checks, while no agent watched it")
        elif entry.wanted:
            entry.state = RUNNING if entry.proven else STARTING
            if begun not in (None, entry.identity):
                entry.restarts += 1
                self._tell(entry, "WARN", "had ended while no agent watched it, and was started again")
            self._guard(entry)
        else:
            await self._end(entry, SWEEP_SECONDS)

    async def _start_target(self, known: Dict[str, Entry]) -> None:
        """Starts what the boot target lacks, on the ports that it had, unless it was started with the machine."""
        target = self._releases.current
        release = self._releases.find(target) if target is not None else None
        if target is not None and release is None:
            self._events.add(
                "ERROR", f"The boot target, release {target}, is not on this instance", {"release": target}
            )
        for name in release.names if release is not None else ():
            # Another release's process of that name may run on purpose, or none: then a deployment was under way.
            if self.find(str(target), name) or any(entry.name == name and entry.wanted for entry in self.entries()):
                continue
            entry = Entry(str(target), name, wanted=True, proven=True, address=self._address_of(name), state=STARTING)
            before = known.get(name, entry)
            entry.mark, entry.log_offset = before.mark, before.log_offset
            entry.port, entry.address = before.port, before.address or entry.address
            entry.process = await self._runner.adopt(entry)
            if entry.process is not None:
                entry.identity, entry.state = entry.process.identity, RUNNING
            if entry.port is not None:
                self.ports.hold(entry.port)
            self._guard(self._table.add(entry), fresh=True)

    def _address_of(self, name: str) -> Optional[str]:
        """Where a process listens of which nothing better is known."""
        return self._address if name in LISTENING else None

    def _guard(self, entry: Entry, begun: bool = False, fresh: bool = False) -> None:
        entry.guard = asyncio.get_running_loop().create_task(self._guarding(entry, begun, fresh))

    async def _guarding(self, entry: Entry, begun: bool, fresh: bool) -> None:
        """Starts it whenever it does not run, as long as it is wanted and proven.

        `begun`: it ran when last seen; `fresh`: it did so in another boot, and its port may be another's by now.
        """
        if entry.process is None:
            await self._again(entry, None, begun)
        if fresh and entry.process is None and entry.port is not None and not self.reserve(entry.port):
            self.ports.release(entry.port)
            entry.port = None
        while entry.wanted:
            if entry.process is None:
                try:
                    async with entry.turn:
                        await self._spawn(entry)
                except (OSError, JobFailure) as error:
                    delay = entry.next_delay(0.0)
                    self._tell(entry, "ERROR", f"cannot be started: {error}; next try in {delay:.0f} s")
                    entry.state = BACKOFF
                    await asyncio.sleep(delay)
                    continue
                if entry.restarts:
                    self._tell(entry, "INFO", f"was started again (restart {entry.restarts})")
            if entry.process is not None:
                await self._until_dead(entry, entry.process)

    async def _until_dead(self, entry: Entry, process: Process) -> None:
        await process.ended.wait()
        try:
            await self._runner.clear(entry, process)
        except (OSError, JobFailure) as error:  # what it left would be in the way of a new one for ever
            self._tell(entry, "ERROR", f"ended, but {error}; it is not started again")
            entry.wanted = False
        entry.process, entry.identity = None, None
        entry.last_exit = process.exit.record() if process.exit is not None else None
        # What never passed its checks is reported by the job that started it.
        entry.wanted = entry.wanted and entry.proven
        entry.state = BACKOFF if entry.wanted else STOPPED
        self._table.save()
        if entry.wanted:
            await self._again(entry, process, True)

    async def _again(self, entry: Entry, died: Optional[Process], begun: bool) -> None:
        """Returns when it runs again, or is to be started."""
        offset = self._log_size(entry.name)
        entry.process = await self._runner.again(entry, died, begun, partial(self._told, entry))
        if entry.process is not None:
            entry.identity, entry.state, entry.log_offset = entry.process.identity, RUNNING, offset
            self._table.save()

    async def _spawn(self, entry: Entry) -> None:
        release = self._releases.prepared(entry.release, "start")
        app, files = self._releases.app(entry.release), entry.name == FILES
        command = command_of(app, release.static, self._address) if files else release.command(entry.name)
        if command is None:
            raise JobFailure("start", f"{entry.release} has no process {entry.name}", "Name it in the Procfile.")
        if entry.name in LISTENING and entry.port is None:
            entry.port = self.ports.choose()
        web = self.find(entry.release, "web")
        port = entry.port if entry.port is not None else web.port if web is not None else None
        entry.mark = f"{self._prefix}p-{os.urandom(8).hex()}"
        entry.wanted, entry.state, entry.identity = True, RUNNING if entry.proven else STARTING, None
        entry.started_at, entry.log_offset, entry.halted = time.time(), self._log_size(entry.name), False
        self._table.save()
        order = Order(
            entry.release,
            entry.name,
            command,
            app,
            # Files need none of the application's secrets.
            variables(self._runner.own, *(({}, None) if files else (release.environment, release.layer)), port),
            entry.mark,
            self.log(entry.name),
            proven=entry.proven,
            raised=entry.release != self._releases.current,
        )
        entry.process = await self._runner.start(order)
        entry.identity, entry.oom_base = entry.process.identity, entry.process.oom_base
        self._table.save()

    async def _end(self, entry: Entry, grace: float) -> bool:
        if entry.guard is not None:
            entry.guard.cancel()
        async with entry.turn:
            process = entry.process  # held here: a guard whose cancellation was lost forgets it meanwhile
            killed = await self._runner.end(entry, process, grace)
            if process is not None:
                entry.last_exit = process.exit.record() if process.exit is not None else entry.last_exit
        entry.process, entry.identity, entry.state, entry.halted = None, None, STOPPED, False
        if entry.port is not None and not any(other.port == entry.port for other in self.running()):
            self.ports.release(entry.port)
        self._table.save()
        return killed

    def _log_size(self, name: str) -> int:
        try:
            return self.log(name).stat().st_size
        except FileNotFoundError:
            return 0

    def _told(self, entry: Entry, severity: str, what: str) -> None:
        """Tells it, and writes down what changed with it."""
        self._table.save()
        self._tell(entry, severity, what)

    def _tell(self, entry: Entry, severity: str, what: str) -> None:
        lines = self.output(entry) if severity != "INFO" else ()
        detail = {"name": entry.name, "release": entry.release, "exit": entry.last_exit, "last_lines": lines}
        self._events.add(severity, f"Process {entry.name} of release {entry.release} {what}", detail)
