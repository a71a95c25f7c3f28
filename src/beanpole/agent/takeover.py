"""A listening port goes over from the processes of somebody else's unit to our Envoy, and no request is lost.

First it is shared: the unit's listening sockets and Envoy's are one group to the kernel, which gives every connection
to the unit. The switch gives every new one to Envoy instead. The unit is ended when nobody waits for an answer of it;
connections that its clients keep open, and what still waited in its queue, go on through a process beside this agent.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

from . import durable
from .admin import AdminError
from .borrowed import LISTENING, OPEN, Borrowed, allow_many, borrow
from .events import EventLog
from .failure import JobFailure
from .giving_back import GivingBack, NotGivenBack
from .http import HttpError
from .kernel import Kernel
from .port import Port
from .proxy import Proxy
from .relay import Relays
from .steering import Steering
from .systemd import Systemd
from .unit_end import UnitEnd

SHARING, SWITCHING, DONE, RETURNING, BACK = "sharing", "switching", "done", "returning", "back"
RESUMED_SECONDS = 60.0  # for the unit's requests, when an earlier agent had begun to wait for them
GAP = "Allow a short gap: then the unit is stopped first, and Envoy listens a moment later."


@dataclass(frozen=True)
class Record:
    """What is on disk. `enabled`: whether the unit was, before it was taken from."""

    unit: str
    address: str
    number: int
    state: str
    enabled: bool
    result: Optional[Dict[str, Any]] = None

    @property
    def port(self) -> Port:
        return Port(self.address, self.number)


class Takeover:
    """The one of that home. Use it from one event loop."""

    def __init__(self, home: Path, events: EventLog, kernel: Kernel, systemd: Systemd) -> None:
        self._path = home / "takeover.json"
        self._events = events
        self._kernel = kernel
        self._systemd = systemd
        self._record: Optional[Record] = None
        self._borrowed: List[Borrowed] = []
        self._steering: Optional[Steering] = None
        self._relays: Optional[Relays] = None
        self._task: "Optional[asyncio.Task[None]]" = None

    async def resume(self) -> None:
        """Goes on where an earlier agent was ended."""
        record = durable.read_json(self._path)
        if record is None:
            return
        self._record = Record(**record)
        if self._record.state == RETURNING:  # the next one who asks begins anew
            self._save(Record(**{**vars(self._record), "state": DONE}))
        if self._record.state not in (SHARING, SWITCHING):
            return
        try:
            await self._share(self._record)
        except (HttpError, JobFailure) as error:  # the unit has ended meanwhile, or systemd is busy: see `renew`
            self._events.add("WARN", f"port {self._record.number} is not shared with {self._record.unit}: {error}")
        if self._record.state == SWITCHING:
            self._begin(RESUMED_SECONDS)

    def shares(self, port: Port) -> bool:
        """Whether Envoy may listen there although somebody else does."""
        return bool(self._borrowed) and self._record is not None and self._record.port == port

    async def renew(self, port: Port) -> None:
        """What this agent could not go on with there when it started is tried again. HttpError, JobFailure."""
        record = self._record
        begun = record is not None and record.state == SHARING and record.port == port
        if record is not None and begun and not self._borrowed and await self._systemd.pids(record.unit):
            await self._share(record)

    def refuse_envoy(self, port: Port) -> None:
        """HttpError 409 when the port goes back, or went back, to its unit: no Envoy of ours belongs there any more."""
        record = self._record
        if record is not None and record.state in (RETURNING, BACK) and record.port == port:
            raise HttpError(409, f"port {port.number} was given back to {record.unit}")

    async def share(self, unit: str, port: Port) -> Dict[str, Any]:
        """Envoy may listen beside that unit when this returns, and gets nothing yet. HttpError 409 with the reason."""
        before = self._record
        if before is not None and before.state in (SHARING, SWITCHING) and (before.unit, before.port) != (unit, port):
            raise HttpError(409, f"port {before.number} is being taken over from {before.unit}")
        if (self._task is None or self._task.done()) and not self.shares(port):
            record = Record(unit, port.address, port.number, SHARING, await self._systemd.enabled(unit))
            await self._share(record)
            self._save(record)
        return self.view()

    def switch(self, seconds: float) -> Dict[str, Any]:
        """Begins: Envoy gets every new connection; the unit has so long until it ends with requests open."""
        if self._record is None:
            raise HttpError(409, "no port is shared with a unit")
        if self._record.state in (SHARING, SWITCHING) and (self._task is None or self._task.done()):
            self._save(Record(**{**vars(self._record), "state": SWITCHING}))
            self._begin(seconds)
        return self.view()

    def back(self, proxy: Proxy, seconds: float, drain: float) -> Dict[str, Any]:
        """Begins: the unit is started again and gets its port; it has so long until it answers, and Envoy to end."""
        record = self._record
        if record is None or record.state not in (DONE, RETURNING, BACK):
            raise HttpError(409, "this port was not taken over from a unit")
        if record.state == DONE:
            self._save(Record(**{**vars(record), "state": RETURNING, "result": None}))
            self._task = asyncio.get_running_loop().create_task(self._give_back(proxy, seconds, drain))
        return self.view()

    async def _give_back(self, proxy: Proxy, seconds: float, drain: float) -> None:
        record = self._record
        if record is None:
            return
        state = DONE
        try:
            giving = GivingBack(self._systemd, record.unit, record.port, lambda: proxy.leave(drain))
            pids = [generation.process.identity.pid for generation in proxy.generations()]
            result = await giving.run(pids, seconds)
            if record.enabled:
                await self._systemd.enable(record.unit)
            state = BACK
        except NotGivenBack as error:
            result = {"problem": str(error)}
        except (AdminError, JobFailure, OSError) as error:
            result = {"problem": f"the port could not be given back: {error}"}
        self._save(Record(**{**vars(record), "state": state, "result": result}))
        words = result.get("problem") or f"port {record.number} was given back to {record.unit}"
        self._events.add("INFO" if state == BACK else "ERROR", words, result)

    async def give_up(self) -> None:
        """The unit has its port for itself again, as before. Envoy must not listen there any more."""
        if self._record is not None and self._record.state == SHARING:
            self._release()
            self._path.unlink(missing_ok=True)
            self._record = None

    def view(self) -> Dict[str, Any]:
        return dict(vars(self._record)) if self._record else {"state": None}

    async def close(self) -> None:
        """The kernel goes on as it was told, and so do connections that are relayed."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _share(self, record: Record) -> None:
        port = record.port
        pids = await self._systemd.pids(record.unit)
        if not pids:
            raise HttpError(409, f"no process of {record.unit} runs")
        allow_many()
        found: List[Borrowed] = []
        try:
            found = borrow(pids, port.number, LISTENING)
            _check(found, record)
            _make_shareable(found, borrow(pids, port.number, OPEN))
            steering = Steering(port, 0, len(found))
            if not steering.start():
                raise HttpError(409, f"port {port.number} cannot be shared on this system", remedy=GAP, gap=True)
        except BaseException as error:
            for each in found:
                each.socket.close()
            if isinstance(error, OSError):
                raise _unshared(port, error) from error
            raise
        self._borrowed, self._steering, self._relays = found, steering, Relays(port)

    def _begin(self, seconds: float) -> None:
        self._task = asyncio.get_running_loop().create_task(self._try_switch(seconds))

    async def _try_switch(self, seconds: float) -> None:
        """What goes wrong is told; Envoy has the new connections by then, and whoever asks again has it tried again."""
        try:
            await self._switch(seconds)
        except (JobFailure, OSError) as error:
            unit = self._record.unit if self._record else "the unit"
            self._events.add("ERROR", f"{unit} was not ended, and finishes what it has: {error}")

    async def _switch(self, seconds: float) -> None:
        record = self._record
        if record is None:
            return
        result: Dict[str, Any] = {"waited": 0.0, "kept": 0, "cut": 0, "queued": 0}
        if self._steering is not None and self._relays is not None:
            # Ours joined before those of Envoy, or after them when an earlier agent had shared the port. It leaves, so
            # that they follow on the unit's, and another one joins at the end.
            self._steering.leave()
            self._steering = Steering(record.port, len(self._borrowed))
            if not self._steering.start():
                self._events.add("ERROR", f"port {record.number} cannot be switched now; {record.unit} keeps it")
                self._save(Record(**{**vars(record), "state": SHARING}))
                return
            end = UnitEnd(self._systemd, self._kernel, record.unit, record.number, self._borrowed, self._relays)
            result.update(await end.run(seconds))
        else:
            await self._systemd.stop(record.unit, seconds)
        if record.enabled:
            await self._systemd.disable(record.unit)  # or both would want the port after a boot
        for each in self._borrowed:
            each.socket.setblocking(False)
            if self._relays is not None:
                result["queued"] += self._relays.take_waiting(each.socket)
        self._release()
        self._save(Record(**{**vars(record), "state": DONE, "result": result}))
        cut = result["cut"]
        words = f"port {record.number} was taken over from {record.unit}, which has ended"
        if cut:
            words += f" with {cut} request{'s' if cut > 1 else ''} open"
        self._events.add("WARN" if cut else "INFO", words, result)

    def _release(self) -> None:
        for each in self._borrowed:
            each.socket.close()
        if self._steering is not None:
            self._steering.stop()
        if self._relays is not None:
            self._relays.close()
        self._borrowed, self._steering, self._relays = [], None, None

    def _save(self, record: Record) -> None:
        durable.write_json(self._path, vars(record))
        self._record = record


def _make_shareable(listening: List[Borrowed], others: List[Borrowed]) -> None:
    """Another socket may be bound to their port. `others`: connections that were taken there, which are bound, too."""
    for each in listening:
        each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Only sockets of one user share a port. It is the socket's owner, not the process's.
        os.fchown(each.socket.fileno(), os.geteuid(), -1)
    for each in others:
        each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        each.socket.close()


def _unshared(port: Port, error: OSError) -> HttpError:
    cause = f"port {port.number} cannot be shared: {error.strerror}"
    if error.errno in (errno.ENOSYS, errno.EPERM):
        cause = f"the kernel gives us no sockets of other processes ({error.strerror}), which Linux does since 5.6"
    return HttpError(409, cause, remedy=GAP, gap=True)


def _check(found: List[Borrowed], record: Record) -> None:
    """HttpError when these are no sockets that Envoy could share."""
    if not found:
        raise HttpError(409, f"{record.unit} does not listen on port {record.number}")
    other = sorted({name for each in found if (name := each.socket.getsockname()[0]) != record.address})
    if other:
        raise HttpError(
            409, f"{record.unit} listens on {', '.join(other)} and not on {record.address}", remedy=GAP, gap=True
        )
