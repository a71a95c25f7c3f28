"""The unit of an agent as text. Pure; docs/decisions/0011 has the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from beanpole.fleet.servers import layout

_TEXT = """\
[Unit]
Description=Beanpole agent {name}
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={command}
Restart=always
RestartSec=1
RestartPreventExitStatus=2
KillMode=process

[Install]
WantedBy=multi-user.target
"""


@dataclass(frozen=True)
class AgentUnit:
    """An agent that a server shall run. `address` and `user` are an instance's."""

    name: str
    store: str
    role: Literal["instance", "balancer"]
    address: str | None = None
    user: str | None = None

    @property
    def file(self) -> str:
        return layout.agent_unit(self.name)

    def text(self, python: str) -> str:
        """For an agent that runs on that Python. Nothing in it is secret.

        The home is taken over from another control plane: whoever writes units there holds the server, see host.json.
        """
        words = [python, "-I", layout.PROGRAM, "run", "--home", layout.home(self.name)]
        words += ["--socket", layout.socket(self.name), "--store", self.store, "--role", self.role, "--force"]
        if self.address is not None:
            words += ["--address", self.address]
        if self.user is not None:
            words += ["--user", self.user]
        return _TEXT.format(name=self.name, command=" ".join(map(_quoted, words)))


def _quoted(word: str) -> str:
    """The word as systemd reads it back."""
    plain = word.replace("%", "%%").replace("$", "$$")
    if plain and not set(plain) & set(" \t\n\"'\\;"):
        return plain
    escaped = plain.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{escaped}"'
