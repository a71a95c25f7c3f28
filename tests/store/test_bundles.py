"""Bundles are taken whole; the same files give the same manifest, whoever zipped them."""

from __future__ import annotations

import os
import random
import stat
import subprocess
from pathlib import Path

import pytest
from zips import MIB, info, link, make, stored

from beanpole.store.blobs import Blobs
from beanpole.store.bundles import File, Link, Manifest, check_and_unpack


def test_files_modes_links_and_empty_folders(tmp_path: Path, blobs: Blobs) -> None:
    path = make(
        tmp_path / "a.zip",
        (info("./", stat.S_IFDIR | 0o755), ""),
        (info("empty/", stat.S_IFDIR | 0o755), ""),
        (info("src/", stat.S_IFDIR | 0o755), ""),
        ("src/app.py", "print()"),
        (info("run.sh", stat.S_IFREG | 0o700), "#!/bin/sh\n"),
        (info("./dot/./x", 0o600), "x"),
        link("current", "src/app.py"),
        link("src/up", "../run.sh"),
        link("later", "made/at/run/time"),
    )
    manifest = check_and_unpack(path, blobs)
    assert [(type(entry).__name__, entry.path) for entry in manifest.entries] == [
        ("Link", "current"),
        ("File", "dot/x"),
        ("Folder", "empty"),
        ("Link", "later"),
        ("File", "run.sh"),
        ("File", "src/app.py"),
        ("Link", "src/up"),
    ]
    modes = {entry.path: entry.mode for entry in manifest.entries if isinstance(entry, File)}
    assert modes == {"dot/x": 0o644, "run.sh": 0o755, "src/app.py": 0o644}
    assert manifest.read("current", blobs) == b"print()"
    assert manifest.read("src/up", blobs) == b"#!/bin/sh\n"
    assert set(manifest.files) == {"current", "dot/x", "run.sh", "src/app.py", "src/up"}
    assert manifest.size == 18
    with pytest.raises(KeyError):
        manifest.read("later", blobs)
    with pytest.raises(KeyError):
        manifest.read("src", blobs)


def test_rows_for_agents_and_round_trip(tmp_path: Path, blobs: Blobs) -> None:
    path = make(tmp_path / "a.zip", ("a", "x"), link("b", "a"), (info("c/", stat.S_IFDIR | 0o755), ""))
    manifest = check_and_unpack(path, blobs)
    digest = "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    assert manifest.rows() == [["a", 0o644, digest, 1], ["b", "link", "a"], ["c", "dir"]]
    again = Manifest.from_json(manifest.to_json())
    assert again == manifest
    assert again.digest == manifest.digest


def test_the_digest_depends_on_contents_and_not_on_times_order_or_folders(tmp_path: Path, blobs: Blobs) -> None:
    late = info("b/c")
    late.date_time = (2030, 1, 2, 3, 4, 6)
    first = make(tmp_path / "1.zip", ("a", "x"), ("b/c", "y"))
    second = make(tmp_path / "2.zip", (info("b/", stat.S_IFDIR | 0o700), ""), (late, "y"), ("./a", "x"))
    assert check_and_unpack(first, blobs).digest == check_and_unpack(second, blobs).digest
    different = [
        make(tmp_path / "3.zip", ("a", "x"), ("b/c", "z")),
        make(tmp_path / "4.zip", ("a", "x"), ("b/d", "y")),
        make(tmp_path / "5.zip", ("a", "x"), (info("b/c", 0o755), "y")),
        make(tmp_path / "6.zip", ("a", "x"), link("b/c", "y")),
        make(tmp_path / "7.zip", ("a", "x"), ("b/c", "y"), (info("e/", stat.S_IFDIR), "")),
    ]
    digests = {check_and_unpack(path, blobs).digest for path in [first, *different]}
    assert len(digests) == 6


def test_contents_are_stored_once(tmp_path: Path, blobs: Blobs) -> None:
    path = make(tmp_path / "a.zip", ("a", "same"), ("b", "same"), ("c", "other"))
    check_and_unpack(path, blobs)
    before = {file: file.stat().st_ino for file in stored(blobs)}
    check_and_unpack(path, blobs)
    assert len(before) == 2
    assert {file: file.stat().st_ino for file in stored(blobs)} == before


def test_contents_that_are_there_count_as_new_again(tmp_path: Path, blobs: Blobs) -> None:
    """Retention goes by age, and the new bundle names them only when it is complete."""
    digest = blobs.put([b"old content"]).sha256
    os.utime(blobs.path(digest), (0, 0))
    check_and_unpack(make(tmp_path / "a.zip", ("f.txt", b"old content")), blobs)
    assert blobs.path(digest).stat().st_mtime > 0


def test_large_files_come_through_whole(tmp_path: Path, blobs: Blobs) -> None:
    content = random.Random(1).randbytes(3 * MIB + 7)
    manifest = check_and_unpack(make(tmp_path / "a.zip", ("big", content)), blobs)
    assert manifest.read("big", blobs) == content


def test_a_zip_from_a_system_without_modes(tmp_path: Path, blobs: Blobs) -> None:
    path = make(tmp_path / "a.zip", (info("run.exe", 0o777, system=0), "x"))
    assert check_and_unpack(path, blobs).entries[0] == File(
        "run.exe", 0o644, check_and_unpack(path, blobs).files["run.exe"], 1
    )


def test_a_zip_as_git_and_zip_make_it(tmp_path: Path, blobs: Blobs) -> None:
    folder = tmp_path / "app"
    folder.mkdir()
    (folder / "ünï.py").write_text("x")
    (folder / "run").write_text("y")
    (folder / "run").chmod(0o755)
    (folder / "link").symlink_to("run")
    git = ["git", "-c", "user.email=a@example.com", "-c", "user.name=a", "-C", str(folder)]
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "x"], ["archive", "-o", "../git.zip", "HEAD"]):
        subprocess.run([*git, *words], check=True)
    manifest = check_and_unpack(tmp_path / "git.zip", blobs)
    assert [entry.path for entry in manifest.entries] == ["link", "run", "ünï.py"]
    assert isinstance(manifest.entries[0], Link)
    assert isinstance(manifest.entries[1], File)
    assert manifest.entries[1].mode == 0o755
