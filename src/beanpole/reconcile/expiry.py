"""Terminates environments when the time comes that somebody said beforehand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import OperationalError

from beanpole.control.expiry import terminate_due
from beanpole.store import environments

if TYPE_CHECKING:
    from beanpole.control.context import Control

PERIOD = 5.0
"""Seconds between looks; the times are said in minutes."""

log = structlog.get_logger("expiry")


class Expiry:
    def __init__(self, control: Control) -> None:
        self._control = control

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                await asyncio.to_thread(self.once)
            except OperationalError as problem:
                log.warning("nobody knows just now what is to be terminated", problem=str(problem))

    def once(self) -> list[str]:
        """Look once, without writing anything where nothing is due; the names of those that end now."""
        with self._control.database.read() as db:
            now = self._control.database.now_ms()
            due = any(each.terminate_at is not None and each.terminate_at <= now for each in environments.listed(db))
        return terminate_due(self._control) if due else []
