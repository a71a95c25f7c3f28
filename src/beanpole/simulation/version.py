"""How a version of an application behaves: what a deployment cannot know before it has tried."""

from __future__ import annotations

from typing import Literal

import msgspec

Flaw = Literal["", "start", "gate", "later", "prepare", "once"]
"""What is wrong with it: it does not start; turns bad before the gate has passed; turns bad after its release passed;
a container command of it fails; its leader-only command does."""

LATER = 8.0
"""Seconds after its start at which a version with that flaw turns bad."""


class Version(msgspec.Struct, frozen=True):
    boot: float = 1.0
    """Seconds from its start until it answers."""
    flaw: Flaw = ""
    leader: bool = False
    """It has a leader-only command."""
    port: int | None = None
    """One that it insists on, so that no other release can run beside it."""
    errors: float = 0.0
    """The share of its requests that fail beyond what is usual; its health checks pass."""
    slowness: float = 1.0
    """How many times as long as usual its requests take."""
    worse_after: float = 0.0
    """Seconds that it answers before `errors` and `slowness` begin."""

    @property
    def is_equal(self) -> bool:
        """Its requests fare as those to any other version."""
        return not self.errors and self.slowness == 1.0

    def files(self, label: str) -> dict[str, str]:
        """Of its bundle."""
        web = f"web: ./serve --port {self.port}" if self.port else "web: ./serve"
        found = {"Procfile": f"{web}\n", "serve": f"# {label}\n"}
        if self.leader:
            found[".ebextensions/once.config"] = (
                "container_commands:\n"
                "  01_migrate: {command: ./migrate, leader_only: true}\n"
                "  02_each: {command: ./each}\n"
            )
        return found
