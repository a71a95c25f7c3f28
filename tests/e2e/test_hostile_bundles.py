"""Bundles from somebody who means no good: refused when they become a version, with the reason, and without a trace."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from beanpole_site import Site
from stories import refused, shared_site

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("hostile bundles")]

GIB = 1024**3


def archive(*members: tuple[str | zipfile.ZipInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("Procfile", "web: python server.py\n")
        for name, content in members:
            made.writestr(name, content)
    return buffer.getvalue()


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info, target.encode()


def special(name: str, kind: int) -> tuple[zipfile.ZipInfo, bytes]:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o644) << 16
    return info, b""


def encrypted() -> bytes:
    """A zip whose entry says that it is: bit 0 of the flags, in both places."""
    data = bytearray(archive())
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def zeros(gibibytes: int) -> bytes:
    """So many files of 1 GiB of zeros each, in a zip of some megabytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece = packer.compress(bytes(16 * 1024 * 1024)) + packer.flush(zlib.Z_FULL_FLUSH)
    stream = piece * (GIB // (16 * 1024 * 1024)) + zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    body, directory = b"", b""
    for number in range(gibibytes):
        name = f"zeros-{number}".encode()
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 8, 0, 0, 0, len(stream), GIB, len(name), 0)
        directory += (
            b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, len(body)) + name
        )
        body += b"PK\x03\x04" + fields + name + stream
    end = struct.pack("<HHHHIIH", 0, 0, gibibytes, gibibytes, len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


CASES: dict[str, tuple[Callable[[], bytes], str]] = {
    "a path that leads out": (lambda: archive(("../../escaped", b"x")), "leads out of it"),
    "a path that leads out on the way": (lambda: archive(("a/../../escaped", b"x")), "leads out of it"),
    "an absolute path": (lambda: archive(("/tmp/escaped", b"x")), "not a relative path"),
    "a path of Windows": (lambda: archive(("..\\..\\escaped", b"x")), "not a relative path"),
    "a drive of Windows": (lambda: archive(("C:/escaped", b"x")), "not a relative path"),
    "a link that leads out": (lambda: archive(link("out", "../../..")), "points outside of it"),
    "an absolute link": (lambda: archive(link("passwd", "/etc/passwd")), "points outside of it"),
    "a file below a link": (
        lambda: archive(link("d", "sub"), ("d/escaped", b"x")),
        "is a file, or a link, and a folder",
    ),
    "links in a circle": (lambda: archive(link("a", "b"), link("b", "a")), "points outside of it"),
    "a device": (lambda: archive(special("null", stat.S_IFCHR)), "neither a file, a folder nor a link"),
    "a pipe": (lambda: archive(special("pipe", stat.S_IFIFO)), "neither a file, a folder nor a link"),
    "an encrypted file": (encrypted, "is encrypted"),
    "ten gibibytes of zeros": (lambda: zeros(10), "expands to more than"),
    "a name too long": (lambda: archive(("x" * 300, b"x")), "is too long"),
    "no zip": (lambda: b"#!/bin/sh\nrm -rf ~\n" * 100, "is not a zip"),
    "half a zip": (lambda: archive(("a", bytes(range(256)) * 100))[:-60], "is not a zip"),
    "nothing at all": (lambda: b"", "is not a zip"),
    "an empty zip": (lambda: b"PK\x05\x06" + bytes(18), "is empty"),
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Site]:
    with shared_site() as site:
        yield site


@pytest.fixture(scope="module")
def clients(shared: Site) -> tuple[Any, Any]:
    return shared.client(), shared.client("s3")


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.parametrize("name", CASES)
def test_a_hostile_bundle_is_refused_and_leaves_no_trace(shared: Site, clients: tuple[Any, Any], name: str) -> None:
    eb, s3 = clients
    make, cause = CASES[name]
    bucket = eb.create_storage_location()["S3Bucket"]
    s3.put_object(Bucket=bucket, Key="hostile.zip", Body=make())
    before = files(shared.root) - files(shared.home.objects)
    code, message = refused(
        eb.create_application_version,
        ApplicationName="shop",
        VersionLabel="v1",
        AutoCreateApplication=True,
        SourceBundle={"S3Bucket": bucket, "S3Key": "hostile.zip"},
    )
    assert code == "InvalidParameterValue"
    assert message.startswith("The source bundle hostile.zip cannot be used: ")
    assert cause in message
    said, remedy = message.split(". ", 1)
    assert said
    assert remedy.endswith((".", "?")), "it says what to do"
    assert eb.describe_applications()["Applications"] == []
    assert eb.describe_application_versions()["ApplicationVersions"] == []
    left = files(shared.root) - files(shared.home.objects) - before
    assert {path.name for path in left} <= {"beanpole.db-wal", "beanpole.db-shm"}
    assert list((shared.home.blobs / "incoming").iterdir()) == []
    assert not any(path.name == "escaped" for folder in (shared.root, Path("/tmp")) for path in folder.glob("*"))
    s3.delete_object(Bucket=bucket, Key="hostile.zip")
