"""Bundles are taken whole or refused with one sentence; the same files give the same manifest, whoever zipped them."""

from __future__ import annotations

import io
import os
import random
import stat
import struct
import subprocess
import sys
import zipfile
import zlib
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beanpole.store.blobs import Blobs
from beanpole.store.bundles import BundleError, File, Limits, Link, Manifest, check_and_unpack

MIB = 1024 * 1024


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")


def info(name: str, mode: int = stat.S_IFREG | 0o644, system: int = 3) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name)
    entry.create_system = system
    entry.external_attr = mode << 16
    return entry


def make(path: Path, *members: tuple[zipfile.ZipInfo | str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            entry = name if isinstance(name, zipfile.ZipInfo) else info(name)
            archive.writestr(entry, content, compress_type=zipfile.ZIP_DEFLATED)
    return path


def link(name: str, target: str) -> tuple[zipfile.ZipInfo, str]:
    return info(name, stat.S_IFLNK | 0o777), target


def stored(blobs: Blobs) -> list[Path]:
    return [path for path in blobs.root.rglob("*") if path.is_file()]


# -- what is taken -------------------------------------------------------------------------------------------------


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


# -- what is refused -----------------------------------------------------------------------------------------------


def refusal(path: Path, blobs: Blobs, limits: Limits | None = None) -> str:
    with pytest.raises(BundleError) as caught:
        check_and_unpack(path, blobs, limits)
    assert caught.value.remedy
    return str(caught.value)


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


# -- limits --------------------------------------------------------------------------------------------------------


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


# -- anything at all -----------------------------------------------------------------------------------------------


def _sample() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(info("a.py"), "print()" * 20, zipfile.ZIP_DEFLATED)
        archive.writestr(info("l", stat.S_IFLNK | 0o777), "a.py")
        archive.writestr(info("d/", stat.S_IFDIR), "")
        archive.writestr(info("b"), b"\0" * 300, zipfile.ZIP_BZIP2)
        archive.writestr(info("c"), b"\1" * 300, zipfile.ZIP_LZMA)
    return buffer.getvalue()


SAMPLE = _sample()


@given(
    changes=st.lists(st.tuples(st.integers(0, len(SAMPLE) - 1), st.integers(0, 255)), min_size=1, max_size=4),
    length=st.integers(0, len(SAMPLE)) | st.just(len(SAMPLE)),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
def test_a_damaged_zip_is_refused_or_read_and_nothing_else(
    tmp_path: Path, blobs: Blobs, changes: list[tuple[int, int]], length: int
) -> None:
    content = bytearray(SAMPLE)
    for place, value in changes:
        content[place] = value
    path = tmp_path / "a.zip"
    path.write_bytes(content[:length])
    try:
        manifest = check_and_unpack(path, blobs)
    except BundleError as error:
        assert str(error)
    else:
        for file in manifest.files:
            manifest.read(file, blobs)


@given(target=st.text("ab./", min_size=1, max_size=12), place=st.sampled_from(["l", "a/l", "a/b/l"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100, deadline=None)
@pytest.mark.skipif(sys.platform == "win32", reason="needs symbolic links")
def test_a_link_is_taken_only_if_the_system_agrees_that_it_stays_inside(
    tmp_path_factory: pytest.TempPathFactory, blobs: Blobs, target: str, place: str
) -> None:
    folder = tmp_path_factory.mktemp("tree") / "root"
    (folder / "a" / "b").mkdir(parents=True)
    (folder / "a" / "b" / "f").write_text("x")
    (folder / place).symlink_to(target)
    inside = Path(os.path.realpath(folder / place)).is_relative_to(folder.resolve())
    path = make(folder.parent / "z.zip", ("a/b/f", "x"), link(place, target))
    try:
        check_and_unpack(path, blobs)
    except BundleError:
        assert not inside
    else:
        assert inside
