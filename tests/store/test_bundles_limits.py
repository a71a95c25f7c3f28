"""Bundles that are too large, or would be when unpacked."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

import pytest
from zips import MIB, make, refusal, stored

from beanpole.store.blobs import Blobs
from beanpole.store.bundles import BundleError, Limits, check_and_unpack


def test_too_large_packed(tmp_path: Path, blobs: Blobs) -> None:
    path = tmp_path / "a.zip"
    with path.open("wb") as file:
        file.truncate(500 * MIB + 1)
    assert "the limit is 500 MiB" in refusal(path, blobs)


def test_too_large_unpacked(tmp_path: Path, blobs: Blobs) -> None:
    path = make(tmp_path / "a.zip", *((str(number), os.urandom(MIB)) for number in range(3)))
    assert "expands to more than 2 MiB" in refusal(path, blobs, Limits(unpacked=2 * MIB))
    check_and_unpack(path, blobs, Limits(unpacked=3 * MIB))


def test_too_many_entries(tmp_path: Path, blobs: Blobs) -> None:
    path = make(tmp_path / "a.zip", *((str(number), "") for number in range(11)))
    assert "11 entries" in refusal(path, blobs, Limits(entries=10))
    check_and_unpack(path, blobs, Limits(entries=11))


def test_a_small_file_of_zeros_is_no_bomb(tmp_path: Path, blobs: Blobs) -> None:
    path = make(tmp_path / "a.zip", ("zeros", bytes(8 * MIB)))
    assert check_and_unpack(path, blobs).size == 8 * MIB


def test_ratio(tmp_path: Path, blobs: Blobs) -> None:
    path = make(tmp_path / "a.zip", ("zeros", bytes(8 * MIB)))
    assert "200 times its size" in refusal(path, blobs, Limits(ratio_floor=4 * MIB))
    assert not stored(blobs)


def test_many_names_for_one_bomb(tmp_path: Path, blobs: Blobs) -> None:
    """The entries of the directory all point to the same packed bytes, as overlapping bombs do."""
    path = make(tmp_path / "a.zip", ("aaaa", bytes(2 * MIB)))
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    entry = content[start:end]
    directory = b"".join(entry for _ in range(20))
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 20, 20, len(directory), start, 0)
    path.write_bytes(content[:start] + directory + tail)
    with pytest.raises(BundleError):
        check_and_unpack(path, blobs, Limits(ratio_floor=4 * MIB))


def test_a_real_bomb_is_stopped_long_before_it_is_out(tmp_path: Path, blobs: Blobs) -> None:
    """Ten gigabytes of zeros in ten megabytes: the packed bytes of four megabytes, many times one after the other."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(4 * MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    body = block * 2560 + last.flush(zlib.Z_FINISH)
    size = 10 * 1024 * MIB - 1
    path = tmp_path / "bomb.zip"
    name = b"zeros"
    sizes = struct.pack("<HHQQ", 1, 16, size, len(body))
    local = (
        struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 45, 0, 8, 0, 0x21, 0, 2**32 - 1, 2**32 - 1, 5, 20) + name + sizes
    )
    central = (
        struct.pack(
            "<4sHHHHHHIIIHHHHHII", b"PK\x01\x02", 45, 45, 0, 8, 0, 0x21, 0, 2**32 - 1, 2**32 - 1, 5, 20, 0, 0, 0, 0, 0
        )
        + name
        + sizes
    )
    offset = len(local) + len(body)
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, len(central), offset, 0)
    path.write_bytes(local + body + central + tail)
    assert path.stat().st_size < 12 * MIB
    assert "times its size" in refusal(path, blobs)
    assert not stored(blobs)


def test_a_list_of_files_that_does_not_fit_into_memory(tmp_path: Path, blobs: Blobs) -> None:
    path = tmp_path / "a.zip"
    size = 25 * MIB
    tail = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, size, 0, 0)
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size)
        file.write(tail)
    assert "list of files is too large" in refusal(path, blobs)
