"""An sshd of the test's own: on 127.0.0.1, with its own keys and configuration, running as whoever runs the test."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from beanpole.fleet.servers.address import Address
from beanpole.fleet.servers.dial import Limits
from beanpole.fleet.servers.host_key import HostKey

SSHD = "/usr/sbin/sshd"
DEADLINE = 15.0  # seconds after which a test says what it waited for in vain
QUICK = Limits(connect=5.0, login=10.0)
CONFIGURATION = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 50
{more}
"""


def need_sshd() -> None:
    """Skips the test where no sshd can be run."""
    if not Path(SSHD).exists():
        pytest.skip(f"{SSHD} is missing: install openssh-server (its service need not run)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # where sshd locks itself up as root


def keypair(path: Path, kind: str = "ed25519") -> Path:
    words = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "test", "-f", str(path)]
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    return path


def eventually(what: str, look: Callable[[], bool]) -> None:
    limit = time.monotonic() + DEADLINE
    while not look():
        assert time.monotonic() < limit, f"waited {DEADLINE:g} s in vain until {what}"
        time.sleep(0.02)


class Sshd:
    """One sshd and the key that it lets in. `more`: lines for its configuration."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        keypair(folder / "host_key")
        self.user_key = keypair(folder / "user_key")
        shutil.copy(folder / "user_key.pub", folder / "authorized_keys")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self._more = more
        self._log: list[str] = []
        self._process: subprocess.Popen[str] | None = None
        self.start()

    def start(self) -> None:
        text = CONFIGURATION.format(port=self.port, folder=self.folder, more=self._more)
        (self.folder / "sshd_config").write_text(text)
        words = [SSHD, "-D", "-e", "-f", str(self.folder / "sshd_config")]
        process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
        self._process = process
        listening = threading.Event()

        def read() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                self._log.append(line)
                if "Server listening" in line:
                    listening.set()
            listening.set()

        threading.Thread(target=read, daemon=True).start()
        assert listening.wait(DEADLINE), "sshd did not say that it listens"
        assert process.poll() is None, f"sshd ended: {self.log}"

    @property
    def log(self) -> str:
        return "".join(self._log)

    @property
    def host_key(self) -> HostKey:
        return HostKey.read((self.folder / "host_key.pub").read_text())

    def address(self, **changed: object) -> Address:
        values: dict[str, object] = {"host": "127.0.0.1", "user": getpass.getuser(), "port": self.port}
        return Address(**{**values, "key": self.user_key, "agent": "/nonexistent", **changed})  # type: ignore[arg-type]

    def change_host_key(self) -> None:
        self.stop()
        (self.folder / "host_key").unlink()
        (self.folder / "host_key.pub").unlink()
        keypair(self.folder / "host_key")
        self.start()

    def sessions(self) -> list[int]:
        """The processes that serve a connection, with those that they started with rights given up."""
        assert self._process is not None
        return _below(self._process.pid, "sshd")

    def cut(self) -> int:
        """Kills all sessions, as a network that fails would end them. How many processes that were."""
        found = self.sessions()
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        return len(found)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.cut()
            self._process.terminate()
            self._process.wait(DEADLINE)


def _below(pid: int, name: str) -> list[int]:
    found = []
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        try:
            if name in Path(f"/proc/{child}/comm").read_text():
                found += [int(child), *_below(int(child), name)]
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
