"""The API behind a real port, on a real store. Nothing carries operations out: tests say when one has ended."""

from __future__ import annotations

import asyncio
import contextlib
import io
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import botocore.session
from botocore.exceptions import ClientError
from served import Ledger, client, keys, served

from beanpole.aws.call import AccessKey, Service
from beanpole.aws.gateway import Gateway
from beanpole.aws.models import load_model
from beanpole.balancer.pool import Health
from beanpole.control.context import Control
from beanpole.control.hosts import Hosts
from beanpole.control.logs import Logs
from beanpole.fleet.servers.servers import Servers
from beanpole.operations.board import Board
from beanpole.operations.closing import Closing
from beanpole.options import catalogue
from beanpole.options.ebextensions import ContainerCommand
from beanpole.platforms.lock import Wheel
from beanpole.platforms.names import Platforms
from beanpole.services.beanpole.api import Beanpole, ControlPlane
from beanpole.services.beanpole.hosts import HostCalls
from beanpole.services.ec2 import Ec2
from beanpole.services.elasticbeanstalk import api as elasticbeanstalk
from beanpole.services.elasticbeanstalk.environments import Environments
from beanpole.services.s3.service import S3
from beanpole.store import instances, operations, types
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database
from beanpole.store.facts import identity
from beanpole.store.instances import Instance

APPLICATION = {"application.py": "application = None\n"}


class Fleet:
    """Agents that answer as a test says: `logs` is called with the instance's id."""

    def __init__(self) -> None:
        self.logs: Callable[[str], Any] = lambda instance: [{"name": "web.stdout.log", "text": f"of {instance}\n"}]

    async def client(self, instance: str) -> Any:
        async def logs(_lines: int) -> Any:
            found = self.logs(instance)
            return await found if asyncio.iscoroutine(found) else found

        return SimpleNamespace(logs=logs)


class Unable(Exception):
    cause = "the disk broke"
    remedy = "Buy another one."


class Setup:
    """Makes servers ready, and lets them go, by saying so. `hold` keeps it from ending, `fail` ends it badly."""

    def __init__(self) -> None:
        self.installed: list[tuple[str, bool]] = []
        self.removed: list[tuple[str, bool]] = []
        self.hold = threading.Event()
        self.hold.set()
        self.fail = False

    async def install(self, server: Any, *, force: bool, on_progress: Callable[[str, int, int], None]) -> None:
        await self._go(on_progress)
        self.installed.append((server.name, force))

    async def remove(self, server: Any, *, purge: bool, on_progress: Callable[[str, int, int], None]) -> None:
        await self._go(on_progress)
        self.removed.append((server.name, purge))

    async def _go(self, on_progress: Callable[[str, int, int], None]) -> None:
        on_progress("sending uv", 1, 2)
        await asyncio.to_thread(self.hold.wait, 20)
        if self.fail:
            raise Unable("the disk broke")


@dataclass
class ApiSite:
    control: Control
    fleet: Fleet
    ledger: Ledger
    sessions: botocore.session.Session
    setup: Setup
    url: str = ""
    clients: dict[str, Any] = field(default_factory=dict)
    meanwhile: list[Callable[[], object]] = field(default_factory=list)
    """What happens while the next release is composed, outside of any transaction; each once."""

    def client(self, service: str = "elasticbeanstalk") -> Any:
        """One for each service: to make one takes as long as fifty calls."""
        if service not in self.clients:
            self.clients[service] = client(self.sessions, service, self.url)
        return self.clients[service]

    @property
    def stack(self) -> str:
        return next(iter(self.control.platforms)).solution_stack

    def upload(self, key: str = "v.zip", files: dict[str, str] | None = None) -> dict[str, str]:
        """A bundle as SourceBundle."""
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name, text in (files or APPLICATION).items():
                archive.writestr(name, text)
        self.control.objects.create_bucket(self.control.bucket)
        self.control.objects.put(self.control.bucket, key, buffer.getvalue())
        return {"S3Bucket": self.control.bucket, "S3Key": key}

    def version(self, label: str, application: str = "shop") -> None:
        self.client().create_application_version(
            ApplicationName=application,
            VersionLabel=label,
            AutoCreateApplication=True,
            SourceBundle=self.upload(f"{label}.zip", APPLICATION | {"VERSION": label}),
        )

    def environment(self, name: str = "shop-dev", label: str = "v1") -> str:
        """Created and launched; its id."""
        self.version(label)
        answer = self.client().create_environment(
            ApplicationName="shop", EnvironmentName=name, VersionLabel=label, SolutionStackName=self.stack
        )
        self.end_operations()
        return str(answer["EnvironmentId"])

    def instance(self, environment_id: str, identifier: str = "i-1") -> None:
        with self.control.database.write() as db:
            instances.add(db, Instance(identifier, environment_id, "running", "127.0.0.1", 1, 0))

    def end_operations(self) -> None:
        """All that are open succeed."""
        control = self.control
        parts: Any = SimpleNamespace(
            database=control.database, registry=control.registry, balancers=control.balancers, layers=control.layers
        )
        closing = Closing(parts)
        while (held := operations.claim(control.database, "test", 60_000)) is not None:
            assert asyncio.run(closing.succeeded(held))

    def key_of_layer(self, *_: object) -> str:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return "layer"


@contextlib.contextmanager
def api_site(
    folder: Path, sessions: botocore.session.Session, clock: Callable[[], float] | None = None
) -> Iterator[ApiSite]:
    types.resolve((AccessKey, ContainerCommand, Health, Wheel))
    database = Database.at(folder / "beanpole.db")
    if clock is not None:
        database.clock = clock
    objects = S3(database, Blobs(folder / "objects"), keys)
    balancers: Any = SimpleNamespace(
        cname=lambda prefix: f"{prefix}.localhost",
        apply=lambda: asyncio.sleep(0),
        listen=SimpleNamespace(address="127.0.0.1", port=8080),
        fronts=(SimpleNamespace(url="http://127.0.0.1:8080"),),
    )
    layers: Any = SimpleNamespace(key=lambda *words: site.key_of_layer(*words), packages=lambda key: {})
    control = Control(
        database=database,
        blobs=Blobs(folder / "blobs"),
        objects=objects,
        registry=catalogue.load(),
        platforms=Platforms(["3.11", "3.12"]),
        identity=identity(database, "local-1"),
        balancers=balancers,
        layers=layers,
        wake=lambda: None,
    )
    fleet: Any = Fleet()
    setup = Setup()
    site = ApiSite(control, fleet, Ledger(), sessions, setup)
    servers = Servers(database, control.identity.store)
    hosts = Hosts(control, servers, setup, setup)
    with _loop() as loop:
        own = Beanpole(control, fleet, Board(), Environments(control), ControlPlane("", "", ""), loop)
        collector: Any = SimpleNamespace()
        handlers = elasticbeanstalk.handlers(control, collector, Logs(control, fleet, loop), objects)
        services = [
            Service("elasticbeanstalk", load_model("elasticbeanstalk"), handlers),
            Service("beanpole", load_model("beanpole"), own.handlers() | HostCalls(control, hosts, loop).handlers()),
            Ec2(database, control.identity).service(),
        ]
        gateway = Gateway(services, keys, objects=objects, audit=site.ledger.audit, on_error=site.ledger.on_error)
        with served(gateway) as url:
            site.url = url
            yield site
            asyncio.run_coroutine_threadsafe(servers.close(), loop).result(10)
    database.close()
    assert site.ledger.errors == []


@contextlib.contextmanager
def _loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def refused(call: Callable[..., Any], **params: Any) -> tuple[str, str]:
    """Code and message of the API's error, which is the caller's fault; AssertionError when the call is taken."""
    try:
        answer = call(**params)
    except ClientError as error:
        response = error.response
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 400, response
        return response["Error"]["Code"], response["Error"]["Message"]
    raise AssertionError(f"was taken: {params} -> {answer}")
