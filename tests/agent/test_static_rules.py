"""Static files without a server: which file a target means, that none leads outside, and what is answered about it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beanpole.agent.static_answer import UNKNOWN, Types, answer
from beanpole.agent.static_file import HASHED_LIMIT, ETags, Forbidden, Found, Missing, NeedsSlash, find
from beanpole.agent.static_path import place_of

FOLDERS = {"/static": "static", "/static/vendor": "node/dist", "/": "public"}
TAG, DATE = '"abc"', "Thu, 01 Jan 1970 00:00:10 GMT"


@pytest.mark.parametrize(
    ("target", "folder", "names"),
    [
        ("/static/app.css", "static", ("app.css",)),
        ("/static/app.css?v=1#x", "static", ("app.css",)),
        ("/static", "static", ()),
        ("/static/", "static", ()),
        ("/static/vendor/x.js", "node/dist", ("x.js",)),
        ("/static/vendors/x.js", "static", ("vendors", "x.js")),
        ("/staticx", "public", ("staticx",)),
        ("/static//a%20b/%C3%A9.txt", "static", ("a b", "é.txt")),
        ("/static/a%2Fb", "static", ("a", "b")),
        ("/.well-known/security.txt", "public", (".well-known", "security.txt")),
    ],
)
def test_a_target_means_a_file_of_the_longest_path(target: str, folder: str, names: tuple[str, ...]) -> None:
    place = place_of(FOLDERS, target)
    assert place is not None
    assert (place.folder, place.names) == (folder, names)


@pytest.mark.parametrize(
    "target",
    [
        "/static/../x",
        "/static/%2e%2e/x",
        "/static/a/..%2f..%2fx",
        "/static/.env",
        "/static/.git/config",
        "/static/a%00b",
    ],
)
def test_what_is_hidden_or_leads_up_means_nothing(target: str) -> None:
    assert place_of(FOLDERS, target) is None


def test_nothing_is_meant_outside_the_paths() -> None:
    assert place_of({"/static": "static"}, "/staticx/app.css") is None


PIECES = st.sampled_from([
    "..", "%2e%2e", ".%2e", "%2f", "/", "//", "a", "out", "up", "in", "deep", "secret", "%00", "\\", "%5c..", ".",
    "loop", "é",
])  # fmt: skip


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A release with everything in its folder that leads, or might lead, outside."""
    top = tmp_path_factory.mktemp("top")
    root = top / "app"
    (root / "static" / "deep").mkdir(parents=True)
    (top / "secret").write_text("SECRET")
    (root / "secret").write_text("SECRET")
    (root / "static" / "a").write_text("public")
    (root / "static" / "deep" / "a").write_text("public")
    (root / "static" / ".hidden").write_text("SECRET")
    for name, target in {
        "out": "../..", "up": "../secret", "in": "deep", "loop": "loop", "etc": "/etc/passwd", "dots": ".hidden",
        "deep/up": "../../secret", "same": "deep/../a",
    }.items():  # fmt: skip
        (root / "static" / name).symlink_to(target)
    (root / "escape").symlink_to("..")
    os.mkfifo(root / "static" / "pipe")
    yield root


@given(st.lists(PIECES, max_size=8).map("".join))
@settings(max_examples=400)
def test_no_path_leaves_the_folder(bundle: Path, tail: str) -> None:
    place = place_of({"/static": "static"}, f"/static/{tail}")
    if place is None:
        return
    try:
        found = find(str(bundle), place.folder, place.names, slash=place.slash)
    except (Missing, Forbidden, NeedsSlash):
        return
    try:
        assert os.read(found.descriptor, 100) == b"public"
    finally:
        os.close(found.descriptor)


def read(bundle: Path, *names: str, folder: str = "static", slash: bool = False) -> bytes:
    found = find(str(bundle), folder, names, slash=slash)
    try:
        return os.read(found.descriptor, 100)
    finally:
        os.close(found.descriptor)


def test_links_are_followed_inside_and_not_outside(bundle: Path) -> None:
    assert read(bundle, "in", "a") == read(bundle, "same") == b"public"
    for names in (("up",), ("etc",), ("out", "secret"), ("deep", "up"), ("dots",), ("loop",), ("loop", "a"), ("pipe",)):
        with pytest.raises(Missing):
            read(bundle, *names)


def test_a_mapped_folder_that_is_a_link_out_of_the_release_has_nothing(bundle: Path) -> None:
    with pytest.raises(Missing):
        read(bundle, "secret", folder="escape")


def test_a_folder_has_its_index_and_no_listing(tmp_path: Path) -> None:
    (tmp_path / "site" / "with").mkdir(parents=True)
    (tmp_path / "site" / "without").mkdir()
    (tmp_path / "site" / "with" / "index.html").write_text("hello")
    assert read(tmp_path, "with", folder="site", slash=True) == b"hello"
    with pytest.raises(NeedsSlash):
        read(tmp_path, "with", folder="site")
    for slash in (True, False):
        with pytest.raises(Forbidden):
            read(tmp_path, "without", folder="site", slash=slash)
    with pytest.raises(Missing):
        read(tmp_path, "with", "index.html", folder="site", slash=True)
    assert read(tmp_path, folder="site/with/index.html") == b"hello"


def test_no_descriptor_stays_open(bundle: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for names in (("a",), ("in", "a"), ("up",), ("deep",), ("pipe",), ("none", "x")):
        try:
            os.close(find(str(bundle), "static", names, slash=False).descriptor)
        except (Missing, Forbidden, NeedsSlash):
            continue
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_one_content_has_one_etag_and_another_one_has_another(tmp_path: Path) -> None:
    def etag(text: bytes, when: int) -> str:
        (tmp_path / "file").unlink(missing_ok=True)
        (tmp_path / "file").write_bytes(text)
        os.utime(tmp_path / "file", (when, when))
        descriptor = os.open(tmp_path / "file", os.O_RDONLY)
        status = os.fstat(descriptor)
        assert stat.S_ISREG(status.st_mode)
        stamp = (status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size)
        try:
            return ETags().of(Found(descriptor, "file", status.st_size, when, stamp))
        finally:
            os.close(descriptor)

    assert etag(b"one", 1) == etag(b"one", 2) != etag(b"two", 1)
    large = b"x" * (HASHED_LIMIT + 1)
    assert etag(large, 1) != etag(large, 2)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.css", "text/css"), ("a.js", "text/javascript"), ("A.HTML", "text/html"), ("a.svg", "image/svg+xml"),
        ("a.woff2", "font/woff2"), ("a.tar.gz", "application/gzip"), ("a.webp", "image/webp"), ("README", UNKNOWN),
        ("a.wasm", "application/wasm"), ("data:,x.png", "image/png"),
    ],
)  # fmt: skip
def test_types_follow_from_the_ending(name: str, kind: str) -> None:
    assert Types().of(name) == kind


@pytest.mark.parametrize(
    ("asked", "status", "part"),
    [
        ({}, 200, (0, 10)),
        ({"if-none-match": TAG}, 304, (0, 0)),
        ({"if-none-match": f'"x", W/{TAG}'}, 304, (0, 0)),
        ({"if-none-match": "*"}, 304, (0, 0)),
        ({"if-none-match": '"x"', "if-modified-since": DATE}, 200, (0, 10)),
        ({"if-modified-since": DATE}, 304, (0, 0)),
        ({"if-modified-since": "Fri, 02 Jan 1970 00:00:10 GMT"}, 200, (0, 10)),
        ({"range": "bytes=2-3"}, 206, (2, 2)),
        ({"range": "bytes=2-"}, 206, (2, 8)),
        ({"range": "bytes=-3"}, 206, (7, 3)),
        ({"range": "bytes=-30"}, 206, (0, 10)),
        ({"range": "bytes=5-50"}, 206, (5, 5)),
        ({"range": "bytes=10-"}, 416, (0, 0)),
        ({"range": "bytes=-0"}, 416, (0, 0)),
        ({"range": "bytes=0-1,3-4"}, 200, (0, 10)),
        ({"range": "bytes=4-2"}, 200, (0, 10)),
        ({"range": "lines=1-2"}, 200, (0, 10)),
        ({"range": "bytes=2-3", "if-range": TAG}, 206, (2, 2)),
        ({"range": "bytes=2-3", "if-range": DATE}, 206, (2, 2)),
        ({"range": "bytes=2-3", "if-range": '"x"'}, 200, (0, 10)),
    ],
)
def test_conditions_and_ranges(asked: dict[str, str], status: int, part: tuple[int, int]) -> None:
    said = answer(asked, "text/css", TAG, 10, 10)
    assert (said.status, said.begin, said.count) == (status, *part)
    assert ("ETag", TAG) in said.headers or status == 416


@given(st.integers(0, 50), st.text("0123456789-=bytes, ", max_size=14).map("bytes={}".format))
def test_a_part_is_always_one_of_the_file(size: int, wanted: str) -> None:
    said = answer({"range": wanted}, "text/css", TAG, 10, size)
    assert said.begin >= 0
    assert said.begin + said.count <= size
    assert said.status in (200, 206, 416)
