"""A whole Beanpole for tests: its own home, ports and control plane; clients that speak to it; a way to end it."""

from __future__ import annotations

import configparser
import contextlib
import functools
import io
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import botocore.session
import sqlalchemy as sa
import up
from botocore.config import Config
from cluster import ON_POSTGRESQL, shared

from beanpole import server
from beanpole.agent.reservation import Ports
from beanpole.aws.models import client_loader
from beanpole.home import Home

HERE = Path(__file__).parent
APPS = HERE.parent / "apps"
ROOT = HERE.parents[1]
EB = ROOT / ".eb" / "bin" / "eb"
LOAD = ROOT / "tools" / "load.py"

START_LIMIT = 30.0
"""Seconds for a control plane to take calls."""

OPERATION_LIMIT = 150.0


PORTS = Ports()
"""Those of this process's sites. No other process of tests is given one of them, nor is an application, and no outgoing
connection gets it by chance: all of that happened with ports that the kernel chose."""


def free_port() -> int:
    return PORTS.choose()


def wait_for(what: str, look: Callable[[], Any], seconds: float = 30.0) -> Any:
    """The first true answer of `look`; AssertionError names what did not come in time."""
    limit = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < limit, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.1)


FORKED = multiprocessing.get_context("forkserver")
"""Control planes are forks of a process that has done their imports: half of the time that the tests would take."""
FORKED.set_forkserver_preload(["beanpole.server"])


@functools.cache
def _session(*, ours: bool) -> botocore.session.Session:
    """One for all clients of a process: it keeps the services' models, which take longer to read than most tests."""
    session = botocore.session.Session()
    if ours:
        session.register_component("data_loader", client_loader())
    return session


@dataclass
class Site:
    root: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="bp-", dir="/tmp")))
    api_port: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    process: BaseProcess | None = None
    clients: dict[str, Any] = field(default_factory=dict)
    platform_version: str | None = None
    """Of the platforms that the control plane offers from its next start on; None for its own."""
    program: Callable[..., None] = up.run_below
    """What the process of the control plane does."""
    database: str | None = None
    """The address of the store; None: the file in the home."""

    def __post_init__(self) -> None:
        if ON_POSTGRESQL and self.database is None:
            self.database = shared().empty(self.root.name)

    @property
    def home(self) -> Home:
        return Home(self.root / "home")

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.api_port}"

    # -- the control plane ------------------------------------------------------------------------------------------

    def start(self, crash_at: int | None = None) -> None:
        """Start the control plane and return when it takes calls. `crash_at`: see `arm`."""
        # Only this interpreter and the system's: asking every shim of a version manager takes longer than the start.
        environment = os.environ | {"PATH": f"{Path(sys.executable).resolve().parent}:/usr/bin:/bin"}
        if self.database is not None:
            environment["BEANPOLE_DATABASE"] = self.database
        words = (str(self.home.root), self.api_port, self.port, crash_at, self.platform_version)
        told, tells = FORKED.Pipe(duplex=False)
        self.process = FORKED.Process(target=self.program, args=(str(self.root), dict(environment), words, tells))
        self.process.start()
        tells.close()
        with told:
            assert told.poll(START_LIMIT), f"the control plane did not start in time:\n{self.log()}"
            with contextlib.suppress(EOFError):
                assert told.recv().startswith("ready")
                return
        raise AssertionError(f"the control plane did not start:\n{self.log()}")

    def arm(self) -> None:
        """From now on the control plane counts its journal entries, and dies at the one that `crash_at` named."""
        assert self.process is not None
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGUSR1)

    def kill(self) -> None:
        """As a crash does."""
        assert self.process is not None
        self.process.kill()
        self.process.join()

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        self.process.join(30)
        assert self.dead(), f"the control plane does not end:\n{self.log()}"
        beside = sorted(path.name for path in self.home.root.glob("beanpole.db-*"))
        assert not beside, f"a copy of the database alone would miss what is in {beside}"

    def dead(self) -> bool:
        assert self.process is not None
        return not self.process.is_alive()

    def end(self) -> None:
        """Everything that belongs to the site ends, and its folder goes."""
        try:
            if self.process is not None and not self.dead():
                self.stop()
        finally:
            self._end_all()

    def _end_all(self) -> None:
        if self.process is not None and not self.dead():
            self.kill()  # it did not end as it should, which is told; the others end all the same
        server.end_everything(self.home)
        limit = time.monotonic() + 2.0
        # The lock of an agent, by which its end is known, is free a moment before its process is gone.
        while (left := self.processes()) and time.monotonic() < limit:
            time.sleep(0.02)
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.root, ignore_errors=True)
        for port in (self.api_port, self.port):
            PORTS.release(port)
        assert not left, f"processes were left behind: {left}"

    def processes(self) -> list[int]:
        """Pids of all processes whose folder is below the site's."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (entry / "cwd").readlink().is_relative_to(self.home.root):
                    found.append(int(entry.name))
        return found

    def log(self) -> str:
        return (self.root / "up.log").read_text(errors="replace")[-6000:]

    # -- clients ----------------------------------------------------------------------------------------------------

    def keys(self) -> tuple[str, str]:
        parser = configparser.ConfigParser()
        parser.read(self.home.credentials)
        return parser["default"]["aws_access_key_id"], parser["default"]["aws_secret_access_key"]

    def variables(self) -> dict[str, str]:
        """For eb, aws and boto3."""
        key, secret = self.keys()
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
        return kept | {
            "HOME": str(self.root),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "local-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str = "elasticbeanstalk") -> Any:
        """One for each service: to make one takes as long as fifty calls."""
        if service not in self.clients:
            self.clients[service] = self._client(service)
        return self.clients[service]

    def _client(self, service: str) -> Any:
        key, secret = self.keys()
        options = {
            "region_name": "local-1",
            "endpoint_url": self.endpoint,
            "aws_access_key_id": key,
            "aws_secret_access_key": secret,
            "config": Config(retries={"max_attempts": 1}),
        }
        return _session(ours=service == "beanpole").create_client(service, **options)

    def eb(self, *words: str, folder: Path, check: bool = True, timeout: float = 120, stdin: str | None = None) -> Ran:
        """The unmodified EB CLI, as a user would run it in a folder."""
        done = subprocess.run(
            [str(EB), *words],
            cwd=folder,
            env=self.variables(),
            capture_output=True,
            text=True,
            timeout=timeout,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            check=False,
        )
        ran = Ran(done.returncode, done.stdout + done.stderr)
        assert not check or ran.status == 0, f"eb {' '.join(words)} ended with {ran.status}:\n{ran.text}\n{self.log()}"
        return ran

    # -- the short way: what eb does, without its polling -------------------------------------------------------------

    def version(self, application: str, label: str, source: Path | dict[str, str]) -> None:
        """Upload a folder (or files by name) and make it a version."""
        eb, s3 = self.client(), self.client("s3")
        bucket = eb.create_storage_location()["S3Bucket"]
        s3.put_object(Bucket=bucket, Key=f"{application}/{label}.zip", Body=zipped(source))
        eb.create_application_version(
            ApplicationName=application,
            VersionLabel=label,
            AutoCreateApplication=True,
            SourceBundle={"S3Bucket": bucket, "S3Key": f"{application}/{label}.zip"},
        )

    def create(
        self, source: Source, *, name: str = "shop-dev", label: str = "v1", instances: int = 1, settings: Settings = ()
    ) -> dict[str, Any]:
        """An environment with a new version of application `shop`; the operation when it has ended."""
        self.version("shop", label, source)
        group = "aws:autoscaling:asg"
        sizes = ((group, "MinSize", str(instances)), (group, "MaxSize", str(instances)))
        answer = self.client().create_environment(
            ApplicationName="shop",
            EnvironmentName=name,
            VersionLabel=label,
            SolutionStackName=self.stack(),
            OptionSettings=options_of((*sizes, *settings)),
        )
        return self.ended(request_id=answer["ResponseMetadata"]["RequestId"])

    def deploy(
        self, label: str, source: Source | None = None, *, name: str = "shop-dev", settings: Settings = ()
    ) -> dict[str, Any]:
        """Make the version if `source` is given, deploy it, and wait for the operation's end."""
        return self.ended(request_id=self.begin(label, source, name=name, settings=settings))

    def begin(
        self, label: str, source: Source | None = None, *, name: str = "shop-dev", settings: Settings = ()
    ) -> str:
        """As `deploy`, without waiting; answers the request's id."""
        if source is not None:
            self.version("shop", label, source)
        answer = self.client().update_environment(
            EnvironmentName=name, VersionLabel=label, OptionSettings=options_of(settings)
        )
        return str(answer["ResponseMetadata"]["RequestId"])

    def ended(self, *, request_id: str, seconds: float = OPERATION_LIMIT) -> dict[str, Any]:
        """The operation of that request, once it is done."""

        def look() -> dict[str, Any] | None:
            found = self.operation(request_id)
            return found if found is not None and found["Phase"] == "done" else None

        return wait_for(f"end of request {request_id}", look, seconds)  # type: ignore[no-any-return]

    def operation(self, request_id: str) -> dict[str, Any] | None:
        assert not self.dead(), f"the control plane ended by itself:\n{self.log()}"
        found = self.client("beanpole").describe_operations(RequestId=request_id)["Operations"]
        return found[0] if found else None

    def environment(self, name: str = "shop-dev") -> dict[str, Any]:
        return self.client().describe_environments(EnvironmentNames=[name])["Environments"][0]  # type: ignore[no-any-return]

    def events(self, **wanted: str) -> list[str]:
        """Messages, oldest first."""
        found = self.client().describe_events(**wanted)["Events"]
        return [event["Message"] for event in reversed(found)]

    def stack(self) -> str:
        version = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
        names = self.client().list_available_solution_stacks()["SolutionStacks"]
        return str(next(name for name in names if name.endswith(version)))

    def get(self, path: str = "/version", *, host: str = "shop-dev.localhost") -> tuple[int, str]:
        """Status and body, through the balancer."""
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": host})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def serving(self, name: str = "shop-dev") -> set[str]:
        """Versions that the instances' own endpoints answer with, asked one by one and past the balancer."""
        import json
        import urllib.request

        rows = self.ask(
            "SELECT endpoint.address, endpoint.port "
            "FROM endpoint JOIN instance ON instance.id = endpoint.instance_id "
            "JOIN environment ON environment.id = instance.environment_id "
            "WHERE environment.name = :name AND endpoint.state = 'serving'",
            name=name,
        )
        found = set()
        for address, port in rows:
            with urllib.request.urlopen(f"http://{address}:{port}/version", timeout=10) as answer:
                found.add(json.load(answer)["version"])
        return found

    def ask(self, query: str, **values: object) -> list[Any]:
        """Rows of the store, read past the control plane."""
        address = self.database or f"sqlite:///{self.home.database}"
        engine = sa.create_engine(sa.make_url(address.replace("postgresql:", "postgresql+psycopg:")))
        try:
            with engine.connect() as db:
                return list(db.execute(sa.text(query), values))
        finally:
            engine.dispose()

    @contextlib.contextmanager
    def load(
        self, *, rate: float = 200.0, host: str = "shop-dev.localhost", to: str | None = None, **more: float | str
    ) -> Iterator[LoadRun]:
        """The load generator in a process of its own for as long as the block lasts. `to`: else this machine's edge."""
        target = to or f"127.0.0.1:{self.port}"
        words = [sys.executable, str(LOAD), target, "--host", host, "--rate", str(rate)]
        for name, value in more.items():
            words += [f"--{name.replace('_', '-')}", str(value)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        run = LoadRun()
        try:
            yield run
        finally:
            process.stdin.close()
            text = process.stdout.read()
            process.wait(60)
        import json

        run.report = json.loads(text)


Settings = tuple[tuple[str, str, str], ...]
Source = Path | dict[str, str]
"""A folder, or files by name."""


@dataclass
class LoadRun:
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Ran:
    status: int
    text: str


def options_of(settings: Settings) -> list[dict[str, str]]:
    return [{"Namespace": space, "OptionName": name, "Value": value} for space, name, value in settings]


def zipped(source: Path | dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        if isinstance(source, dict):
            for name, text in source.items():
                archive.writestr(name, text)
        else:
            for path in sorted(source.rglob("*")):
                if path.is_file() and "__pycache__" not in path.parts:
                    archive.write(path, str(path.relative_to(source)))
    return buffer.getvalue()


def app(name: str, version: str, **more: str) -> dict[str, str]:
    """The files of one of tests/apps under another version; `more` replaces or adds files."""
    folder = APPS / name
    files = {
        str(path.relative_to(folder)): path.read_text()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return files | {"VERSION": f"{version}\n"} | more
