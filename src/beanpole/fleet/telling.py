"""Balancers are told in the background: by one task at a time each, and again at the next call when that did not work.

Who is in trouble is known from then on, and holds up nobody who waits for the others.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from beanpole.fleet.proxy import TROUBLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from beanpole.fleet.proxy import Proxy

log = structlog.get_logger("balancer")


class Telling:
    """Balancers are called by the names that come with them."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._troubled: set[str] = set()

    def begin(self, balancers: Mapping[str, Proxy]) -> None:
        """Those that have yet to be told something are told; edges are also looked after, and started if they died."""
        for name, proxy in balancers.items():
            if (proxy.behind or not proxy.edge.inner) and name not in self._tasks:
                self._tasks[name] = asyncio.create_task(self._tell(name, proxy))

    async def done(self, names: Iterable[str], seconds: float) -> None:
        """Those that are just being told have been, unless that takes longer or they are known to be in trouble."""
        if told := [self._tasks[name] for name in names if name in self._tasks and name not in self._troubled]:
            await asyncio.wait(told, timeout=seconds)

    async def stop(self, name: str, seconds: float) -> None:
        """That one is not being told when this returns; what is under way has so long."""
        if (task := self._tasks.get(name)) is not None:
            await asyncio.wait([task], timeout=seconds)
            task.cancel()

    def is_troubled(self, name: str) -> bool:
        return name in self._troubled

    async def _tell(self, name: str, proxy: Proxy) -> None:
        try:
            if proxy.edge.inner or await proxy.running():
                await proxy.apply()
            else:
                await proxy.start()
        except TROUBLE as problem:
            if name not in self._troubled:
                log.warning("a balancer is told later", of=proxy.name, problem=str(problem))
            self._troubled.add(name)
        else:
            self._troubled.discard(name)
        finally:
            del self._tasks[name]
