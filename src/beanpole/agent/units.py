"""Processes as systemd units, on a server: they need no agent, systemd starts them again and at boot.

A unit is not restarted until its release has passed its checks, and starts with the machine only when it is committed.
An administrator may stop, start and restart units by hand; the agent follows and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import time
from pathlib import Path
from typing import Any, Dict, Mapping, Optional, Sequence

from .entry import HALTED, Entry
from .failure import JobFailure
from .fulldisk import is_full
from .kernel import Identity, Kernel
from .ownership import hand_over
from .process import Exit, Process
from .runner import STAGE, SWEEP_SECONDS, Order, Tell
from .systemd import Facts, Systemd
from .unit_files import UnitFiles
from .unit_text import RESTART_SECONDS, STOP_SECONDS, unit_name

NOTICE_SECONDS = 3.0  # for systemd to notice a death that the kernel has told us
LOOK_SECONDS = 0.05  # between looks at a unit that is about to change
HALT_SECONDS = 5.0  # between looks at one that somebody stopped
PATIENCE = 10.0  # seconds by which systemd's own SIGKILL is later than ours
LOG_MODE = 0o660  # a program may open its /dev/stdout, which needs more than having it


class UnitProcess(Process):
    """The main process of a unit, from one start to its death."""

    def __init__(self, kernel: Kernel, identity: Identity, mark: str, unit: str, systemd: Systemd) -> None:
        super().__init__(kernel, identity, mark)
        self._unit = unit
        self._systemd = systemd
        self.ending = False  # we are told to end it

    @classmethod
    def follow(cls, kernel: Kernel, identity: Identity, mark: str, unit: str, systemd: Systemd) -> UnitProcess:
        process = cls(kernel, identity, mark, unit, systemd)
        process._begin()
        return process

    async def _end_of(self, code: Optional[int]) -> Exit:
        limit = time.monotonic() + NOTICE_SECONDS
        try:
            while time.monotonic() < limit:
                facts = await self._systemd.show(self._unit)
                end = facts.end_of(self.identity.pid)
                if end is not None:
                    # systemd keeps no record of a unit that ended well by itself.
                    return Exit(0, None, end.at) if facts.forgotten and not self.ending else end
                await asyncio.sleep(LOOK_SECONDS)
        except JobFailure:
            pass  # it is dead in any case
        return Exit.of(None)


class Units:
    """The units of one instance. `own`: what applications inherit, with the user's name and a home of the user's."""

    def __init__(self, home: Path, user: str, kernel: Kernel, files: UnitFiles, systemd: Systemd) -> None:
        self.own: Mapping[str, str] = {**os.environ, "USER": user, "LOGNAME": user, "HOME": str(home / "home")}
        self._instance = home.name
        self._user = user
        self._kernel = kernel
        self._files = files
        self._systemd = systemd
        self._quiet: Dict[str, float] = {}  # until when further deaths in that unit are not told
        self._telling: "Optional[asyncio.Future[None]]" = None

    async def check(self) -> Dict[str, Any]:
        self._account("preflight")
        return {"systemd": await self._systemd.state()}

    async def entrust(self, folders: Sequence[Path]) -> None:
        account = self._account("prepare")
        for folder in folders:
            await asyncio.to_thread(hand_over, folder, account.pw_uid, account.pw_gid)

    async def take_over(self, known: Sequence[Entry]) -> None:
        units = {self._unit(entry) for entry in known}
        strange = (self._files.all() | await self._loaded()) - units
        for unit in sorted(strange):
            await self._systemd.stop(unit, SWEEP_SECONDS)
        await self._remove(strange)

    async def start(self, order: Order) -> Process:
        unit = unit_name(self._instance, order.name, order.release)
        self._make_log(order.log, self._account(STAGE).pw_gid)
        if not (await self._systemd.show(unit)).at_rest:
            await self._systemd.stop(unit, SWEEP_SECONDS)  # what runs there follows another order
        try:
            self._files.write(unit, order)
            if order.proven and not order.raised:
                self._files.link(unit)
            await self._refresh(unit)
            started = await self._systemd.start(unit)
            facts = await self._systemd.show(unit)
        except BaseException:
            await asyncio.shield(self._systemd.stop(unit, SWEEP_SECONDS))
            raise
        if not started and not facts.executed:
            await self._systemd.stop(unit, SWEEP_SECONDS)  # otherwise a proven one is tried for ever
            remedy = f"See `systemctl status {unit}` and `journalctl -u {unit}` on the instance."
            raise JobFailure(STAGE, f"systemd cannot start {unit}: {facts.cause}", remedy, order.command)
        process = self._process(facts, order.mark, unit)
        process.oom_base = (self._kernel.oom_score(1) or 0) if order.raised else None
        return process

    async def adopt(self, entry: Entry) -> Optional[Process]:
        unit = self._unit(entry)
        facts = await self._systemd.show(unit)
        if not (entry.proven or facts.runs or facts.at_rest):
            await self._systemd.stop(unit, SWEEP_SECONDS)  # nobody would be there when its start has ended
        return self._found(entry, facts)

    async def prove(self, entry: Entry) -> None:
        unit = self._unit(entry)
        # Both stages at once, for each costs systemd a reload. What runs keeps its raised OOM score until the commit.
        self._files.restage(unit, proven=True, raised=False)
        await self._refresh(unit)

    async def unboot(self, kept: Sequence[Entry]) -> None:
        self._files.unlink(self._files.linked() - {self._unit(entry) for entry in kept})

    async def boot(self, entries: Sequence[Entry]) -> None:
        linked = self._files.linked()
        units = [unit for unit in map(self._unit, entries) if self._files.exists(unit)]
        for unit in units:
            self._files.restage(unit, raised=False)
            self._files.link(unit)
        if any([(await self._systemd.show(unit)).stale for unit in units]):
            await self._systemd.reload()
        elif not linked.issuperset(units):
            self._telling = asyncio.ensure_future(self._tell_links())

    async def _tell_links(self) -> None:
        """What starts with the machine is read at its next start; until then links only show in `systemctl status`,
        for which no deployment need wait, nor fail."""
        with contextlib.suppress(JobFailure):
            await self._systemd.reload()

    async def clear(self, entry: Entry, process: Process) -> None:
        if not (entry.wanted and entry.proven):  # otherwise systemd clears it, and starts it again
            await self.end(entry, process, SWEEP_SECONDS)

    async def again(self, entry: Entry, died: Optional[Process], begun: bool, tell: Tell) -> Optional[Process]:
        unit = self._unit(entry)
        facts = await self._decided(unit)
        if facts.at_rest and not begun and not entry.halted:
            return None
        up = time.time() - (entry.started_at or 0.0)
        ended = f"ended after {up:.0f} s ({died.end})" if died is not None else "had ended while no agent watched it"
        aloud = begun and not entry.halted and self._is_loud(unit, entry, up)
        if begun and not facts.at_rest:
            entry.restarts += 1
            if aloud:
                tell("WARN", f"{ended}; it is started again in {RESTART_SECONDS:.0f} s")
                ended = "does not run"
        process = self._found(entry, facts)
        while process is None:
            if facts.at_rest:
                if not entry.halted:
                    entry.halted, aloud = True, False
                    tell("WARN", f"{ended}: {_halt(unit, facts)}")
                entry.state = HALTED
            await asyncio.sleep(HALT_SECONDS if facts.at_rest else LOOK_SECONDS)
            facts = await self._decided(unit)
            process = self._found(entry, facts)
        if entry.halted:
            entry.halted = False
            tell("INFO", "was started by hand")
        elif aloud:
            tell("INFO", f"was started again (restart {entry.restarts})")
        return process

    async def end(self, entry: Entry, process: Optional[Process], grace: float) -> bool:
        unit = self._unit(entry)
        if process is None and not self._files.exists(unit):
            return False
        if isinstance(process, UnitProcess):
            process.ending = True
        if grace > STOP_SECONDS:
            await self._be_patient(unit, grace)
        killed = await self._systemd.stop(unit, grace)
        if process is not None:
            await process.wait(NOTICE_SECONDS)
        await self._systemd.reset_failed([unit])  # whoever ended it knows, and nobody need be alarmed
        return killed

    async def forget(self, entries: Sequence[Entry]) -> None:
        await self._remove({self._unit(entry) for entry in entries})

    def _unit(self, entry: Entry) -> str:
        return unit_name(self._instance, entry.name, entry.release)

    def _process(self, facts: Facts, mark: str, unit: str) -> UnitProcess:
        """One that ended already is found ended at once: its pid is nobody's, or belongs to another start time."""
        pid = facts.pid or facts.last_pid
        identity = self._kernel.identity(pid) if facts.pid else None
        dead = Identity(pid, "ended", self._kernel.boot)
        return UnitProcess.follow(self._kernel, identity or dead, mark, unit, self._systemd)

    def _found(self, entry: Entry, facts: Facts) -> Optional[Process]:
        if not facts.runs or self._kernel.identity(facts.pid) is None:
            return None
        entry.started_at = facts.started_at
        return self._process(facts, entry.mark, self._unit(entry))

    async def _decided(self, unit: str) -> Facts:
        """What systemd says as soon as it is not busy with ending the unit."""
        while True:
            with contextlib.suppress(JobFailure):  # a systemd that hangs may recover, and nothing can be done before
                facts = await self._systemd.show(unit)
                if not facts.ending:
                    return facts
            await asyncio.sleep(LOOK_SECONDS)

    def _is_loud(self, unit: str, entry: Entry, up: float) -> bool:
        """Whether this death is told: of one that dies every second, only some are, more and more rarely."""
        now = time.time()
        if now < self._quiet.get(unit, 0.0):
            return False
        self._quiet[unit] = now + entry.next_delay(up)
        return True

    async def _refresh(self, unit: str) -> None:
        """systemd reads the unit's file, if it is another one than it knows."""
        if (await self._systemd.show(unit)).stale:
            await self._systemd.reload()

    async def _be_patient(self, unit: str, grace: float) -> None:
        """Lets systemd wait longer than usual before it kills."""
        try:
            self._files.restage(unit, stop=grace + PATIENCE)
        except OSError as error:
            if not is_full(error):
                raise
            return  # that it can be ended matters more
        await self._refresh(unit)

    async def _loaded(self) -> "set[str]":
        return set(await self._systemd.names(f"beanpole-{self._instance}-*.service"))

    async def _remove(self, units: "set[str]") -> None:
        """Of units that have ended."""
        if not units:
            return
        self._files.remove(units)
        known = units & await self._loaded()
        await self._systemd.reset_failed(sorted(known))
        if known & await self._loaded():
            await self._systemd.reload()

    def _make_log(self, log: Path, group: int) -> None:
        descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, LOG_MODE)
        try:
            os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, LOG_MODE)
        finally:
            os.close(descriptor)

    def _account(self, stage: str) -> pwd.struct_passwd:
        try:
            return pwd.getpwnam(self._user)
        except KeyError as error:
            message = f"the system user {self._user}, under which applications run, does not exist on this instance"
            remedy = f"Make it with `useradd --system --user-group {self._user}`, or add the server again."
            raise JobFailure(stage, message, remedy) from error


def _halt(unit: str, facts: Facts) -> str:
    how = "was stopped by hand" if facts.values.get("ActiveState") == "inactive" else f"failed ({facts.cause})"
    return f"its unit {unit} {how}, and stays so until the next deployment or `systemctl start`"
