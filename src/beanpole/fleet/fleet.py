"""All instances, wherever they live: how a job is done on one of them, across deaths of its agent."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from beanpole.fleet.agent_client import AgentClient, AgentRefused, AgentUnreachable, JobInterrupted, JobView, StaleEpoch
from beanpole.fleet.local import free_address
from beanpole.fleet.machine import memory_available
from beanpole.store import instances

if TYPE_CHECKING:
    from collections.abc import Callable

    from beanpole.fleet.place import Place, Progressed
    from beanpole.store.database import Database
    from beanpole.store.instances import Instance

RETRY = 0.1
"""Seconds between tries to reach an agent that is starting anew."""


class Fleet:
    """`local`: this machine; `servers`: the hosts that rows of instances name."""

    def __init__(self, database: Database, local: Place, servers: Place) -> None:
        self._database = database
        self._local = local
        self._servers = servers
        self._known: dict[str, Instance] = {}
        self._letting_go = False

    def let_go(self) -> None:
        """This process ends: a job whose caller is cancelled goes on from now on, and the next process asks for it."""
        self._letting_go = True

    def place(self, instance_id: str) -> Place:
        """Where the instance lives. AgentUnreachable when there is none of that name."""
        return self._local if self._instance(instance_id).host is None else self._servers

    def address(self, instance_id: str) -> str:
        """The loopback address of its machine that is the instance's own."""
        return self._instance(instance_id).address

    def newcomer(self, taken: set[str]) -> tuple[str, str]:
        """The id of an instance that is about to be made, and a loopback address that is not one of those."""
        instance_id = "i-" + secrets.token_hex(9)[:17]
        return instance_id, free_address(instance_id, taken)

    def memory_available(self) -> int | None:
        """Bytes of this machine that new instances may take; None: not known."""
        return memory_available()

    async def launch(self, instance_id: str) -> None:
        await self.place(instance_id).launch(instance_id)

    async def terminate(self, instance_id: str) -> None:
        await self.place(instance_id).terminate(instance_id)
        self._known.pop(instance_id, None)

    async def client(self, instance_id: str) -> AgentClient:
        """The instance's agent, started again if it died. Raises AgentUnreachable."""
        return await self.place(instance_id).client(instance_id)

    async def running(self, instance_id: str) -> AgentClient | None:
        """The instance's agent if it answers; nothing is started."""
        return await self.place(instance_id).running(instance_id)

    async def keep_alive(self, instance_id: str) -> AgentClient:
        """The instance's agent, started again if it died."""
        return await self.place(instance_id).keep_alive(instance_id)

    async def state(self, instance_id: str) -> dict[str, Any]:
        """What the instance's agent reports. Raises AgentUnreachable."""
        return await (await self.client(instance_id)).state()

    async def job(
        self,
        instance_id: str,
        key: str,
        kind: str,
        arguments: dict[str, Any],
        *,
        epoch: int,
        timeout: float,
        repeat: bool = True,
        on_progress: Progressed | None = None,
        goes_on: Callable[[], bool] = lambda: False,
    ) -> dict[str, Any]:
        """Have a job done and wait for its result, across deaths of the agent.

        `repeat=False`: one that died with its agent is not done again; JobInterrupted says so. `goes_on`: whether
        somebody else is to ask for the job that its caller leaves.

        Raises JobError, StaleEpoch, AgentUnreachable (also when `timeout` seconds are over, or the place's patience
        with an agent that is silent: then it is unknown whether the job was done). A caller that is cancelled cancels
        the job, unless this process lets go, or `goes_on`.
        """
        patience = self.place(instance_id).patience
        silent: float | None = None

        def heard() -> None:
            nonlocal silent
            silent = None

        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                while True:
                    # Before the attempt, which may be as patient.
                    silent = loop.time() if silent is None else silent
                    try:
                        return await self._job(instance_id, key, kind, arguments, epoch, repeat, on_progress, heard)
                    except JobInterrupted:
                        if not repeat:
                            raise
                    except AgentUnreachable:
                        now = loop.time()
                        silent = now if silent is None else silent  # it had been heard
                        if now - silent >= patience:
                            raise
                        await asyncio.sleep(RETRY)
        except TimeoutError:
            await self._cancel(instance_id, key, epoch)
            raise AgentUnreachable(f"job {kind} gave no result within {timeout:.0f} s") from None
        except asyncio.CancelledError:
            if not (self._letting_go or goes_on()):
                await asyncio.shield(self._cancel(instance_id, key, epoch))
            raise

    async def _job(
        self,
        instance_id: str,
        key: str,
        kind: str,
        arguments: dict[str, Any],
        epoch: int,
        repeat: bool,
        on_progress: Progressed | None,
        heard: Callable[[], None],
    ) -> dict[str, Any]:
        """`heard` is called when the agent has taken the job."""
        client = await self.client(instance_id)
        if not repeat and (known := await _known(client, key)) is not None and known.state == "interrupted":
            known.outcome()
        view = await client.put_job(key, kind, arguments, epoch)
        heard()
        return await client.wait_job(key, on_progress, known=view)

    async def _cancel(self, instance_id: str, key: str, epoch: int) -> None:
        """Unless somebody with a newer lease has taken it over."""
        client = await self.running(instance_id)
        if client is not None and await _known(client, key) is not None:
            with contextlib.suppress(AgentUnreachable, StaleEpoch):
                await client.cancel_job(key, epoch)

    def _instance(self, instance_id: str) -> Instance:
        """Place and address never change, so they are read once."""
        known = self._known.get(instance_id)
        if known is None:
            with self._database.read() as db:
                known = instances.find(db, instance_id)
            if known is None:
                raise AgentUnreachable(f"there is no instance {instance_id!r}")
            self._known[instance_id] = known
        return known


async def _known(client: AgentClient, key: str) -> JobView | None:
    try:
        return await client.get_job(key)
    except AgentRefused as refusal:
        if refusal.status == 404:
            return None
        raise
