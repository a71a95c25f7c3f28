"""A folder in which a user types `eb`: its files, the unmodified EB CLI, and what each command printed.

`whole` compares what a waiting command printed with what the API tells of that request, so that a lost event is seen.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from beanpole_site import EB, Site

COMMAND_LIMIT = 90.0
"""Seconds for one command; eb itself would wait up to ten minutes for an end that never comes."""

NO_NETWORK = {"HTTPS_PROXY": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
"""eb looks on a public package index for a newer version of itself. Nothing listens here, so it does not get there."""

PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"
BRANCH = f"Python {PYTHON} running on 64bit Amazon Linux 2023"

UPDATED = "Environment update completed successfully."

_EVENT = re.compile(r"(?:^|: )\d{4}-\d\d-\d\d \d\d:\d\d:\d\d +([A-Z]+) +(.*)$", re.MULTILINE)

Event = tuple[str, str]
"""Severity and message."""


@dataclass(frozen=True)
class Command:
    """An `eb` that has ended."""

    words: tuple[str, ...]
    status: int
    text: str

    @property
    def events(self) -> list[Event]:
        """As printed, oldest first."""
        return [(severity, message.rstrip()) for severity, message in _EVENT.findall(self.text)]

    @property
    def messages(self) -> list[str]:
        return [message for _, message in self.events]


class Running:
    """An `eb` under way, as in another terminal."""

    def __init__(self, words: tuple[str, ...], process: subprocess.Popen[str]) -> None:
        self._words = words
        self._process = process

    def ended(self, expected: int = 0) -> Command:
        """Wait for its end; AssertionError with all that it printed unless it exits with `expected`."""
        try:
            text, _ = self._process.communicate(timeout=COMMAND_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            text, _ = self._process.communicate()
            text += f"\n(still running after {COMMAND_LIMIT:.0f} s)"
        found = Command(self._words, self._process.returncode, text)
        assert found.status == expected, (
            f"eb {' '.join(found.words)} ended with {found.status}, not {expected}:\n{text}"
        )
        return found

    def stopped(self) -> Command:
        """End one that would go on for ever, as Ctrl-C does; what it printed until then."""
        self._process.terminate()
        text, _ = self._process.communicate(timeout=COMMAND_LIMIT)
        return Command(self._words, self._process.returncode, text)

    def read_until(self, words: str) -> str:
        """Lines as they come, up to the first one with these words."""
        assert self._process.stdout is not None
        read = ""
        for line in self._process.stdout:
            read += line
            if words in line:
                return read
        raise AssertionError(f"eb {' '.join(self._words)} ended and never said {words!r}:\n{read}")


class EbFolder:
    def __init__(self, site: Site, path: Path, files: dict[str, str | bytes] | None = None) -> None:
        self.site = site
        self.path = path
        path.mkdir()
        self.write(files or {})

    def write(self, files: dict[str, str | bytes]) -> None:
        for name, content in files.items():
            target = self.path / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content if isinstance(content, bytes) else content.encode())

    def begin(self, *words: str, stdin: str | None = None, **variables: str) -> Running:
        process = subprocess.Popen(
            [str(EB), *words],
            cwd=self.path,
            env=self.site.variables() | NO_NETWORK | {"PYTHONUNBUFFERED": "1"} | variables,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if stdin is not None:
            assert process.stdin is not None
            process.stdin.write(stdin)
            process.stdin.close()
            process.stdin = None
        return Running(words, process)

    def eb(self, *words: str, expected: int = 0, stdin: str | None = None, **variables: str) -> Command:
        """Run one command to its end; `expected` is its exit status. Without `stdin` there is nothing to read."""
        return self.begin(*words, stdin=stdin, **variables).ended(expected)

    def init(self, platform: str = BRANCH, application: str = "shop") -> Command:
        return self.eb("init", application, "-p", platform, "-r", "local-1")

    def git(self, *words: str) -> None:
        who = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
        who |= {f"GIT_{role}_{name}": value for role in ("AUTHOR", "COMMITTER") for name, value in _PERSON.items()}
        subprocess.run(["git", *words], cwd=self.path, env=os.environ | who, check=True, capture_output=True)

    @property
    def config_file(self) -> Path:
        return self.path / ".elasticbeanstalk" / "config.yml"

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.config_file.read_text())
        return found

    def link(self, environment: str = "shop-dev") -> None:
        """What `eb init` and `eb use` leave in the folder, without their seconds: for tests that are not about them."""
        about = {"application_name": "shop", "default_platform": BRANCH, "default_region": "local-1", "profile": None}
        branches = {"default": {"environment": environment, "group_suffix": None}}
        self.config_file.parent.mkdir()
        self.config_file.write_text(
            yaml.safe_dump({"branch-defaults": branches, "global": about | {"workspace_type": "Application"}})
        )


_PERSON = {"NAME": "Ada", "EMAIL": "ada@example.com"}


def whole(site: Site, ran: Command, **subject: str) -> list[str]:
    """The messages that a waiting command printed, which must be all that the API tells of its request, in order.

    `subject`: EnvironmentName or ApplicationName. The request is that of the newest event like the first one printed.
    """
    assert ran.events, f"eb {' '.join(ran.words)} printed no event:\n{ran.text}"
    client = site.client()
    newest = client.describe_events(**subject)["Events"]
    request = next(event["RequestId"] for event in newest if event["Message"].rstrip() == ran.messages[0])
    found = client.describe_events(RequestId=request)["Events"]
    told = [(event["Severity"], event["Message"].rstrip()) for event in reversed(found)]
    assert ran.events == told, f"eb {' '.join(ran.words)} lost events of its request:\n{ran.text}"
    return ran.messages


def running(site: Site, name: str = "shop-dev") -> list[str]:
    """Ids of an environment's instances."""
    found = site.client().describe_environment_resources(EnvironmentName=name)["EnvironmentResources"]["Instances"]
    return [instance["Id"] for instance in found]
