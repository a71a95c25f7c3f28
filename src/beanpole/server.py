"""The control plane as a process: from its start to the signal that ends it.

Stopping it, or killing it, ends nothing but itself: agents, Envoy and applications go on, and the next one finds them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa
import structlog
import uvicorn

from beanpole.assembly import Assembly, assemble
from beanpole.aws.gateway import UVICORN_OPTIONS
from beanpole.fleet.agent_program import agent_program
from beanpole.fleet.detached import AgentWillNotStart, DetachedAgent
from beanpole.fleet.edges import Listen
from beanpole.fleet.envoy import EnvoyMissing, envoy_binary
from beanpole.fleet.local import STARTS
from beanpole.fleet.proxy import BalancerRefused
from beanpole.home import Home, HomeUnusable
from beanpole.reconcile.steady import steadily
from beanpole.storage import chosen, opened
from beanpole.store import edges
from beanpole.store.database import Database, DatabaseUnusable
from beanpole.store.facts import identity
from beanpole.store.tenure import Superseded, Tenure

CALLS_LIMIT = 10
"""Seconds that calls may take to end once the control plane is told to stop: `beanpole down` waits three times as long.
Without it a client that uploads byte by byte would keep the process."""

TENURE = 2.0
"""Seconds between looks whether the database is still ours."""

log = structlog.get_logger("server")


class StartFailed(Exception):
    """The control plane cannot start; the message says why and what to do. Nothing is left behind."""


@dataclass(frozen=True)
class Options:
    home: Home
    api: tuple[str, int] = ("127.0.0.1", 8600)
    balancer: tuple[str, int] = ("127.0.0.1", 8080)
    domain: str = "localhost"
    region: str = "local-1"
    database: sa.URL | None = None
    """Of PostgreSQL, as storage.py chooses it; None: the file in the home."""


def run(options: Options, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is called with the API's address when the first call can be made.

    Raises StartFailed; Superseded when another control plane has got hold of the database.
    """
    home = options.home
    try:
        envoy = envoy_binary()
        home.make()
        home.lock()
    except (EnvoyMissing, HomeUnusable) as problem:
        raise StartFailed(str(problem)) from problem
    try:
        # The database is closed last, when no thread is in a transaction any more: what such a one wrote would stay in
        # a file beside the database, and whoever copies the database alone would miss it.
        with (
            _bound(options.api) as listening,
            opened(home, options.database, options.region) as (database, tenure),
            asyncio.Runner(loop_factory=_new_loop) as runner,
        ):
            runner.run(_serve(options, database, tenure, listening, envoy, ready))
    except DatabaseUnusable as problem:
        raise StartFailed(str(problem)) from problem
    finally:
        home.state.unlink(missing_ok=True)
        home.clear()
        home.unlock()


def end_everything(home: Home) -> list[str]:
    """Stop applications, agents and Envoy of a home whose control plane is stopped; what was ended, by name.

    The data stays: the next `up` starts the same environments again. Raises StartFailed where it cannot be read.
    """
    if not home.database.exists() and not home.store.exists():
        return []
    home.lock()
    try:
        with opened(home, chosen(None, home), "") as (database, _):
            return asyncio.run(_end(home, database))
    except DatabaseUnusable as problem:
        raise StartFailed(str(problem)) from problem
    finally:
        home.unlock()
        (home.root / "lock").unlink(missing_ok=True)


async def _serve(
    options: Options,
    database: Database,
    tenure: Tenure | None,
    listening: socket.socket,
    envoy: Path,
    ready: Callable[[str], None],
) -> None:
    home = options.home
    address = f"http://{options.api[0]}:{listening.getsockname()[1]}"
    listen = Listen(*options.balancer, options.domain)
    made = assemble(home, database, options.region, address, listen, envoy)
    await _start_balancer(made)
    server = _Server(
        uvicorn.Config(
            made.gateway,
            lifespan="off",
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=CALLS_LIMIT,
            **UVICORN_OPTIONS,
        )
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, server.stop)
    background = [asyncio.create_task(steadily(name, loop), name=name) for name, loop in made.background.items()]
    leftovers = asyncio.create_task(made.machine.clear_leftovers(), name="leftovers")
    keeping = asyncio.create_task(_keep(tenure, server.stop), name="tenure")
    home.keep(home.state, _state(options, address))
    try:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        ready(address)
        await serving
        if keeping.done():
            keeping.result()
    finally:
        for task in (*background, leftovers, keeping):
            task.cancel()
        await asyncio.gather(*background, leftovers, keeping, return_exceptions=True)
        await made.servers.close()


async def _keep(tenure: Tenure | None, stop: Callable[[], None]) -> None:
    """Until cancelled, where there is one to keep. Raises Superseded, and stops the server before."""
    while tenure is not None:
        await asyncio.sleep(TENURE)
        try:
            await asyncio.to_thread(tenure.keep)
        except Superseded:
            stop()
            raise
        except sa.exc.SQLAlchemyError as problem:
            cause = str(getattr(problem, "orig", problem))
            log.warning("the database does not answer; what is under way goes on when it does", problem=cause)


async def _start_balancer(made: Assembly) -> None:
    was_running = await made.balancer.running() is not None
    try:
        await made.balancers.start()
    except (AgentWillNotStart, BalancerRefused) as problem:
        if not was_running:
            await made.balancer.leave()
        cause = problem.cause if isinstance(problem, BalancerRefused) else problem
        raise StartFailed(f"the balancer does not start: {cause}") from problem


class _Server(uvicorn.Server):
    """uvicorn without its own handling of signals, which end more here than the HTTP server, and without its ten looks
    a second at whether it should end: they were a fifth of what an idle control plane used of a processor."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        # A tick of 0 also renews the time that every answer is sent with.
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    await self._stopped.wait()

    def stop(self) -> None:
        """Let calls that are under way end, within CALLS_LIMIT; told a second time, end them now."""
        if self.should_exit:
            self.force_exit = True
            for task in self.server_state.tasks:
                task.cancel()
        self.should_exit = True
        self._stopped.set()


async def _end(home: Home, database: Database) -> list[str]:
    store = identity(database, "").store
    with database.write() as db:
        edges.remove(db, None)  # one that only stood beside the present one is not to come back
    program = agent_program(home.programs)
    agents = [DetachedAgent(folder, program, store, "instance") for folder in sorted(home.instances.glob("i-*"))]
    ran = [agent for agent in agents if agent.ever_ran()]
    # A dead agent is started for its end, and a machine takes only so many starts at once.
    together = asyncio.Semaphore(STARTS)

    async def end(agent: DetachedAgent) -> None:
        async with together:
            await agent.end()

    await asyncio.gather(*(end(agent) for agent in ran))
    balancer = DetachedAgent(home.edge, program, store, "balancer")
    if balancer.ever_ran():
        await balancer.end()
        ran.append(balancer)
    return [agent.home.name for agent in ran]


@contextlib.contextmanager
def _bound(where: tuple[str, int]) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(where)
            listening.listen(1024)
        except OSError as problem:
            raise StartFailed(
                f"the API cannot listen on {where[0]}:{where[1]}: {problem.strerror}. Choose another port with "
                "--api-port, or stop what listens there."
            ) from problem
        yield listening


def _state(options: Options, api: str) -> str:
    """What commands read to find the control plane."""
    return json.dumps(
        {
            "pid": os.getpid(),
            "api": api,
            "balancer": f"http://{options.balancer[0]}:{options.balancer[1]}",
            "region": options.region,
            "domain": options.domain,
            "started_at": time.time(),
        }
    )


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
