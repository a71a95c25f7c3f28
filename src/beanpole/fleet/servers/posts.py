"""Where the balancers on servers are, for whoever keeps them in line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.fleet.agent_client import AgentUnreachable
from beanpole.fleet.proxy import Post
from beanpole.fleet.servers import layout
from beanpole.fleet.servers.place import agent_errors
from beanpole.fleet.servers.removal import remove_edge

if TYPE_CHECKING:
    from beanpole.fleet.agent_client import AgentClient
    from beanpole.fleet.servers.servers import Servers
    from beanpole.fleet.servers.setup import Setup


class Posts:
    """The proxy of each server, and the edge where it is on one. An agent that is not there is made: the first instance
    on a server needs its proxy."""

    def __init__(self, servers: Servers, setup: Setup) -> None:
        self._servers = servers
        self._setup = setup

    def on(self, host_id: str) -> Post:
        return self._post(host_id, layout.PROXY)

    def edge_on(self, host_id: str) -> Post:
        return self._post(host_id, layout.EDGE)

    def _post(self, host_id: str, agent: str) -> Post:
        async def client() -> AgentClient:
            server = self._servers.server(host_id)
            with agent_errors(server):
                return await self._setup.balancer_agent(server, agent)

        async def running() -> AgentClient | None:
            # Whoever only asks must not bring back an edge that is just being ended.
            server = self._servers.server(host_id)
            there = server.agent(agent)
            try:
                await there.hello()
            except AgentUnreachable:
                return None
            return there

        async def envoy() -> str:
            server = self._servers.server(host_id)
            with agent_errors(server):
                if server.machine is None:
                    await self._setup.install(server)
                return self._setup.envoy_path(server)

        async def end() -> None:
            server = self._servers.server(host_id)
            with agent_errors(server):
                await remove_edge(server)

        return Post.there(client, envoy) if agent == layout.PROXY else Post(client, running, envoy, end)
