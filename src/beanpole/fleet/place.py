"""Where instances live: on this machine or on servers. What differs between them is here, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from beanpole.fleet.agent_client import AgentClient
    from beanpole.fleet.elsewhere import Builder
    from beanpole.fleet.layers import Layer
    from beanpole.platforms.kind import Kind

Progressed = Callable[[str, int, int], None]
"""Words, done, total."""


class Place(Protocol):
    """All methods may be repeated; what is done already is not done again. Errors are AgentError's."""

    shared_machine: bool
    """Whether its instances share one machine's memory, disk and port numbers."""

    patience: float
    """Seconds without an answer of an instance's agent after which a job's fate there is unknown."""

    async def launch(self, instance_id: str) -> None:
        """Make the instance; its agent answers when this returns."""
        ...

    async def terminate(self, instance_id: str) -> None:
        """Stop everything that runs on the instance and remove it."""
        ...

    async def client(self, instance_id: str) -> AgentClient:
        """The instance's agent, started again if it died. AgentUnreachable when that took too long."""
        ...

    async def running(self, instance_id: str) -> AgentClient | None:
        """The instance's agent if it answers; nothing is started."""
        ...

    async def keep_alive(self, instance_id: str) -> AgentClient:
        """One attempt at `client`."""
        ...

    async def bring(self, instance_id: str, digests: Iterable[str], on_progress: Progressed) -> str:
        """Blobs with these SHA-256s are where the instance's agent can read them: the folder, on its machine."""
        ...

    def kind(self, instance_id: str, python: str) -> Kind | None:
        """What dependency layers for Python "3.11" (say) are made for there; None: for this machine."""
        ...

    def builder(self, instance_id: str, python: str) -> Builder | None:
        """The instance's machine as one that builds packages of that kind; None: this one does."""
        ...

    def layer_job(self, instance_id: str, layer: Layer, python: str) -> dict[str, Any]:
        """Arguments of the agent's job `layer`; the layer's wheels are among what was brought."""
        ...

    def layer_folder(self, instance_id: str, key: str, python: str) -> str:
        """Where the layer of a release's key is installed on the instance's machine, whether or not it was."""
        ...
