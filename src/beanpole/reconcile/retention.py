"""Forgets what is no longer needed, by the limits below. What serves, or may be gone back to, is never touched."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog

from beanpole.operations import release as releases
from beanpole.store import applications, audit, environments, events, operations
from beanpole.store.bundles import File, Manifest

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from beanpole.control.context import Control, Objects
    from beanpole.store.environments import Release

PERIOD = 6 * 3600.0
"""Seconds between clean-ups; the first one comes a while after the start, when the machine has done its own."""

FIRST = 300.0
"""Seconds after the start."""

OPERATIONS_KEPT_MS = 90 * 24 * 3600 * 1000
"""Milliseconds that an operation is kept with its plan and journal after its end."""

HISTORY_KEPT_MS = 3 * 365 * 24 * 3600 * 1000
"""Milliseconds that the history remembers it: who changed what and how it ended, about a kilobyte each."""

AUDIT_KEPT_MS = 90 * 24 * 3600 * 1000
"""Milliseconds that the audit remembers a call."""

AUDIT_MOST = 100_000
"""Newest calls that the audit remembers, about 30 MB: a client that calls in a loop must not fill the disk."""

UPLOADS_KEPT = 7 * 24 * 3600.0
"""Seconds after which an upload in parts that nobody completed is given up."""

YOUNG = 24 * 3600.0
"""Seconds for which a blob is left alone although nothing names it: a bundle may be on its way into the store."""

RELEASES_KEPT = 20
"""Newest releases of a live environment whose files and layers are kept here, whether or not they passed."""

PASSED_KEPT = 100
"""Newest different releases that passed; instances keep at most as many (KeepReleases)."""

log = structlog.get_logger("retention")


class Retention:
    def __init__(self, control: Control, objects: Objects) -> None:
        self._control = control
        self._objects = objects

    async def run(self) -> None:
        """Until cancelled."""
        await asyncio.sleep(FIRST)
        while True:
            await asyncio.to_thread(self.once)
            await asyncio.sleep(PERIOD)

    def once(self) -> None:
        database = self._control.database
        events.prune(database)
        now = database.now_ms()
        operations.prune(database, now - OPERATIONS_KEPT_MS, now - HISTORY_KEPT_MS)
        audit.prune(database, database.now_ms() - AUDIT_KEPT_MS, AUDIT_MOST)
        self._objects.expire_uploads(UPLOADS_KEPT)
        self._objects.sweep(time.time(), YOUNG)
        manifests, layers = self._needed()
        self._control.layers.prune(layers)
        removed = self._sweep(self._named(manifests))
        log.info("clean-up done", blobs_removed=removed)

    def needed(self) -> tuple[set[str], set[str]]:
        """Digests of blobs, and keys of layers, that a version or a release one may go back to is made of."""
        manifests, layers = self._needed()
        return self._named(manifests), layers

    def _needed(self) -> tuple[set[str], set[str]]:
        """Manifests and layers of versions that exist and of releases that one may go back to."""
        with self._control.database.read() as db:
            manifests = {version.manifest for version in applications.versions(db)}
            contents = [
                releases.decode(release.content)
                for environment in environments.listed(db)
                for release in _kept(db, environment.id)
            ]
        return manifests | {content.manifest for content in contents}, {content.layer for content in contents}

    def _named(self, manifests: set[str]) -> set[str]:
        blobs = self._control.blobs
        named = manifests | set(self._control.layers.blobs())
        for manifest in manifests:
            if blobs.has(manifest):
                named |= set(_files(Manifest.from_json(blobs.path(manifest).read_text())))
        return named

    def _sweep(self, named: set[str]) -> int:
        """Remove blobs that nothing names; answers how many.

        What a version names that came after the manifests were read was stored or touched shortly before: it is young,
        and `remove_older` looks at that again in the moment of removal.
        """
        blobs = self._control.blobs
        removed = 0
        now = time.time()
        for digest, age in blobs.listed(now):
            if digest not in named and age > YOUNG:
                removed += blobs.remove_older(digest, now, YOUNG)
        return removed


def _kept(db: sa.Connection, environment_id: str) -> list[Release]:
    passed = set(environments.kept_digests(db, environment_id, PASSED_KEPT))
    found = environments.releases(db, environment_id)
    return [release for at, release in enumerate(found) if at < RELEASES_KEPT or release.digest in passed]


def _files(manifest: Manifest) -> Iterator[str]:
    return (entry.sha256 for entry in manifest.entries if isinstance(entry, File))
