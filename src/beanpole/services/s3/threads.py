"""The threads in which S3 writes and reads, apart from those of the other services, which never wait for an upload."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.to_thread

from beanpole.aws.request import Request
from beanpole.services.s3.staging import Staged, check_size, stage
from beanpole.store.blobs import Blobs

WORKERS = 16
"""Threads at once."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Threads:
    """Runs what blocks. `object_limit` is in bytes."""

    def __init__(self, blobs: Blobs, object_limit: int) -> None:
        self._blobs = blobs
        self._object_limit = object_limit
        self._limiter = anyio.CapacityLimiter(WORKERS)

    async def run(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._limiter)

    async def stage(self, request: Request) -> Staged:
        """The request's body on disk, checked. EntityTooLarge before the client is told to send too much."""
        check_size(request.body.length or 0, self._object_limit)
        return await stage(self._blobs, request.body.chunks(), self._object_limit, self._limiter)
