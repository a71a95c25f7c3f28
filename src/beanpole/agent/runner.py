"""How processes of releases are run: as children of the agent, or as systemd units of a server.

The supervisor decides what shall run; a runner starts it, finds it again, ends it, and knows what follows a death.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional, Protocol, Sequence

from .entry import Entry
from .process import Process

STAGE = "start"
OOM_RAISED = 200  # of 1000: an unproven release dies of a lack of memory before the proven one beside it
SWEEP_SECONDS = 2.0  # for what a died leader left of its group: it would hold the port

Tell = Callable[[str, str], None]  # severity, what happened to the process


@dataclass(frozen=True)
class Order:
    """One process that shall run. `proven`: it passed its checks once; `raised`: its release is not committed, so that
    it is the likelier victim of a lack of memory."""

    release: str
    name: str
    command: str
    folder: Path
    environment: Dict[str, str]
    mark: str
    log: Path
    proven: bool
    raised: bool


class Runner(Protocol):
    """Errors are OSError or JobFailure. An entry's `release` and `name` say which process is meant."""

    own: Mapping[str, str]
    """The variables of our own environment that a process may inherit."""

    async def check(self) -> Dict[str, Any]:
        """What a deployment should know before it begins. JobFailure when no process could be started."""
        ...

    async def entrust(self, folders: Sequence[Path]) -> None:
        """These, with all that is in them, belong to whom processes run as."""
        ...

    async def take_over(self, known: Sequence[Entry]) -> None:
        """Before anything is adopted: ends what is ours and belongs to none of these entries."""
        ...

    async def start(self, order: Order) -> Process:
        """Starts a process that does not run. When this fails or is cancelled, nothing of it is left running."""
        ...

    async def adopt(self, entry: Entry) -> Optional[Process]:
        """The process of an earlier agent, if it lives."""
        ...

    async def prove(self, entry: Entry) -> None:
        """It passed its checks: from now on it is started again whenever it dies."""
        ...

    async def unboot(self, kept: Sequence[Entry]) -> None:
        """None but these may start with the machine."""
        ...

    async def boot(self, entries: Sequence[Entry]) -> None:
        """These, of the committed release, start with the machine."""
        ...

    async def clear(self, entry: Entry, process: Process) -> None:
        """Ends what a died process left. OSError when something stays that would be in the way of the next one."""
        ...

    async def again(self, entry: Entry, died: Optional[Process], begun: bool, tell: Tell) -> Optional[Process]:
        """After the death of a wanted, proven process: tells it, and returns when its time has come.

        None: it is to be started. `died` is None when no agent watched it; then `begun` says whether it ever ran.
        """
        ...

    async def end(self, entry: Entry, process: Optional[Process], grace: float) -> bool:
        """Ends it and everything it started, for good; True when SIGKILL was needed."""
        ...

    async def forget(self, entries: Sequence[Entry]) -> None:
        """Nothing of these, which have ended, is left."""
        ...
