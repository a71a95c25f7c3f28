"""Blobs appear whole, go by their age, and leave nothing behind."""

from __future__ import annotations

import os
import time

from beanpole.store.blobs import Blobs

DAY = 24 * 3600.0


def aged(blobs: Blobs, content: bytes, seconds: float) -> str:
    digest = blobs.put([content]).sha256
    then = time.time() - seconds
    os.utime(blobs.path(digest), (then, then))
    return digest


def test_what_a_crash_left_is_removed_at_the_next_start(blobs: Blobs) -> None:
    kept = blobs.put([b"kept"]).sha256
    incoming = blobs.root / "incoming"
    (incoming / "tmpabc").write_bytes(b"half an upload")
    interrupted = Blobs(incoming / "tmpdef")  # a bundle that was being taken apart
    interrupted.put([b"a member"])
    (interrupted.root / "incoming" / "tmpghi").write_bytes(b"half a member")
    again = Blobs(blobs.root)
    again.empty_incoming()
    assert list(incoming.iterdir()) == []
    assert again.path(kept).read_bytes() == b"kept"
    again.put([b"more"])


def test_a_list_goes_on_although_blobs_vanish(blobs: Blobs) -> None:
    digests = {blobs.put([bytes([n])]).sha256 for n in range(5)}
    listed = blobs.listed(time.time())
    first, _ = next(listed)
    for digest in digests - {first}:
        blobs.remove(digest)
    assert list(listed) == []


def test_a_blob_that_is_named_again_counts_as_new(blobs: Blobs) -> None:
    old, taken = aged(blobs, b"old", 2 * DAY), aged(blobs, b"taken", 2 * DAY)
    now = time.time()
    ages = dict(blobs.listed(now))
    assert min(ages.values()) > DAY
    assert blobs.touch(taken)
    assert [blobs.remove_older(digest, now, DAY) for digest in (old, taken)] == [True, False]
    assert (blobs.has(old), blobs.has(taken)) == (False, True)
    assert not blobs.touch(old)
    assert not blobs.remove_older(old, now, DAY)
