"""The role `balancer`: the agent beside an Envoy, as the control plane talks to it.

It applies snapshots, keeps Envoy alive, replaces it without loss, and says what its endpoints and requests are doing.
Everything goes on without the control plane.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Dict, List, Optional

from .admin import AdminError
from .events import EventLog
from .generation import Setup
from .http import HttpError, Request, Response, Routes
from .kernel import this_kernel
from .port import Port
from .proxy import Proxy
from .requests import Requests
from .snapshot import Snapshots
from .systemd import Systemd
from .takeover import Takeover
from .xds import Xds


class BalancerRole:
    """The endpoints of one balancer's home. `store` is whose snapshots it takes."""

    def __init__(self, home: Path, events: EventLog, store: str) -> None:
        self._store = store
        self._events = events
        self._xds = Xds(home)
        self._takeover = Takeover(home, events, this_kernel(), Systemd())
        self._proxy = Proxy(home, events, self._xds, self._takeover.shares)
        self._snapshots = Snapshots(home, self._xds, self._proxy)
        self._requests = Requests(home, self._proxy.generations, events)
        self._lock: Optional[asyncio.Lock] = None  # made in the loop: Python 3.9 binds it where it is made
        self._settling: "Optional[asyncio.Task[None]]" = None

    async def start(self) -> None:
        """Takes up what an earlier agent left: adopts a living Envoy, starts one that died."""
        self._lock = asyncio.Lock()
        self._xds.prepare()
        await self._takeover.resume()
        self._snapshots.load()
        if self._proxy.adopt():
            self._settling = asyncio.get_running_loop().create_task(self._settle())
        else:
            self._snapshots.put_back()
        self._proxy.resume()
        await self._requests.start()

    async def stop(self, processes: bool, grace: float) -> None:
        """Ends this role; Envoy goes on serving unless `processes`. It needs no grace of anybody's."""
        if self._settling is not None:
            self._settling.cancel()
            await asyncio.gather(self._settling, return_exceptions=True)
        await self._takeover.close()
        await self._proxy.stop(processes)
        await self._requests.stop()

    def routes(self) -> Routes:
        return {
            ("PUT", "/snapshot"): self.put_snapshot,
            ("GET", "/endpoints"): self.get_endpoints,
            ("GET", "/envoy"): self.get_envoy,
            ("PUT", "/envoy"): self.put_envoy,
            ("POST", "/envoy/replace"): self.replace_envoy,
            ("GET", "/requests"): self.get_requests,
            ("GET", "/takeover"): self.get_takeover,
            ("PUT", "/takeover"): self.put_takeover,
            ("POST", "/takeover/switch"): self.switch_takeover,
            ("POST", "/takeover/back"): self.give_back,
            ("DELETE", "/takeover"): self.delete_takeover,
        }

    async def put_snapshot(self, request: Request) -> Response:
        """{"version", "store", "files": [[name, text]…]} → {"version", "changed": [names], "seconds"}, once applied.

        400 for what is no snapshot, 409 for another store, an older version, or with Envoy's reason when it refuses.
        """
        body = request.json()
        if body.get("store") != self._store:
            raise HttpError(409, "other store", store=self._store)
        number, files = body.get("version"), body.get("files")
        if not isinstance(number, int) or not isinstance(files, list):
            raise HttpError(400, "version must be a number and files a list of [name, text]")
        pairs: Dict[str, str] = {}
        for pair in files:
            if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(part, str) for part in pair)):
                raise HttpError(400, "files must be a list of [name, text]")
            pairs[pair[0]] = pair[1]
        async with self._guard:
            return Response.of(await self._snapshots.apply(number, pairs))

    async def get_endpoints(self, request: Request) -> Response:
        """{"version", "pools": {pool: {"address:port": {"healthy", "active", "state"}}}}.

        `active` counts the requests (websockets, too) in every process that still serves; `healthy` and `state`
        ("serving", "draining" or "standby") are those of the one that takes new ones. 503 while Envoy does not answer.
        """
        pools: Dict[str, Dict[str, Dict[str, Any]]] = {}
        generations = self._proxy.generations()
        if not generations:
            raise HttpError(503, "Envoy is not running at the moment")
        for at, generation in enumerate(generations):
            try:
                _merge(pools, await generation.admin.json("/clusters?format=json"), first=at == 0)
            except AdminError as error:
                if generation is not self._proxy.candidate:  # which has no requests before it can answer
                    raise HttpError(503, f"Envoy does not answer: {error}") from error
        return Response.of({"version": self._snapshots.version, "pools": pools})

    async def get_envoy(self, request: Request) -> Response:
        """{"version", "pid", "generation", "live", "draining": [generations]}."""
        current = self._proxy.current
        live = current is not None and current.process.alive and await current.admin.live()
        return Response.of({"version": self._snapshots.version, "live": live, **self._proxy.answer()})

    async def put_envoy(self, request: Request) -> Response:
        """{"binary", "bootstrap", "listen": {"address", "port"}} → {"outcome": started|running|replaced, "pid", …}."""
        body = request.json()
        binary, bootstrap = body.get("binary"), body.get("bootstrap")
        if not isinstance(binary, str) or not isinstance(bootstrap, str):
            raise HttpError(400, "binary must be a path and bootstrap the text of a JSON document")
        port = Port.of(body.get("listen"))
        self._takeover.refuse_envoy(port)
        async with self._guard:
            await self._takeover.renew(port)
            return Response.of(await self._proxy.ensure(Setup.of(binary, bootstrap), port))

    async def replace_envoy(self, request: Request) -> Response:
        """Another process takes over, no request is lost → as PUT /envoy. 409 when it cannot; the old one serves on."""
        async with self._guard:
            return Response.of(await self._proxy.replace())

    async def get_requests(self, request: Request) -> Response:
        """What was asked and answered, see `requests`; with `after`, of later seconds only."""
        after = int(request.number("after", 0, 0, 2**40))
        return Response.of(await self._requests.since(after))

    async def get_takeover(self, request: Request) -> Response:
        """{"state": null | sharing | switching | done, "unit", "address", "number", "enabled", "result"}."""
        return Response.of(self._takeover.view())

    async def put_takeover(self, request: Request) -> Response:
        """{"unit", "listen": {"address", "port"}}: Envoy may listen beside that unit, and gets nothing yet. 409 when
        that cannot be; with `gap` when the unit could be stopped first."""
        body = request.json()
        unit, port = body.get("unit"), Port.of(body.get("listen"))
        if not isinstance(unit, str) or not unit.endswith(".service") or unit.startswith("-"):
            raise HttpError(400, f"unit must be the name of a service, not {unit!r}")
        async with self._guard:
            await self._takeover.share(unit, port)
            return Response.of(self._takeover.view())

    async def switch_takeover(self, request: Request) -> Response:
        """{"seconds": until the unit ends with requests open} → as GET; it goes on by itself."""
        seconds = _seconds(request.json(), "seconds")
        if not (await self._proxy.live()).process.alive:
            raise HttpError(409, "Envoy does not serve")
        return Response.of(self._takeover.switch(seconds))

    async def give_back(self, request: Request) -> Response:
        """{"start", "drain": seconds} → as GET, whose state is "back" at the end, or "done" with a problem."""
        body = request.json()
        return Response.of(self._takeover.back(self._proxy, _seconds(body, "start"), _seconds(body, "drain")))

    async def delete_takeover(self, request: Request) -> Response:
        """Nothing is shared any more. Envoy must have left the port before."""
        await self._takeover.give_up()
        return Response.of(self._takeover.view())

    @property
    def _guard(self) -> asyncio.Lock:
        if self._lock is None:
            raise HttpError(503, "the agent is just starting")
        return self._lock

    async def _settle(self) -> None:
        async with self._guard:
            try:
                await self._snapshots.settle()
            except OSError as error:
                self._events.add("ERROR", f"an interrupted snapshot could not be undone: {error}")


def _merge(pools: Dict[str, Dict[str, Dict[str, Any]]], answer: Any, first: bool) -> None:
    """Adds what one Envoy says of its clusters; those that only finish requests add nothing but these."""
    for cluster in answer.get("cluster_statuses", []):
        endpoints = pools.setdefault(cluster["name"], {}) if first else pools.get(cluster["name"], {})
        for host in cluster.get("host_statuses", []):
            key = _key(host["address"]["socket_address"])
            active = _active(host.get("stats", []))
            if first:
                endpoints[key] = {**_state(host), "active": active}
            elif key in endpoints:
                endpoints[key]["active"] += active


def _key(place: Dict[str, Any]) -> str:
    address, port = place["address"], place["port_value"]
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _active(stats: List[Dict[str, Any]]) -> int:
    return sum(int(stat.get("value", 0)) for stat in stats if stat["name"] == "rq_active")


def _state(host: Dict[str, Any]) -> Dict[str, Any]:
    health = host.get("health_status", {})
    draining = health.get("eds_health_status") == "DRAINING"
    state = "draining" if draining else "standby" if host.get("priority") else "serving"
    healthy = not any(value for name, value in health.items() if name.startswith(("failed_", "pending_")))
    return {"healthy": healthy, "state": state}


def _seconds(body: Dict[str, Any], name: str) -> float:
    """HttpError 400 unless it is a number from 0 to 3600."""
    value = body.get(name)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 3600:
        raise HttpError(400, f"{name} must be a number from 0 to 3600")
    return float(value)
