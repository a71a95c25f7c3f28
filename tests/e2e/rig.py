"""A fleet as the scenarios of fates.py see it: what can be done to it, and what is found on it. Here: this machine's.

A place is where an instance lives: on this machine an instance's folder, so a place has its name; a server otherwise.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from beanpole_site import Settings, Site
from store_view import StoreView

ANSWER_LIMIT = 5.0
"""Seconds for one answer."""


@dataclass
class Found:
    """What there is at all places: web processes that run and boot targets, as instance and digest; instances' homes.

    Whatever a deployment leaves behind is in one of the three.
    """

    web: list[tuple[str, str]] = field(default_factory=list)
    boots: list[tuple[str, str]] = field(default_factory=list)
    homes: list[str] = field(default_factory=list)


class Rig(Protocol):
    """`number` instances of shop-dev. `holds`: the folder of held.py, as the application sees it."""

    fleet: str
    number: int
    site: Site
    holds: str

    def create(self, files: dict[str, str], settings: Settings) -> None:
        """The environment, with its first version."""

    def hold(self) -> None:
        """From now on one of those that start, and not the first of a fleet, waits until `let_go`."""

    def held(self) -> str:
        """The place where somebody waits; '' as long as nobody does."""

    def let_go(self) -> None: ...

    def put(self, name: str) -> None:
        """A file in the folder of holds, at every place."""

    def lose(self, place: str) -> None:
        """Everything that runs there ends, without a word."""

    def restore(self, place: str) -> None:
        """Returns when what was lost can come back by itself."""

    def answers(self, but: str = "") -> dict[str, str]:
        """The version that each place answers with, past the edge, or what went wrong."""

    def found(self) -> Found: ...


class LocalRig:
    """Instances of this machine. One that is lost is started again by the control plane."""

    fleet = "local"

    def __init__(self, site: Site, number: int = 3) -> None:
        self.site = site
        self.number = number
        self._holds = site.root / "holds"
        self._holds.mkdir()
        self.holds = str(self._holds)
        self._store = StoreView(site.home.database)

    def create(self, files: dict[str, str], settings: Settings) -> None:
        created = self.site.create(files, instances=self.number, settings=settings)
        assert created["Outcome"] == "succeeded", (created, self.site.log())

    def hold(self) -> None:
        self._clear()
        (self._holds / "activate").write_text("2")

    def held(self) -> str:
        with contextlib.suppress(FileNotFoundError):
            found = re.search(r"/(i-[0-9a-z]+)/", (self._holds / "activate.reached").read_text())
            return found[1] if found else ""
        return ""

    def let_go(self) -> None:
        (self._holds / "activate").unlink(missing_ok=True)

    def put(self, name: str) -> None:
        (self._holds / name).touch()

    def lose(self, place: str) -> None:
        """The agent first, since it would see the others end."""
        folder = self.site.home.instances / place
        processes = sorted(self._processes(), key=lambda each: b"instance" not in _words(each[0]))
        for pid, where in processes:
            if where.is_relative_to(folder):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    def restore(self, place: str) -> None:
        pass

    def answers(self, but: str = "") -> dict[str, str]:
        rows = self._store.ask("SELECT instance_id, address, port FROM endpoint WHERE state = 'serving'")
        return {name: answer_of(address, port) for name, address, port in rows if name != but}

    def found(self) -> Found:
        found = Found()
        for home in sorted(self.site.home.instances.glob("i-*")):
            found.homes.append(home.name)
            with contextlib.suppress(FileNotFoundError):
                found.boots.append((home.name, (home / "current").readlink().name))
        for pid, where in self._processes():
            below = where.relative_to(self.site.home.instances).parts if self._is_below(where) else ()
            if len(below) > 2 and below[1] == "releases" and b"server.py" in _words(pid):
                found.web.append((below[0], below[2]))
        return found

    def _is_below(self, where: Path) -> bool:
        return where.is_relative_to(self.site.home.instances)

    def _processes(self) -> list[tuple[int, Path]]:
        """Pid and folder of all that runs below the site."""
        found = []
        for pid in self.site.processes():
            with contextlib.suppress(OSError):
                found.append((pid, Path(f"/proc/{pid}/cwd").readlink()))
        return found

    def _clear(self) -> None:
        for path in self._holds.glob("activate*"):
            path.rmdir() if path.is_dir() else path.unlink()


def answer_of(address: str, port: int) -> str:
    """The version in the answer of a probe, or what went wrong."""
    connection = http.client.HTTPConnection(address, port, timeout=ANSWER_LIMIT)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/version", headers={"Host": "shop-dev.localhost"})
            answer = connection.getresponse()
            body = answer.read().decode()
        except OSError as error:
            return f"nothing: {error}"
    return str(json.loads(body)["version"]) if answer.status == 200 else f"{answer.status}: {body.strip()}"


def _words(pid: int) -> list[bytes]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return []
