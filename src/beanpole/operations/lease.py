"""The lease of an operation while it is carried out: renewed by a heartbeat, which also hears an abort."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError

from beanpole.store import operations
from beanpole.store.operations import LeaseLost

if TYPE_CHECKING:
    from beanpole.store.database import Database
    from beanpole.store.operations import Operation

TTL = 15.0
"""Seconds until another process may take the operation over when this one says nothing."""

RENEW = 1.0
"""Seconds between renewals; also the longest that an abort asked of another process stays unheard."""


class Lease:
    """`aborted` is set when an abort was asked for, `lost` when another process holds the operation now.

    When the database cannot be reached for a whole TTL the lease counts as lost: another process may have it.
    """

    def __init__(self, database: Database, held: Operation) -> None:
        self._database = database
        self.held = held
        self.aborted = asyncio.Event()
        self.lost = asyncio.Event()
        if held.abort:
            self.aborted.set()

    async def __aenter__(self) -> Lease:
        self._heart = asyncio.create_task(self._beat(), name=f"lease of operation {self.held.id}")
        # However the heartbeat ends, from then on nobody renews the lease.
        self._heart.add_done_callback(lambda _: self.lost.set())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._heart.cancel()
        await asyncio.gather(self._heart, return_exceptions=True)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        renewed = loop.time()
        while loop.time() - renewed < TTL:
            await asyncio.sleep(RENEW)
            try:
                abort = await asyncio.to_thread(operations.renew, self._database, self.held, int(TTL * 1000))
            except LeaseLost:
                return
            except OperationalError:
                continue  # of the moment, unless it lasts for a whole TTL
            renewed = loop.time()
            if abort:
                self.aborted.set()
