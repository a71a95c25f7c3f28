"""Bytes on their way to becoming a blob: written to disk as they arrive, named only when all of them were checked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress

import anyio
import anyio.to_thread

from beanpole.aws.errors import AwsError
from beanpole.store.blobs import Blobs

PIECE = 1024 * 1024
"""Bytes that are collected before a thread writes them: all that one upload takes in memory."""


class Staged:
    """One blob that has no name yet. Ends with `keep` or `drop`; its methods block."""

    def __init__(self, blobs: Blobs) -> None:
        self._stack = ExitStack()
        self._writer = self._stack.enter_context(blobs.writer())

    @property
    def sha256(self) -> str:
        return self._writer.sha256

    @property
    def md5(self) -> str:
        return self._writer.md5

    @property
    def size(self) -> int:
        return self._writer.size

    def write(self, data: bytes) -> None:
        self._writer.write(data)

    def keep(self) -> None:
        """Give it its name. It is on disk after this, or an OSError says why not."""
        self._stack.close()

    def drop(self) -> None:
        """Remove what was written. Nothing happens when it was kept or dropped before."""
        with suppress(_Dropped), self._stack:
            raise _Dropped


class _Dropped(Exception):
    """Tells the blob's writer to leave no trace. Never seen outside."""


async def stage(blobs: Blobs, chunks: AsyncIterator[bytes], limit: int, limiter: anyio.CapacityLimiter) -> Staged:
    """Write all chunks. EntityTooLarge above `limit` bytes; whatever goes wrong, nothing is left on disk."""
    staged = await anyio.to_thread.run_sync(Staged, blobs, limiter=limiter)
    try:
        size = 0
        piece = bytearray()
        async for chunk in chunks:
            size += len(chunk)
            check_size(size, limit)
            piece += chunk
            if len(piece) >= PIECE:
                await anyio.to_thread.run_sync(staged.write, bytes(piece), limiter=limiter)
                piece.clear()
        await anyio.to_thread.run_sync(staged.write, bytes(piece), limiter=limiter)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(staged.drop)
        raise
    return staged


def check_size(size: int, limit: int) -> None:
    """EntityTooLarge when `size` bytes are more than `limit`."""
    if size > limit:
        raise AwsError(
            "EntityTooLarge", f"An object has at most {limit} bytes.", ProposedSize=str(size), MaxSizeAllowed=str(limit)
        )
