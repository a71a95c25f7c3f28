"""Where the proxies of servers are, for whoever keeps balancers in line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.fleet.proxy import Post
from beanpole.fleet.servers.place import agent_errors

if TYPE_CHECKING:
    from beanpole.fleet.agent_client import AgentClient
    from beanpole.fleet.servers.servers import Servers
    from beanpole.fleet.servers.setup import Setup


class Posts:
    """One for each server. An agent that is not there is made: the first instance on a server needs its proxy."""

    def __init__(self, servers: Servers, setup: Setup) -> None:
        self._servers = servers
        self._setup = setup

    def on(self, host_id: str) -> Post:
        async def client() -> AgentClient:
            server = self._servers.server(host_id)
            with agent_errors(server):
                return await self._setup.proxy_agent(server)

        async def envoy() -> str:
            server = self._servers.server(host_id)
            with agent_errors(server):
                if server.machine is None:
                    await self._setup.install(server)
                return self._setup.envoy_path(server)

        return Post.there(client, envoy)
