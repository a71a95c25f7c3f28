"""What a release is made of, and the digest by which instances know it.

Two releases with one digest are the same thing on an instance: going from one to the other touches nothing.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from beanpole.options.ebextensions import ContainerCommand
from beanpole.options.setting import ENVIRONMENT_PROPERTIES
from beanpole.options.static_files import DEFAULT, Folder, folders
from beanpole.platforms.names import FIRST

DIGEST_LENGTH = 16
"""Hexadecimal digits; it names folders and appears in what people read. A turn follows behind a dot."""


class Process(msgspec.Struct, frozen=True):
    name: str
    command: str


class Content(msgspec.Struct, frozen=True, kw_only=True):
    manifest: str
    """SHA-256 of the manifest document, a blob."""
    files: str
    """Digest of the files themselves."""
    python: str
    """Version of the interpreter, `3.11`."""
    processes: tuple[Process, ...]
    layer: str
    """Key of the dependency layer."""
    commands: tuple[ContainerCommand, ...] = ()
    hooks: bool = False
    """The bundle has platform hooks; releases of earlier versions ran none."""
    platform: str = ""
    """Branch name of the platform; '' in releases of earlier versions, which leave the environment's as it is."""
    platform_version: str = FIRST
    """Of that branch, when the environment went over to it."""
    stop_first: str | None = None
    """Why the old release must stop before this one starts."""
    fixed_port: int | None = None
    from_files: tuple[tuple[str, str, str, str], ...] = ()
    """Option settings that the bundle's own files make (namespace, name, resource, value)."""
    turn: int = 0
    """How often the same was started anew: what tells a restart's processes from those before them."""
    settings: tuple[tuple[str, str, str, str], ...]
    """All option settings in force (namespace, name, resource, value): stored ones, the bundle's files', defaults."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment properties."""
        return {name: value for namespace, name, _, value in self.settings if namespace == ENVIRONMENT_PROPERTIES}

    @property
    def static(self) -> tuple[Folder, ...]:
        """Paths that are answered from folders of the bundle."""
        return folders(self.settings)

    def digest(self) -> str:
        """Of all that the application's processes can notice, and what serves its files."""
        seen = (
            self.files,
            self.python,
            [(process.name, process.command) for process in self.processes],
            self.layer,
            self.commands,
            sorted(self.environment.items()),
            # Left out where it is the platform's own: releases of earlier versions keep their digest.
            *((self.static,) if self.static != DEFAULT else ()),
            *((self.platform_version,) if self.platform_version != FIRST else ()),
        )
        same = hashlib.sha256(msgspec.json.encode(seen)).hexdigest()[:DIGEST_LENGTH]
        return f"{same}.{self.turn}" if self.turn else same


def commands_for(content: Content, *, leader: bool) -> list[dict[str, Any]]:
    """The container commands of the leader, or those of every instance, as the agent's `run` job takes them."""
    return [
        {
            "name": command.name,
            "command": command.command if isinstance(command.command, str) else list(command.command),
            "cwd": command.cwd,
            "env": dict(command.env),
            "test": None if command.leader_only else command.test,
            "ignore_errors": command.ignore_errors,
        }
        for command in content.commands
        if command.leader_only is leader
    ]


def encode(content: Content) -> str:
    return msgspec.json.encode(content).decode()


def decode(text: str) -> Content:
    return msgspec.json.decode(text, type=Content)
