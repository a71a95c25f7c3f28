"""Bundles that lead elsewhere, make no sense or are damaged: one sentence, and nothing of them is kept."""

from __future__ import annotations

import os
import stat
import struct
from contextlib import nullcontext
from pathlib import Path

import pytest
from zips import info, link, make, refusal, stored

from beanpole.store.blobs import Blobs


@pytest.mark.parametrize(
    "name",
    ["../evil", "a/../../evil", "/etc/passwd", "//x", "a\\..\\b", "C:/x", "c:x", "a/..", "..", "a\x01b", "a\nb"],
)
def test_names_that_lead_elsewhere(tmp_path: Path, blobs: Blobs, name: str) -> None:
    message = refusal(make(tmp_path / "a.zip", ("fine.py", "x"), (name, "x")), blobs)
    assert message.startswith("The name ")
    assert not stored(blobs)
    assert not (tmp_path / "evil").exists()


def test_nul_in_a_name(tmp_path: Path, blobs: Blobs) -> None:
    path = make(tmp_path / "a.zip", ("appXpy", "x"))
    path.write_bytes(path.read_bytes().replace(b"appXpy", b"app\0py"))
    assert "control characters" in refusal(path, blobs)


@pytest.mark.parametrize("name", ["x" * 256, "/".join(["y" * 100] * 11), "é" * 130])
def test_names_too_long(tmp_path: Path, blobs: Blobs, name: str) -> None:
    assert "too long" in refusal(make(tmp_path / "a.zip", (name, "x")), blobs)


@pytest.mark.parametrize(
    "links",
    [
        [("a", "/etc/passwd")],
        [("a", "../x")],
        [("d/a", "../../x")],
        [("d/a", "b/../../../x")],
        [("d/up", ".."), ("x", "d/up/../y")],
        [("a", "b"), ("b", "../x")],
        [("a", "a")],
        [("a", "b"), ("b", "a")],
    ],
)
def test_links_that_lead_outside(tmp_path: Path, blobs: Blobs, links: list[tuple[str, str]]) -> None:
    path = make(tmp_path / "a.zip", ("d/file", "x"), *(link(*each) for each in links))
    assert "points outside" in refusal(path, blobs)


@pytest.mark.parametrize("target", ["", "x" * 5000, "a\0b"])
def test_links_without_a_target(tmp_path: Path, blobs: Blobs, target: str) -> None:
    assert "no usable target" in refusal(make(tmp_path / "a.zip", ("f", "x"), link("a", target)), blobs)


def test_files_below_a_link(tmp_path: Path, blobs: Blobs) -> None:
    path = make(tmp_path / "a.zip", ("d/x", "x"), link("a", "d"), ("a/y", "y"))
    assert refusal(path, blobs) == "a in the bundle is a file, or a link, and a folder."


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([("a", "1"), ("a", "2")], "a twice"),
        ([("a", "1"), ("./a", "2")], "a twice"),
        ([("a", "1"), ("a/b", "2")], "a file, or a link, and a folder"),
        ([("a", "1"), ("a/", "")], "a twice"),
        ([], "empty"),
        ([("./", "")], "empty"),
        ([("a/", "")], "empty"),
    ],
)
def test_zips_without_sense(tmp_path: Path, blobs: Blobs, members: list[tuple[str, str]], words: str) -> None:
    same_name = len(members) == 2 and members[0][0] == members[1][0]
    with pytest.warns(UserWarning) if same_name else nullcontext():
        path = make(tmp_path / "a.zip", *members)
    assert words in refusal(path, blobs)


@pytest.mark.parametrize("kind", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_devices(tmp_path: Path, blobs: Blobs, kind: int) -> None:
    path = make(tmp_path / "a.zip", ("f", "x"), (info("dev", kind | 0o644), ""))
    assert "neither a file, a folder nor a link" in refusal(path, blobs)


@pytest.mark.parametrize(
    "content", [b"", b"not a zip at all", b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 10, os.urandom(5000)]
)
def test_not_a_zip(tmp_path: Path, blobs: Blobs, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    assert "not a zip" in refusal(path, blobs)


def test_encrypted(tmp_path: Path, blobs: Blobs) -> None:
    path = make(tmp_path / "a.zip", ("secret", "x"))
    content = bytearray(path.read_bytes())
    central = content.index(b"PK\x01\x02")
    content[6] |= 1
    content[central + 8] |= 1
    path.write_bytes(content)
    assert refusal(path, blobs) == "secret in the bundle is encrypted."
    assert not stored(blobs)


def test_unknown_packing(tmp_path: Path, blobs: Blobs) -> None:
    path = make(tmp_path / "a.zip", ("a", "x" * 100))
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, 8, 97)
    struct.pack_into("<H", content, content.index(b"PK\x01\x02") + 10, 97)
    path.write_bytes(content)
    assert "not supported" in refusal(path, blobs)


def test_damaged_content_is_noticed_and_not_kept(tmp_path: Path, blobs: Blobs) -> None:
    path = make(tmp_path / "a.zip", ("a", os.urandom(300_000)))
    content = bytearray(path.read_bytes())
    content[150_000] ^= 0xFF
    path.write_bytes(content)
    assert "damaged" in refusal(path, blobs)
    assert not stored(blobs)
