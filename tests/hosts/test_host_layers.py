"""Dependencies on real servers: a compiled wheel is installed without network; what has no wheel is built there."""

from __future__ import annotations

import asyncio
import importlib.metadata
import io
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest
import uv
from bed import Bed
from bed import Server as BedServer

from beanpole.fleet.agent_program import agent_program
from beanpole.fleet.elsewhere import BuildFailed, Source
from beanpole.fleet.layers import Layer, Layers
from beanpole.fleet.servers import layout
from beanpole.fleet.servers.address import Address
from beanpole.fleet.servers.build import ServerBuilder
from beanpole.fleet.servers.facts import script
from beanpole.fleet.servers.interpreters import Interpreter, interpreter_for
from beanpole.fleet.servers.reading import parse
from beanpole.fleet.servers.server import Server
from beanpole.platforms.bundle import Bundle
from beanpole.platforms.python import requirements_of
from beanpole.platforms.requirements import Requirements
from beanpole.store.blobs import Blobs
from beanpole.store.bundles import Manifest, check_and_unpack
from beanpole.store.hosts import Host

T = TypeVar("T")
AGENT = "i-1"
LIMIT = 120.0
UV = f"{layout.BINARIES}/uv"

BACKEND = """
import os, pathlib, socket, zipfile
FILE = "quick-1.0-cp{minor}-cp{minor}-linux_x86_64.whl"
def build_wheel(folder, settings=None, metadata=None):
    {first}
    with zipfile.ZipFile(os.path.join(folder, FILE), "w") as archive:
        archive.writestr("quick.py", "WHO = %r" % os.getuid())
        archive.writestr("quick-1.0.dist-info/METADATA", "Metadata-Version: 2.1\\nName: quick\\nVersion: 1.0\\n")
        archive.writestr("quick-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: false\\n")
        archive.writestr("quick-1.0.dist-info/RECORD", "")
    return FILE
"""
HARMLESS = """
    assert os.getuid() != 0
    for path in ("/var/lib/beanpole/blobs", "/var/lib/beanpole/instances"):
        try: os.listdir(path)
        except PermissionError: pass
        else: raise SystemExit("it may look into " + path)
    try: socket.create_connection(("{control}", 22), 5)
    except OSError: pass
    else: raise SystemExit("it has a network")
"""


class Site:
    """A server with our programs and an agent, and the control plane's share of layers."""

    def __init__(self, bed: Bed, server: BedServer, folder: Path) -> None:
        self.bed, self.name, self.folder = bed, server.name, folder
        self.index = folder / "index"
        self.index.mkdir()
        self.blobs = Blobs(folder / "blobs")
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PIP_CONFIG_FILE": os.devnull}
        environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index)}
        minor = "{}.{}".format(*sys.version_info[:2])
        self.layers = Layers(folder / "layers", self.blobs, {minor: Path(sys.executable)}, environment=environment)
        address = Address(server.address, server.user, server.port, server.key)
        self.host = Host(
            id="h-1", name=server.name, address=json.dumps(address.to_json()), host_key=server.host_key,
            app_port=80, labels="[]", state="ready", added_at=0,
        )  # fmt: skip

    def equip(self) -> None:
        program = agent_program(self.folder / "program")
        for path, there, mode in ((program, layout.PROGRAM, "0644"), (Path(uv.find_uv_bin()), UV, "0755")):
            words = ["scp", "-q", "-F", str(self.bed.ssh_config), str(path), f"{self.name}:/tmp/sent"]
            subprocess.run(words, check=True, timeout=LIMIT)
            self.bed.exec(self.name, "install", "-D", "-m", mode, "/tmp/sent", there)
        folders = [layout.ROOT, layout.BINARIES, layout.LAYERS, layout.PROGRAMS]
        self.bed.exec(self.name, "install", "-d", "-m", "0755", *folders)
        self.bed.exec(self.name, "install", "-d", "-m", "0700", layout.BLOBS, layout.INSTANCES, layout.SOCKETS)
        options = {"home": layout.home(AGENT), "socket": layout.socket(AGENT), "store": "s", "role": "instance"}
        words = [word for name, value in (options | {"address": "127.0.0.7"}).items() for word in (f"--{name}", value)]
        unit = ["systemd-run", "--quiet", f"--unit={layout.agent_unit(AGENT)}", "/usr/bin/python3", "-I"]
        self.bed.exec(self.name, *unit, layout.PROGRAM, "run", *words)
        self.bed.exec(self.name, "sh", "-c", f"until [ -S {layout.socket(AGENT)} ]; do sleep 0.1; done")

    def run(self, work: Callable[[Server], Coroutine[Any, Any, T]]) -> T:
        async def main() -> T:
            server = Server(self.host, "s")
            try:
                return await work(server)
            finally:
                await server.close()

        return asyncio.run(main())

    async def interpreter(self, server: Server) -> Interpreter:
        ran = await server.connection.run_script(script(), limit=LIMIT)
        return interpreter_for(parse(ran.stdout.decode()), "3.11")

    async def ready(self, server: Server, requirements: str) -> tuple[Layer, Interpreter]:
        found = await self.interpreter(server)
        manifest = self._manifest(requirements)
        wanted = requirements_of(Bundle(manifest.files, lambda path: manifest.read(path, self.blobs)), [])
        assert isinstance(wanted, Requirements)
        release = type("Release", (), {"layer": self.layers.key(wanted, "3.11"), "python": "3.11", "processes": ()})
        builder = ServerBuilder(server, found.path)
        return await self.layers.ready(release(), manifest, lambda line: None, found.kind, builder), found

    async def install(self, server: Server, requirements: str) -> str:
        """Where the layer is on the server."""
        layer, interpreter = await self.ready(server, requirements)
        await server.deliver([(self.blobs.path(each.sha256), each.sha256, each.size) for each in layer.packages])
        arguments = {
            "key": layer.key, "target": layout.layer(layer.key), "python": interpreter.path, "lock": layer.lock,
            "packages": [[each.file, each.sha256] for each in layer.packages], "blobs": layout.BLOBS, "uv": UV,
        }  # fmt: skip
        done = await server.agent(AGENT).run_job("op/1", "layer", arguments, 1)
        assert done == {"installed": len(layer.packages)}
        return layout.layer(layer.key)

    def _manifest(self, requirements: str) -> Manifest:
        path = self.folder / "bundle.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("requirements.txt", requirements)
        return check_and_unpack(path, self.blobs)


@pytest.fixture
def site(bed: Bed, servers: list[BedServer], tmp_path: Path) -> Site:
    made = Site(bed, servers[0], tmp_path)
    made.equip()
    return made


def add_installed(index: Path, name: str) -> None:
    """The wheel of a package of this environment, packed again from what it installed."""
    package = importlib.metadata.distribution(name)
    tag = next(line[5:] for line in (package.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: "))
    with zipfile.ZipFile(index / f"{name}-{package.version}-{tag}.whl", "w") as archive:
        for file in package.files or ():
            if not str(file).startswith("..") and "__pycache__" not in str(file):
                archive.write(str(file.locate()), str(file))


def add_source(index: Path, first: str) -> Path:
    files = {
        "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n',
        "backend.py": BACKEND.format(first=first.strip(), minor=311),
        "PKG-INFO": "Metadata-Version: 2.2\nName: quick\nVersion: 1.0\n",
    }
    path = index / "quick-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"quick-1.0/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return path


def leftovers(site: Site) -> str:
    folders = "ls -d /var/lib/beanpole/beanpole-build-* 2>/dev/null"
    units = "systemctl list-units --all --no-legend 'beanpole-build-*'"
    return site.bed.exec(site.name, "sh", "-c", f"{folders}; {units}", check=False)


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the servers of the test bed have Python 3.11")
def test_a_compiled_wheel_is_installed_without_network_for_all_to_use(site: Site) -> None:
    add_installed(site.index, "pyyaml")
    target = site.run(lambda server: site.install(server, "pyyaml\n"))
    program = "import sys, yaml; print(yaml.__with_libyaml__, sys.prefix, sys.flags.dont_write_bytecode)"
    told = site.bed.exec(site.name, "runuser", "-u", "nobody", "--", f"{target}/bin/python", "-c", program)
    assert told.split() == ["True", target, "0"]
    assert site.bed.exec(site.name, "readlink", "-f", f"{target}/bin/python").strip() == "/usr/bin/python3.11"
    compiled = site.bed.exec(site.name, "sh", "-c", f"ls {target}/lib/python3.11/site-packages/yaml/__pycache__")
    assert "loader.cpython-311.pyc" in compiled
    assert site.bed.exec(site.name, "find", target, "-type", "f", "-perm", "/222", "!", "-name", "layer.json") == ""


def test_native_code_is_built_there_by_somebody_who_may_do_nothing_else(site: Site) -> None:
    archive = add_source(site.index, HARMLESS.replace("{control}", site.bed.control))

    async def built(server: Server) -> Path:
        interpreter = await site.interpreter(server)
        into = site.folder / "built"
        into.mkdir()
        wanted = Source("quick", "1.0", interpreter.kind, archive, ())
        return await ServerBuilder(server, interpreter.path).build(wanted, into, lambda line: None)

    wheel = site.run(built)
    assert wheel.name == "quick-1.0-cp311-cp311-linux_x86_64.whl"
    with zipfile.ZipFile(wheel) as opened:
        assert opened.read("quick.py") not in (b"", b"WHO = 0")
    assert leftovers(site) == ""


def test_a_build_that_fails_there_says_why_and_what_to_install(site: Site) -> None:
    archive = add_source(site.index, "raise SystemExit('error: command gcc failed: No such file or directory')")

    async def built(server: Server) -> Path:
        interpreter = await site.interpreter(server)
        wanted = Source("quick", "1.0", interpreter.kind, archive, ())
        return await ServerBuilder(server, interpreter.path).build(wanted, site.folder, lambda line: None)

    with pytest.raises(BuildFailed) as caught:
        site.run(built)
    assert any("command gcc failed" in line for line in caught.value.last_lines), caught.value.last_lines
    assert "sudo apt install build-essential" in caught.value.remedy
    assert leftovers(site) == ""


def test_a_build_that_is_cancelled_ends_there_too(site: Site) -> None:
    archive = add_source(site.index, "import time; time.sleep(600)")

    async def cancelled(server: Server) -> bool:
        interpreter = await site.interpreter(server)
        wanted = Source("quick", "1.0", interpreter.kind, archive, ())
        said = asyncio.Event()
        task = asyncio.create_task(
            ServerBuilder(server, interpreter.path).build(wanted, site.folder, lambda line: said.set())
        )
        await said.wait()
        look = "until systemctl is-active -q 'beanpole-build-*'; do sleep 0.1; done"
        await server.connection.run(("sh", "-c", look), limit=LIMIT)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert site.run(cancelled)
    assert leftovers(site) == ""
