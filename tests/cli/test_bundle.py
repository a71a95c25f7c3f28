"""Which files of a folder are bundled, and that the same files are the same bundle."""

from __future__ import annotations

import os
import socket
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from beanpole.cli import bundle
from beanpole.cli.bundle import bundle_of
from beanpole.cli.errors import CommandFailed, WrongState

Git = Callable[..., str]


def names(folder: Path) -> list[str]:
    return [entry.name for entry in bundle_of(folder).entries]


def write(folder: Path, name: str, text: str = "") -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_git_the_whole_folder_but_what_is_no_part_of_it(shop: Path) -> None:
    for name in (
        "pages/home.html",
        "application.py~",
        "__pycache__/application.pyc",
        ".elasticbeanstalk/config.yml",
        ".ebextensions/a.config",
        "env/pyvenv.cfg",
        "env/bin/python",
        "deep/.venv/pyvenv.cfg",
        "deep/.venv/lib/x.py",
        "deep/x.py",
    ):
        write(shop, name)
    assert names(shop) == [
        ".ebextensions/a.config",
        "application.py",
        "deep/x.py",
        "pages/home.html",
        "requirements.txt",
    ]


def test_without_git_gitignore_counts_also_below(shop: Path) -> None:
    write(shop, ".gitignore", "*.log\n/data/\n!kept.log\n")
    for name in ("a.log", "kept.log", "data/big", "sub/data/small", "sub/.gitignore", "sub/b.tmp", "c.tmp"):
        write(shop, name, "*.tmp\n" if name == "sub/.gitignore" else "")
    assert names(shop) == [
        ".gitignore",
        "application.py",
        "c.tmp",
        "kept.log",
        "requirements.txt",
        "sub/.gitignore",
        "sub/data/small",
    ]


def test_ebignore_replaces_gitignore_also_with_git(shop: Path, git: Git) -> None:
    write(shop, ".gitignore", "built.js\n")
    write(shop, ".ebignore", "tests/\n")
    write(shop, "built.js")
    write(shop, "tests/test_a.py")
    git("add", ".")
    assert names(shop) == [".gitignore", "application.py", "built.js", "requirements.txt"]


def test_with_git_the_working_tree_without_what_git_ignores(shop: Path, git: Git) -> None:
    write(shop, ".gitignore", "*.key\n")
    write(shop, "secret.key")
    write(shop, "new.py")
    write(shop, "venv/pyvenv.cfg")
    write(shop, "venv/bin/x")
    (shop / "requirements.txt").unlink()
    assert names(shop) == [".gitignore", "application.py", "new.py"]


def test_uncommitted_is_only_what_is_in_the_bundle(shop: Path, git: Git) -> None:
    write(shop, "new.py")
    write(shop, "venv/pyvenv.cfg")
    write(shop, "venv/bin/x")
    (shop / "requirements.txt").unlink()
    assert bundle_of(shop).uncommitted == ("new.py",)


def test_nothing_is_uncommitted_after_a_commit(shop: Path, git: Git) -> None:
    assert bundle_of(shop).uncommitted == ()
    write(shop, ".elasticbeanstalk/config.yml")
    assert bundle_of(shop).uncommitted == ()


def test_a_folder_of_a_repository_is_that_folder_alone(shop: Path, git: Git) -> None:
    write(shop, "service/app.py")
    write(shop, "service/other.py")
    git("add", "service/app.py")
    found = bundle_of(shop / "service")
    assert [entry.name for entry in found.entries] == ["app.py", "other.py"]
    assert found.uncommitted == ("app.py", "other.py")


def test_a_folder_that_git_ignores_is_taken_whole(shop: Path, git: Git) -> None:
    write(shop, ".gitignore", "build\n")
    write(shop, "build/app.py")
    assert names(shop / "build") == ["app.py"]


def test_submodules_come_along(shop: Path, git: Git, tmp_path: Path) -> None:
    library = tmp_path / "library"
    write(library, "lib.py")
    git("init", "-q", str(library))
    git("-C", str(library), "add", ".")
    git("-C", str(library), "commit", "-q", "-m", "A library")
    git("-c", "protocol.file.allow=always", "submodule", "add", "-q", str(library), "vendor/library")
    assert "vendor/library/lib.py" in names(shop)


def test_modes_links_and_names_survive(shop: Path, tmp_path: Path) -> None:
    write(shop, "run.sh", "#!/bin/sh\n")
    (shop / "run.sh").chmod(0o744)
    write(shop, "pages/größe.html", "ü")
    (shop / "pages/link").symlink_to("../application.py")
    with socket.socket(socket.AF_UNIX) as listening:
        previous = Path.cwd()
        os.chdir(shop)  # socket paths are short
        listening.bind("a.sock")
        os.chdir(previous)
        zipped = bundle_of(shop).packed(tmp_path / "b.zip")
    with zipfile.ZipFile(zipped) as archive:
        modes = {info.filename: info.external_attr >> 16 for info in archive.infolist()}
        assert archive.read("pages/link") == b"../application.py"
        assert archive.read("pages/größe.html") == "ü".encode()
    assert modes == {
        "application.py": 0o100644,
        "pages/größe.html": 0o100644,
        "pages/link": 0o120777,
        "requirements.txt": 0o100644,
        "run.sh": 0o100755,
    }


def test_the_same_files_are_the_same_bundle(shop: Path, tmp_path: Path) -> None:
    one = bundle_of(shop)
    first = one.packed(tmp_path / "1.zip").read_bytes()
    os.utime(shop / "application.py", (1, 1))
    two = bundle_of(shop)
    assert two.digest == one.digest
    assert two.packed(tmp_path / "2.zip").read_bytes() == first


@pytest.mark.parametrize(
    "change",
    [
        lambda shop: (shop / "application.py").write_text("other"),
        lambda shop: (shop / "application.py").chmod(0o755),
        lambda shop: (shop / "application.py").rename(shop / "app.py"),
        lambda shop: (shop / "link").symlink_to("application.py"),
        lambda shop: (shop / "requirements.txt").unlink(),
    ],
    ids=["content", "mode", "name", "link", "gone"],
)
def test_everything_that_counts_is_in_the_digest(shop: Path, change: Callable[[Path], object]) -> None:
    before = bundle_of(shop).digest
    change(shop)
    assert bundle_of(shop).digest != before


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "pages/../../outside", ".."])
def test_links_that_leave_are_refused(shop: Path, target: str) -> None:
    (shop / "link").symlink_to(target)
    with pytest.raises(CommandFailed, match="The link link points out of the folder") as refused:
        bundle_of(shop)
    assert ".ebignore" in refused.value.remedy


def test_a_file_that_changes_meanwhile_is_named(shop: Path, tmp_path: Path) -> None:
    found = bundle_of(shop)
    (shop / "application.py").write_text("changed\n")
    with pytest.raises(CommandFailed, match=r"application\.py changed while it was being bundled"):
        found.packed(tmp_path / "b.zip")


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongState, match="There is nothing to deploy"):
        bundle_of(tmp_path)


def test_too_much_is_refused_and_the_largest_files_are_named(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(shop, "data.bin", "x" * 3000)
    monkeypatch.setattr(bundle, "UNPACKED_LIMIT", 2000)
    with pytest.raises(CommandFailed, match=r"too large for a bundle: 3\.0 kB, at most 2\.0 kB") as refused:
        bundle_of(shop)
    assert "data.bin (3.0 kB), application.py" in refused.value.remedy


def test_too_much_is_refused_before_anything_is_read(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(shop, "data.bin", "x" * 3000)
    monkeypatch.setattr(bundle, "UNPACKED_LIMIT", 2000)
    monkeypatch.setattr(bundle, "_sha256", lambda path: pytest.fail(f"{path.name} was read"))
    with pytest.raises(CommandFailed, match="too large for a bundle"):
        bundle_of(shop)


def test_a_zip_that_becomes_too_large_is_refused(shop: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shop / "data.bin").write_bytes(os.urandom(3000))
    monkeypatch.setattr(bundle, "PACKED_LIMIT", 2000)
    with pytest.raises(CommandFailed, match="zipped"):
        bundle_of(shop).packed(tmp_path / "b.zip")


@pytest.mark.skipif(os.geteuid() == 0, reason="root can read everything")
def test_a_file_that_cannot_be_read_is_named(shop: Path) -> None:
    (shop / "application.py").chmod(0)
    with pytest.raises(CommandFailed, match=r"application\.py cannot be read: Permission denied"):
        bundle_of(shop)
