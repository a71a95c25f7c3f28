"""A real agent on a real server, whose applications are systemd units; spoken to over SSH as the control plane does."""

from __future__ import annotations

import asyncio
import contextlib
import io
import sys
import tarfile
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from bed import Bed, BedFailed, Server

from beanpole.fleet.agent_client import AgentClient, AgentError
from beanpole.fleet.servers.address import Address
from beanpole.fleet.servers.channel import Channel
from beanpole.fleet.servers.connection import Connection
from beanpole.fleet.servers.failure import ConnectionFailed

sys.path.insert(0, str(Path(__file__).parents[1] / "agent"))

from agent_site import WEB, Site

INSTANCE = "i-0a1b"
USER = f"bp-{INSTANCE}"
HOME = f"/var/lib/beanpole/instances/{INSTANCE}"
AGENT = f"beanpole-agent-{INSTANCE}.service"
UNITS = "/etc/systemd/system"
PROGRAM = "/var/lib/beanpole/agent/agent.pyz"
PATIENCE = 60.0  # seconds for what must come on a busy machine
UNIT = f"""\
[Service]
ExecStart=/usr/bin/python3 -I {PROGRAM} run --home {HOME} --socket /run/beanpole/{INSTANCE}.sock --store store-1 \
--role instance --address 127.0.0.7 --user {USER}
KillMode=process
[Install]
WantedBy=multi-user.target
"""
T = TypeVar("T")


def eventually(what: str, look: Callable[[], T]) -> T:
    """The first true value of `look`; while nobody answers there is none."""
    limit = time.monotonic() + PATIENCE
    while time.monotonic() < limit:
        with contextlib.suppress(AgentError, ConnectionFailed, BedFailed):
            value = look()
            if value:
                return value
        time.sleep(0.1)
    raise AssertionError(f"waited {PATIENCE:g} s in vain until {what}")


class UnitSite(Site):
    """The agent's home is on the server; its unit is made by `install`, and not enabled."""

    def __init__(self, bed: Bed, server: Server, folder: Path, program: Path) -> None:
        super().__init__(folder, program)
        self.home = Path(HOME)
        self.bed = bed
        self.server = server
        self._runner = asyncio.Runner()
        self._connection = Connection(Address(server.address, server.user, server.port, server.key), server.host_key)
        self._channel = Channel(self._connection, PROGRAM)

    def sh(self, script: str, check: bool = True) -> str:
        """What a script of root's says there."""
        return self.bed.exec(self.server.name, "sh", "-es", text=script, check=check).strip()

    def install(self) -> UnitSite:
        self.sh(f"""
            mkdir -p /var/lib/beanpole/agent {HOME}
            chmod 0711 /var/lib/beanpole /var/lib/beanpole/instances
            useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {USER}
            cat > {UNITS}/{AGENT} <<'END'
{UNIT}END
            systemctl daemon-reload
        """)
        self._send({"agent.pyz": self._program}, "/var/lib/beanpole/agent")
        return self

    def _send(self, files: dict[str, Path], folder: str) -> None:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            for name, path in files.items():
                archive.add(path, name)
        words = ["sudo", "sh", "-c", f"mkdir -p {folder} && tar -x --no-same-owner -C {folder}"]
        ran = self._runner.run(self._connection.run(words, buffer.getvalue(), limit=PATIENCE))
        assert ran.status == 0, ran.stderr

    def start(self, *more: str) -> UnitSite:
        self.sh(f"systemctl start {AGENT}")
        return self.await_agent()

    def await_agent(self) -> UnitSite:
        eventually("the agent answers", lambda: self.ask(lambda client: client.hello()))
        return self

    def kill(self) -> None:
        self.sh(
            f"systemctl kill --signal=SIGKILL --kill-who=main {AGENT}; systemctl stop {AGENT}; systemctl reset-failed"
        )

    def reboot(self, agent: bool) -> None:
        """Hard, as after a power cut; `agent`: its unit is enabled."""
        self.sh(f"systemctl {'enable' if agent else 'disable'} {AGENT} 2>&1; sync")
        self.bed.kill(self.server.name)
        self.bed.start(self.server.name)
        eventually("it has booted", lambda: self.sh("systemctl is-system-running --wait", check=False) != "starting")
        if agent:
            self.await_agent()

    def ask(self, question: Callable[[AgentClient], Coroutine[Any, Any, T]]) -> T:
        client = AgentClient(lambda: self._channel.open(INSTANCE), INSTANCE, self.store)
        return self._runner.run(question(client))

    def fetch(self, release: str, texts: dict[str, str] | None = None, manifest: list[list[Any]] | None = None) -> Any:
        entries = manifest if manifest is not None else self.files(texts if texts is not None else {"web.py": WEB})
        self._send({"blobs": self.blobs}, HOME)
        return self.job("fetch", release=release, manifest=entries, source=f"{HOME}/blobs")

    def unit(self, release: str, name: str = "web") -> str:
        return f"beanpole-{INSTANCE}-{name}-{release}.service"

    def show(self, unit: str, *names: str) -> list[str]:
        """Values of properties of a unit."""
        return [self.sh(f"systemctl show --value --property={name} {unit}") for name in names]

    def answer(self, port: int) -> str:
        """What the web process says there."""
        return self.sh(f"curl -s --max-time 5 http://127.0.0.1:{port}/", check=False)

    def log(self, name: str = "engine.log") -> str:
        return self.sh(f"cat {HOME}/log/{name}")

    def told(self, words: str) -> dict[str, Any]:
        """The first event whose message holds these words."""
        return eventually(words, lambda: next((each for each in self.events() if words in each["message"]), None))

    def hang_up(self) -> None:
        """Nothing of ours runs there for this conversation."""
        with contextlib.suppress(ConnectionFailed):
            self._runner.run(self._channel.close())

    def close(self) -> None:
        self.hang_up()
        self._runner.run(self._connection.close())
        self._runner.close()
        self.sockets.rmdir()
