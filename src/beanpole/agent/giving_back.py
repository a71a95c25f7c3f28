"""The port goes back from our Envoy to the unit that had it, and no request is lost where the kernel helps.

The unit is started beside Envoy: a hook makes its socket one that may share the port, and the kernel sends it nothing
but our own question until it has answered that. Then it gets every new connection, and Envoy finishes what it has.
Where the kernel cannot do that, Envoy leaves first, and the time until the unit answers is measured.
"""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from pathlib import Path
from typing import Any, Awaitable, Callable, Dict, List

from .bind_hook import BindHook
from .borrowed import LISTENING, Borrowed, borrow
from .deadline import within
from .failure import JobFailure
from .port import Port
from .steering import Steering
from .systemd import Systemd

ASKING = "127.0.0.9"  # where our question comes from: the kernel tells it by that from everybody else's
LOOK_SECONDS = 0.05
ANSWER_SECONDS = 5.0


class NotGivenBack(Exception):
    """Envoy serves as before; says why."""


class GivingBack:
    """`envoy`: pids of all of ours that listen. `leave`: Envoy takes no new connection, and ends when it is idle."""

    def __init__(self, systemd: Systemd, unit: str, port: Port, leave: Callable[[], Awaitable[None]]) -> None:
        self._systemd = systemd
        self._unit = unit
        self._port = port
        self._leave = leave

    async def run(self, envoy: List[int], seconds: float) -> Dict[str, Any]:
        """→ {"gap": seconds without anybody}. Raises NotGivenBack."""
        ours = borrow(envoy, self._port.number, LISTENING)
        try:
            steering = Steering(self._port, 0, max(len(ours), 1))
            hook = None
            if ours and steering.start():
                try:
                    hook = await self._shared(ours, steering)
                except OSError:
                    steering.stop()
            if hook is None:
                return {"gap": await self._with_gap(seconds)}
            try:
                await self._beside(ours, steering, seconds)
            except BaseException:
                _own(ours, steering, os.geteuid())
                steering.turn(0, len(ours))
                steering.stop()
                raise
            finally:
                hook.close()
            await self._leave()
            for each in ours:
                each.socket.close()
            steering.stop()
            return {"gap": 0.0}
        finally:
            for each in ours:
                each.socket.close()

    async def _shared(self, ours: List[Borrowed], steering: Steering) -> BindHook:
        """The unit may listen beside Envoy. OSError where it cannot."""
        slice_ = await self._systemd.value(self._unit, "Slice")
        group = await self._systemd.value(slice_, "ControlGroup")
        hook = BindHook(_cgroup(group), self._port.number)
        _own(ours, steering, _uid(await self._systemd.value(self._unit, "User")))
        return hook

    async def _beside(self, ours: List[Borrowed], steering: Steering, seconds: float) -> None:
        """It is started, answers, and gets the new connections."""
        limit = time.monotonic() + seconds
        place = len(ours) + 1  # after Envoy's sockets and the one that steers
        steering.turn(0, len(ours), asking=(ASKING, place))
        try:
            await self._start()
            while True:
                theirs = borrow(await self._systemd.pids(self._unit), self._port.number, LISTENING)
                for each in theirs:
                    each.socket.close()
                if theirs and await self._answers():
                    break
                if time.monotonic() > limit:
                    raise NotGivenBack(
                        f"{self._unit} does not answer on port {self._port.number} after {seconds:.0f} s"
                    )
                if (await self._systemd.show(self._unit)).at_rest:
                    raise NotGivenBack(f"{self._unit} ended at once; see `journalctl -u {self._unit}`")
                await asyncio.sleep(LOOK_SECONDS)
        except BaseException:
            await self._systemd.stop(self._unit, ANSWER_SECONDS)
            raise
        steering.turn(place, len(theirs))

    async def _with_gap(self, seconds: float) -> float:
        await self._leave()
        begun = time.monotonic()
        await self._start()
        while not await self._port.accepts():
            if time.monotonic() - begun > seconds:
                raise NotGivenBack(f"{self._unit} does not answer on port {self._port.number} after {seconds:.0f} s")
            await asyncio.sleep(LOOK_SECONDS)
        return round(time.monotonic() - begun, 2)

    async def _start(self) -> None:
        try:
            await self._systemd.reset_failed([self._unit])
            if not await self._systemd.start(self._unit):
                raise NotGivenBack(f"{self._unit} cannot be started; see `systemctl status {self._unit}`")
        except JobFailure as failure:
            raise NotGivenBack(failure.message) from failure

    async def _answers(self) -> bool:
        """Whether it answers an HTTP request with anything but an error of its own."""
        try:
            return await within(ANSWER_SECONDS, self._ask())
        except (OSError, asyncio.TimeoutError):
            return False

    async def _ask(self) -> bool:
        target = {"0.0.0.0": "127.0.0.1"}.get(self._port.address, self._port.address)  # noqa: S104
        reader, writer = await asyncio.open_connection(target, self._port.number, local_addr=(ASKING, 0))
        try:
            writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            words = (await reader.readline()).split()
            return len(words) > 1 and words[0].startswith(b"HTTP/") and words[1] < b"500"
        finally:
            writer.close()


def _own(ours: List[Borrowed], steering: Steering, uid: int) -> None:
    """Only sockets of one user share a port."""
    for each in ours:
        os.fchown(each.socket.fileno(), uid, -1)
    steering.own(uid)


def _uid(user: str) -> int:
    if not user:
        return 0
    try:
        return int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    except KeyError as error:
        raise OSError(f"there is no user {user}") from error


def _cgroup(group: str) -> Path:
    """The folder in the version 2 hierarchy. OSError when there is none."""
    for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        if Path(mount, "cgroup.controllers").exists():
            return Path(mount, group.lstrip("/"))
    raise OSError("cgroups of version 2 are not mounted")
