"""Brings Envoy from the snapshot that it serves to a new one, in an order in which no request meets a gap.

Endpoints, then clusters, then routes; what disappears goes in the opposite order. Each step waits until Envoy says that
it applied exactly that. When it refuses, every file is put back, and the old snapshot goes on serving. The last
snapshot that was applied as a whole is on disk; one that an agent's death interrupted is undone at the next start.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

from . import durable
from .admin import AdminError
from .generation import Generation
from .http import HttpError
from .proxy import Proxy
from .xds import Standing, Xds, check, clusters, reason, standing, version

APPLY_SECONDS = 10.0  # for Envoy to say of one file that it applied it: it does within milliseconds
UNDO_SECONDS = 2.0  # for it to take the old file back; it does so later, too, if it is busy
WARM_SECONDS = 5.0  # for the first health checks of new clusters; later ones are not worth delaying the others for
POLL_SECONDS = (0.002, 0.05)  # first and longest pause between looks

Change = Tuple[str, Optional[str]]  # a file and its former text


class Snapshots:
    """The snapshot of one home. One apply at a time (its caller sees to that)."""

    def __init__(self, home: Path, xds: Xds, proxy: Proxy) -> None:
        self._record_path = home / "snapshot.json"
        self._xds = xds
        self._proxy = proxy
        self.version = 0
        self._files: Dict[str, str] = {}

    def load(self) -> None:
        """Reads what was applied last."""
        record = durable.read_json(self._record_path)
        if record is not None:
            self.version, self._files = record["version"], record["files"]

    def put_back(self) -> None:
        """Undoes, on disk, what an agent's death interrupted. For an Envoy that does not run or cannot be convinced."""
        present = self._xds.read()
        for name, text in self._files.items():
            if present.get(name) != text:
                self._xds.write(name, text)
        for name in set(present) - set(self._files) if self._files else ():
            self._xds.remove(name)

    async def settle(self) -> None:
        """Undoes what an agent's death interrupted while Envoy went on serving."""
        if not self._files or self._xds.read() == self._files:
            return
        try:
            await self._advance(self._files, [])
        except (HttpError, AdminError):
            self.put_back()  # it refused a file that is still there; the old ones it will take

    async def apply(self, number: int, files: Dict[str, str]) -> Dict[str, Any]:
        """Envoy serves that snapshot when this returns. HttpError 400 or 409 with the reason: nothing has changed then.

        An older number than the one applied, or the same with other files, is refused; the same again is harmless.
        """
        check(files)
        if number < self.version or (number == self.version and files != self._files):
            raise HttpError(
                409,
                f"snapshot {number} is not newer than {self.version}, which is applied",
                version=self.version,
                remedy="Read the version with GET /envoy and send a higher one.",
            )
        began = time.monotonic()
        changes: List[Change] = []
        try:
            await self._advance(files, changes)
            await self._confirm()
        except BaseException:
            # Shielded: a caller who goes away must not leave a snapshot half undone.
            await asyncio.shield(self._undo(changes))
            raise
        durable.write_json(self._record_path, {"version": number, "files": files})
        self.version, self._files = number, files
        seconds = round(time.monotonic() - began, 3)
        return {"version": number, "changed": sorted({name for name, _ in changes}), "seconds": seconds}

    async def _advance(self, files: Dict[str, str], changes: List[Change]) -> None:
        present = self._xds.read()
        old_clusters = set(clusters(present["cds.json"]))
        leaving = old_clusters - set(clusters(files["cds.json"]))
        first = json.loads(present["lds.json"])["resources"] == []
        endpoints = {name: text for name, text in files.items() if _kind(name) == "eds/"}
        added = [name for name in endpoints if name[4:-5] not in old_clusters]
        both = _union(files["cds.json"], present["cds.json"]) if leaving else files["cds.json"]
        await self._step(endpoints, changes, unwatched=added)
        await self._step({"cds.json": both}, changes, watched=added)
        await self._warm()
        await self._step({"rds.json": files["rds.json"]}, changes, unwatched=["rds.json"] if first else [])
        await self._step({"lds.json": files["lds.json"]}, changes, watched=["rds.json"])
        await self._step({"cds.json": files["cds.json"]}, changes)
        for name in set(present) - set(files):
            changes.append((name, present[name]))
            self._xds.remove(name)

    async def _step(
        self, texts: Dict[str, str], changes: List[Change], watched: Sequence[str] = (), unwatched: Sequence[str] = ()
    ) -> None:
        """Writes the texts that differ and waits until Envoy has applied them (and `watched`, but not `unwatched`)."""
        present = self._xds.read()
        different = {name: text for name, text in texts.items() if present.get(name) != text}
        if not different:
            return
        after = {**present, **different}
        wanted = {name: version(after[name]) for name in {*different, *watched} - set(unwatched)}
        generation = await self._proxy.live()
        before = await standing(generation.admin, wanted)
        offset = generation.log_size()
        for name, text in different.items():
            changes.append((name, present.get(name)))
            self._xds.write(name, text)
        await self._applied(wanted, generation, before, offset)

    async def _applied(
        self, wanted: Dict[str, str], generation: Generation, before: Dict[str, Standing], offset: int
    ) -> None:
        limit, pause = time.monotonic() + APPLY_SECONDS, POLL_SECONDS[0]
        while wanted:
            current = self._proxy.current or generation
            if current is not generation:  # it died and another one reads the new files: its counts start at 0
                generation, before, offset = current, {}, 0
            try:
                now = await standing(generation.admin, wanted)
            except AdminError:
                now = {}
            for name, found in now.items():
                if found.refused > before.get(name, Standing(None, 0)).refused:
                    why = reason(generation.log_since(offset))
                    raise HttpError(409, f"Envoy refused {name}: {why}", file=name, reason=why)
            if now and all(now[name].version == text for name, text in wanted.items()):
                return
            if time.monotonic() > limit:
                missing = sorted(name for name in wanted if name not in now or now[name].version != wanted[name])
                raise HttpError(409, f"Envoy did not apply {', '.join(missing[:5])} within {APPLY_SECONDS:.0f} s")
            await asyncio.sleep(pause)
            pause = min(pause * 2, POLL_SECONDS[1])

    async def _confirm(self) -> None:
        """Everything on disk is in use: also when nothing had to be written, or Envoy died meanwhile."""
        limit = time.monotonic() + APPLY_SECONDS
        while True:
            lagging = await self._xds.lagging((await self._proxy.live()).admin)
            if not lagging:
                return
            if time.monotonic() > limit:
                raise HttpError(409, f"Envoy did not apply {', '.join(lagging[:5])} within {APPLY_SECONDS:.0f} s")
            await asyncio.sleep(POLL_SECONDS[1])

    async def _warm(self) -> None:
        """Waits for the first health checks of new clusters: until then Envoy answers 503 for them."""
        limit, pause = time.monotonic() + WARM_SECONDS, POLL_SECONDS[0]
        while time.monotonic() < limit:
            generation = await self._proxy.live()
            try:
                stats = await generation.admin.stats("^cluster_manager.warming_clusters$")
                if stats.get("cluster_manager.warming_clusters") == "0":
                    return
            except AdminError:
                pause = POLL_SECONDS[1]
            await asyncio.sleep(pause)
            pause = min(pause * 2, POLL_SECONDS[1])

    async def _undo(self, changes: List[Change]) -> None:
        """Puts every file back, the last one first, and gives Envoy a moment to notice."""
        for name, text in reversed(changes):
            if text is None:
                self._xds.remove(name)
            else:
                self._xds.write(name, text)
        limit = time.monotonic() + UNDO_SECONDS
        while changes and self._proxy.current is not None and time.monotonic() < limit:
            try:
                if not await self._xds.lagging(self._proxy.current.admin):
                    return
            except AdminError:
                return  # it is not there; whoever follows reads the old files
            await asyncio.sleep(POLL_SECONDS[1])


def _kind(name: str) -> str:
    return "eds/" if name.startswith("eds/") else name


def _union(new: str, old: str) -> str:
    """The clusters of both, the new ones where both have one: routes may lead to either."""
    resources = json.loads(new)["resources"]
    names = {resource["name"] for resource in resources}
    resources += [resource for resource in json.loads(old)["resources"] if resource["name"] not in names]
    digest = hashlib.sha256(json.dumps(resources, sort_keys=True).encode()).hexdigest()[:16]
    return json.dumps({"version_info": f"both-{digest}", "resources": resources})
