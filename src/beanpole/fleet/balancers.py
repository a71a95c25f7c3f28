"""All balancers as one thing: the edge and the proxies of the servers, told what the database says when it changes.

Endpoints, here, are those of the store: where a release answers on its instance's machine. Whoever asks about one need
not know whether a server's proxy stands before it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import structlog

from beanpole.balancer import pool as pools
from beanpole.balancer.lint import lint
from beanpole.balancer.rows import Server, rows
from beanpole.balancer.snapshot import Snapshot, snapshot
from beanpole.fleet.addresses import Addresses
from beanpole.fleet.counts import Counts
from beanpole.fleet.edges import Edges, Front, Listen, besides
from beanpole.fleet.proxy import LOOK, LOOK_LIMIT, SETTLED, Post, Proxy
from beanpole.fleet.scene import Scene, fronts_of, is_within, name_of, scene_of
from beanpole.fleet.telling import Telling
from beanpole.store.facts import raise_to

if TYPE_CHECKING:
    from beanpole.store.database import Database
    from beanpole.store.hosts import Host
    from beanpole.store.instances import Endpoint

REACH_LIMIT = 5.0
"""Seconds for the edge to find a first server of an environment. It needs less, or has no way there."""

log = structlog.get_logger("balancer")


class Balancers:
    """`edge`: where the one on this machine is, and `here` where it listens; `on_server`: where the proxy of the server
    with that id is; `edge_on`: where the edge there is, when there is one.

    The edge, below, is the one that names lead to.
    """

    def __init__(
        self,
        database: Database,
        edge: Post,
        store: str,
        here: Listen,
        on_server: Callable[[str], Post],
        edge_on: Callable[[str], Post] = Post.nowhere,
    ) -> None:
        self._here = here
        self._database = database
        self._store = store
        self._on_server = on_server
        self._telling = Telling()
        self.edges = Edges(lambda host: edge if host is None else edge_on(host), store, self._renew, self._telling)
        self._proxies: dict[str, Proxy] = {}
        self._attended: set[str] = set()
        self._addresses = Addresses()
        self._counts = Counts()
        self._scene = Scene(0, {}, {}, {}, fronts_of(database, here))
        self.edges.follow(self._scene.fronts)
        self._reading = asyncio.Lock()
        self._asked = 0
        self._read_up_to = 0

    @property
    def fronts(self) -> tuple[Front, ...]:
        """The edges that there are; names lead to the first."""
        return self._scene.fronts

    @property
    def listen(self) -> Listen:
        """What users connect to, and the domain below which environments have their names."""
        return self._scene.fronts[0].listen

    @property
    def away(self) -> bool:
        """Whether the edge is on a server: instances of this machine cannot be reached from there."""
        return self._scene.fronts[0].host is not None

    @property
    def _edge(self) -> Proxy:
        return self.edges.leading

    def cname(self, prefix: str) -> str:
        """What a browser opens. It names the port because clients open it as it is."""
        port = "" if self.listen.port == 80 else f":{self.listen.port}"
        return f"{prefix}.{self.listen.domain}{port}"

    async def start(self) -> None:
        """The edge runs with the present state of the database, or goes on running with it. TROUBLE.

        One on a server goes on by itself, and is told when it can be reached.
        """
        await self._read()
        if self.away:
            self._tell_servers(leading=True)
        else:
            self._tell_servers()
            await self._edge.start()

    async def keep_alive(self) -> None:
        """The edge's agent is started again if it died; it finds Envoy as it was. Who was not told is told. TROUBLE."""
        if self._read_up_to < self._asked or await self._addresses.learn(map(name_of, self._scene.hosts.values())):
            await self._read()
        self._tell_servers()
        if not await self._edge.running():
            await self._edge.start()
        elif self._edge.behind:
            await self._edge.apply()

    async def apply(self, instance_id: str | None = None) -> None:
        """The state that the database had at the call, or a later one, is what requests meet when this returns.

        That is promised of the edge, and of those beside it unless they are in trouble; and with an instance that lives
        on a server, of the proxy there, which is told before the edge. Proxies of other servers are told at the same
        time, and again by `keep_alive` until they listen: nobody waits for them here, and nothing of theirs is raised.
        Only those are told for whom something changed. Calls that come while one is under way share the next.

        A server gets requests only when its proxy says that it has the environment. So whoever is told first, no
        request meets a proxy that does not know what to do with it.

        TROUBLE, after everybody else was told, when the edge or that one proxy cannot be.
        """
        host = self._scene.homes.get(instance_id or "")
        await self._read()
        host = self._scene.homes.get(instance_id or "", host)
        mine = self._proxies.get(host or "")
        self._tell_servers(but=mine)
        try:
            if mine is not None:
                await mine.apply()
        finally:
            try:
                await self._edge.apply()
            finally:
                await self._telling.done(map(besides, self.edges.beside), LOOK_LIMIT)

    async def attend(self, host_id: str) -> None:
        """That server's proxy is told from now on, though nothing of ours may live there any more: what it was told
        before this control plane was started it goes on serving, until somebody says otherwise."""
        if host_id not in self._attended:
            self._attended.add(host_id)
            await self._read()
        self._tell_servers()

    async def settle(self, seconds: float) -> None:
        """What everybody was to be told up to now they have been told, so many seconds at most. Whoever is known to be
        in trouble is not waited for."""
        await self._telling.done(self._proxies, seconds)

    async def apply_everywhere(self) -> None:
        """As `apply`; and the proxies of all servers were told, too, unless they are in trouble. TROUBLE."""
        await self.apply()
        await self.settle(LOOK_LIMIT)

    async def healthy(self, environment_id: str, endpoint: Endpoint, seconds: float) -> bool:
        """Whether the endpoint is found healthy within so many seconds, so that it gets requests. TROUBLE.

        On a server, by the proxy there; and, when the environment is new on the server, the edge must find the server
        in order, too. Where the edge finds no server of the environment at all it may have no way to them, and be in
        nobody's way: users have a balancer of their own then. That is logged, and is no reason to say no.
        """
        limit = asyncio.get_running_loop().time() + seconds
        key = pools.Endpoint(endpoint.address, endpoint.port).key
        host = self._scene.homes.get(endpoint.instance_id)
        proxy = self._proxies.get(host or "")
        while True:
            seen = (await (proxy or self._edge).look()).get(environment_id, {}).get(key)
            if seen is not None and seen["healthy"]:
                break
            if asyncio.get_running_loop().time() > limit:
                return False
            await asyncio.sleep(LOOK)
        if host is None or proxy is None or not self._scene.has_way(host):
            return True
        return not self._scene.is_new(environment_id, host, key) or await self._found(environment_id, host, limit)

    async def idle(self, environment_id: str, endpoint: Endpoint, seconds: float) -> int:
        """Wait until the endpoint has no request, so many seconds at most; the number of those that it still has.

        When the environment leaves the server wholly, the edge must have no request there either. And if requests came
        to the server that did not come through the edge, all of the time is waited for: whoever sent them hears of it
        at the readiness path, when they ask the next time, and may send some until then. TROUBLE.
        """
        limit = asyncio.get_running_loop().time() + seconds
        key = pools.Endpoint(endpoint.address, endpoint.port).key
        host = self._scene.homes.get(endpoint.instance_id)
        proxy = self._proxies.get(host or "")
        beside: list[Proxy] = []
        fronts: list[tuple[str, str]] = []
        site = self._scene.sites.get(environment_id)
        here = [(environment_id, key), (environment_id + pools.CANARY_SUFFIX, key)]
        if site is not None and (files := site.files_of(endpoint.instance_id, endpoint.port)) is not None:
            here += [(pool + pools.FILES_SUFFIX, files.endpoint.key) for pool, _ in here]
        asked = [(proxy or self._edge, here)]
        stranger = False
        if host is not None and proxy is not None and not (site is not None and site.serves_on(host)):
            if (server := self._server(host)) is not None:
                fronts = [(environment_id, server.key), (environment_id + pools.CANARY_SUFFIX, server.key)]
                asked.append((self._edge, fronts))
                beside = [one for to, one in self.edges.beside.items() if not self._telling.is_troubled(besides(to))]
            counted = await proxy.requests(int(self._database.clock()))
            stranger = counted["totals"].get(environment_id, {}).get("requests", 0) > 0
        calm = 0
        while True:
            views = [(await one.look(), names) for one, names in asked]
            others = [(view, fronts) for one in beside if (view := await one.glimpse()) is not None]
            active = [sum(_active(view, pool, name) for pool, name in names) for view, names in (*views, *others)]
            calm = calm + 1 if all(view for view, _ in views) and not any(active) else 0
            if calm >= SETTLED and not stranger:
                return 0
            if asyncio.get_running_loop().time() > limit:
                return max(active)
            await asyncio.sleep(LOOK)

    async def view(self) -> dict[str, Any]:
        """Endpoints by environment id and `address:port`, each with "healthy", "active" (requests) and "state".

        "healthy" is None where the proxy of the server does not say. Nothing is started. TROUBLE if the edge is mute.
        """
        scene = self._scene
        used = {host for site in scene.sites.values() for host in site.hosts}
        asked = {host: proxy for host, proxy in self._proxies.items() if host in used}
        edge, *told = await asyncio.gather(self._edge.look(), *(proxy.glimpse() for proxy in asked.values()))
        by_host = dict(zip(asked, told, strict=True))
        found: dict[str, Any] = {}
        for name, site in scene.sites.items():
            here = {seat.endpoint.key for seat in site.on(None)}
            found[name] = {key: seen for key, seen in edge.get(name, {}).items() if key in here or not site.hosts}
            for seat in site.seats:
                if seat.host is None:
                    continue
                view = by_host.get(seat.host)
                if view is None:
                    found[name][seat.endpoint.key] = {"healthy": None, "active": 0, "state": seat.state}
                elif (seen := view.get(name, {}).get(seat.endpoint.key)) is not None:
                    found[name][seat.endpoint.key] = seen
        return found

    async def canary(self, environment_id: str) -> list[dict[str, Any]]:
        """What each balancer sees of the endpoints that testers may choose, as `address:port`; each has "healthy" and
        "active". Requests for their static files are among these. TROUBLE; what a server does not tell is left out."""
        site = self._scene.sites.get(environment_id)
        canary = site.canary if site is not None else None
        hosts = canary.hosts if canary is not None else frozenset[str]()
        asked = [*self.edges.beside.values(), *(self._proxies[host] for host in hosts if host in self._proxies)]
        edge, *others = await asyncio.gather(self._edge.look(), *(proxy.glimpse() for proxy in asked))
        name = environment_id + pools.CANARY_SUFFIX
        views = [edge, *(view for view in others if view is not None)]
        return [{**view.get(name, {}), **view.get(name + pools.FILES_SUFFIX, {})} for view in views]

    async def requests(self, after: int) -> dict[str, Any]:
        """Counts by second since `after` (seconds since 1970), and totals since the first request. See `Counts`.

        TROUBLE when the edge does not tell; a server that does not has no detail, and its totals are as last told.
        """
        return await self._counts.requests(self._edge, self._proxies, after, self.edges.beside)

    async def totals(self, environment_id: str) -> dict[str, int]:
        """`requests` and `failed` of the environment since its first request. TROUBLE."""
        counted = await self.requests(int(self._database.clock()))
        found: dict[str, int] = counted["totals"].get(environment_id, {"requests": 0, "failed": 0})
        return found

    def leads_to(self, environment_id: str) -> bool:
        """Whether the edge may have a way to the environment: it has none where somebody on the servers is in front."""
        site = self._scene.sites.get(environment_id)
        return site is None or not site.hosts or any(map(self._scene.has_way, site.hosts))

    # More than one edge

    async def join(self, host_id: str | None, seconds: float) -> list[str]:
        """The edge that stands there now, by the database, is running and has been told everything, and so have the
        servers. What the present one finds healthy, and this one not within so many seconds, as `address:port`. TROUBLE
        """
        limit = asyncio.get_running_loop().time() + seconds
        await self._read()
        self._tell_servers(but=self.edges.every[host_id])
        await self.edges.every[host_id].start()
        await self._telling.done(self._proxies, seconds)
        while True:
            view = await self.edges.every[host_id].look()
            present = await self._edge.glimpse()
            missing = [
                key
                for pool, endpoints in (view if present is None else present).items()
                for key, seen in endpoints.items()
                if (present is None or seen["healthy"]) and not view.get(pool, {}).get(key, {}).get("healthy")
            ]
            if not missing or asyncio.get_running_loop().time() > limit:
                # Where the present edge is mute nobody knows what there is to be found.
                return missing if present is not None else []
            await asyncio.sleep(LOOK)

    # What is known of the servers

    def _server(self, host_id: str) -> pools.Endpoint | None:
        host = self._scene.hosts.get(host_id)
        return _as_server(host, self._addresses, self._scene).endpoint if host is not None else None

    async def _found(self, environment_id: str, host_id: str, limit: float) -> bool:
        """Whether the edge finds the server in order, or none at all of the environment's."""
        loop = asyncio.get_running_loop()
        patience = min(limit, loop.time() + REACH_LIMIT)
        server = self._server(host_id)
        while True:
            view = (await self._edge.look()).get(environment_id, {})
            healthy = {key for key, seen in view.items() if seen["healthy"]}
            if server is not None and server.key in healthy:
                return True
            if not healthy and loop.time() > patience:
                where = server.key if server is not None else "an address that cannot be resolved"
                log.warning("the edge has no way to a server", environment=environment_id, server=where)
                return True
            if loop.time() > limit:
                return False
            await asyncio.sleep(LOOK)

    # Telling

    def _tell_servers(self, but: Proxy | None = None, *, leading: bool = False) -> None:
        """Begin to tell those that have yet to be told, and to look after the edges beside the one that leads."""
        edges = self.edges.every if leading else self.edges.beside
        told = {**self._proxies, **{besides(host): proxy for host, proxy in edges.items()}}
        self._telling.begin({name: proxy for name, proxy in told.items() if proxy is not but})

    async def _renew(self, version: int) -> None:
        await asyncio.to_thread(self._count_beyond, version)
        await self._read()

    async def _read(self) -> None:
        """Everybody is to serve what the database says now. Calls that come while one is under way share the next."""
        self._asked += 1
        mine = self._asked
        async with self._reading:
            if self._read_up_to >= mine:
                return
            covered = self._asked
            scene = await asyncio.to_thread(scene_of, self._database, self._here, self._attended | set(self._proxies))
            await self._addresses.learn(map(name_of, scene.hosts.values()), new_only=True)
            servers = {host.id: _as_server(host, self._addresses, scene) for host in scene.hosts.values()}
            self._proxies = {
                host.id: self._proxy(host, servers[host.id].address or "") for host in scene.hosts.values()
            }
            self.edges.follow(scene.fronts)
            edge, others = await asyncio.to_thread(self._snapshots, scene, servers)
            for host, proxy in self.edges.every.items():
                proxy.want(edge[host])
            for host_id, wanted in others.items():
                self._proxies[host_id].want(wanted)
            self._counts.know(key for server in servers.values() if server.endpoint and (key := server.endpoint.key))
            self._scene = scene
            self._read_up_to = covered

    def _proxy(self, host: Host, address: str) -> Proxy:
        # The edge in front hands on what it heard of the client.
        everywhere = "::" if ":" in address else "0.0.0.0"  # noqa: S104
        edge = pools.Edge(host.app_address or everywhere, host.app_port, None, trusted_proxies=1, inner=True)
        known = self._proxies.get(host.id)
        if known is not None and known.edge == edge:
            return known
        return Proxy(f"the proxy of {host.name}", self._on_server(host.id), self._store, edge, self._renew)

    def _snapshots(
        self, scene: Scene, servers: dict[str, Server]
    ) -> tuple[dict[str | None, Snapshot], dict[str, Snapshot]]:
        told = rows(scene.sites.values(), servers)

        def of(wanted: Iterable[pools.Pool], proxy: Proxy) -> Snapshot:
            return snapshot([pool for pool in wanted if _is_good(pool)], scene.version, proxy.edge)

        edges = {host: of(told.edge, proxy) for host, proxy in self.edges.every.items()}
        return edges, {host: of(told.servers[host], self._proxies[host]) for host in servers}

    def _count_beyond(self, version: int) -> None:
        with self._database.write() as db:
            raise_to(db, "snapshot", version)


def _active(view: dict[str, Any], pool: str, name: str) -> int:
    return int(view.get(pool, {}).get(name, {}).get("active", 0))


def _as_server(host: Host, addresses: Addresses, scene: Scene) -> Server:
    address = None if is_within(host) else addresses.of(name_of(host))
    return Server(address, host.app_port, scene.catch_alls.get(host.id))


def _is_good(pool: pools.Pool) -> bool:
    """One environment that cannot be served must not keep all others from changing."""
    problems = lint([pool])
    if problems:
        log.error("an environment is not served, because its pool is wrong", problems=problems)
    return not problems
