"""Where a control plane listens: as it is told, else where it listened last, so that URLs and addresses stay."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from beanpole.cli.errors import CommandFailed

if TYPE_CHECKING:
    from beanpole.home import Home


@dataclass(frozen=True)
class Ports:
    api: int
    balancer: int

    def moved_from(self, last: Ports | None) -> list[str]:
        """What is to be said when this is elsewhere than the last time."""
        said = []
        if last is not None and last.balancer != self.balancer:
            said.append(f"The balancer moves from port {last.balancer} to {self.balancer}, and with it every URL.")
        if last is not None and last.api != self.api:
            said.append(f"The API moves from port {last.api} to {self.api}: use `beanpole env` anew where you used it.")
        return said


FIRST = Ports(api=8600, balancer=8080)
"""Where nothing says otherwise."""


def last_of(home: Home) -> Ports | None:
    """Those of the last start on this home that came about. Raises CommandFailed when they cannot be read."""
    try:
        return Ports(**json.loads(home.ports.read_text()))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError, TypeError) as problem:
        raise CommandFailed(
            f"{home.ports} cannot be read: {problem}.", "Delete it, and say --port and --api-port once more."
        ) from problem


def keep(home: Home, ports: Ports) -> None:
    home.keep(home.ports, json.dumps(asdict(ports)))
