"""The far end of a transfer by itself: nothing gets a name that is not what the name says, and a cut costs little."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

LIMIT = 15.0  # seconds for anything to happen
CONTENT = random.Random(7).randbytes(300 * 1024 + 17)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


class Receiving:
    """One process `receive`."""

    def __init__(self, program: Path, root: Path) -> None:
        self.root = root
        words = [sys.executable, "-I", str(program), "receive", "--root", str(root)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, bufsize=0)

    def send(self, data: bytes) -> None:
        assert self.process.stdin is not None
        view = memoryview(data)
        while view:
            view = view[self.process.stdin.write(view) :]

    def tell(self, **value: Any) -> None:
        self.send(json.dumps(value).encode() + b"\n")

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        assert select.select([self.process.stdout], [], [], LIMIT)[0], "no answer"
        return dict(json.loads(self.process.stdout.readline()))

    def ask(self, *contents: bytes) -> dict[str, int]:
        self.tell(wanted=[[digest(each), len(each)] for each in contents])
        return dict(self.answer()["missing"])

    def give(self, data: bytes, offset: int = 0) -> dict[str, Any]:
        self.tell(sha256=digest(data), size=len(data), offset=offset)
        self.send(data[offset:])
        return self.answer()

    def end(self) -> tuple[int, str]:
        _, errors = self.process.communicate(timeout=LIMIT)
        return self.process.returncode, errors.decode()

    def names(self) -> list[str]:
        return sorted(path.name for path in self.root.rglob("*") if path.is_file())


@pytest.fixture
def receiving(program: Path, tmp_path: Path) -> Iterator[Any]:
    started: list[Receiving] = []

    def make(root: Path | None = None) -> Receiving:
        started.append(Receiving(program, root or tmp_path / "blobs"))
        return started[-1]

    yield make
    for each in started:
        each.process.kill()
        each.process.communicate()


def test_files_are_stored_under_their_digests_and_not_asked_for_again(receiving: Any) -> None:
    contents = [CONTENT, b"small", b""]
    far = receiving()
    assert far.ask(*contents) == {digest(each): 0 for each in contents}
    for each in contents:
        assert far.give(each) == {"stored": digest(each)}
    assert far.end() == (0, "")
    for each in contents:
        path = far.root / digest(each)[:2] / digest(each)
        assert path.read_bytes() == each
        assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    assert receiving().ask(*contents, b"new") == {digest(b"new"): 0}


def test_free_space_is_told_first(receiving: Any, tmp_path: Path) -> None:
    far = receiving()
    far.tell(wanted=[])
    assert 0 < far.answer()["free"] <= shutil.disk_usage(tmp_path).total


@pytest.mark.parametrize("cut", range(0, len(CONTENT), 64 * 1024))
def test_a_cut_costs_nothing_that_was_received(cut: int, receiving: Any) -> None:
    far = receiving()
    far.ask(CONTENT)
    far.tell(sha256=digest(CONTENT), size=len(CONTENT), offset=0)
    far.send(CONTENT[:cut])
    status, errors = far.end()
    assert status == 7 and "within a file" in errors
    assert far.names() == [f"{digest(CONTENT)}.part"]
    far = receiving()
    assert far.ask(CONTENT) == {digest(CONTENT): cut}
    assert far.give(CONTENT, cut) == {"stored": digest(CONTENT)}
    assert far.end() == (0, "") and far.names() == [digest(CONTENT)]


def test_a_process_that_is_killed_leaves_what_it_received(receiving: Any) -> None:
    far = receiving()
    far.ask(CONTENT)
    far.tell(sha256=digest(CONTENT), size=len(CONTENT), offset=0)
    far.send(CONTENT[: 200 * 1024])
    part = far.root / "incoming" / f"{digest(CONTENT)}.part"
    limit = time.monotonic() + LIMIT
    while not part.exists() or part.stat().st_size < 200 * 1024:
        assert time.monotonic() < limit
        time.sleep(0.01)
    far.process.kill()
    far = receiving()
    assert far.ask(CONTENT) == {digest(CONTENT): 200 * 1024}
    assert far.give(CONTENT, 200 * 1024) == {"stored": digest(CONTENT)}


def test_content_of_another_digest_gets_no_name_and_the_next_file_is_taken(receiving: Any) -> None:
    far = receiving()
    far.ask(CONTENT, b"next")
    far.tell(sha256=digest(CONTENT), size=len(CONTENT), offset=0)
    far.send(CONTENT[:-1] + bytes([CONTENT[-1] ^ 1]))
    answer = far.answer()
    assert (answer["kind"], answer["sha256"]) == ("damaged", digest(CONTENT))
    assert far.give(b"next") == {"stored": digest(b"next")}
    assert far.names() == [digest(b"next")]


def test_a_part_that_was_damaged_on_disk_is_found_out_and_begun_anew(receiving: Any) -> None:
    far = receiving()
    far.ask(CONTENT)
    (far.root / "incoming" / f"{digest(CONTENT)}.part").write_bytes(bytes(1000))
    assert far.end()[0] == 0
    far = receiving()
    assert far.ask(CONTENT) == {digest(CONTENT): 1000}
    assert far.give(CONTENT, 1000)["kind"] == "damaged"
    assert far.give(CONTENT) == {"stored": digest(CONTENT)}


def test_an_offset_beyond_what_is_there_is_stale_and_the_next_file_is_taken(receiving: Any) -> None:
    far = receiving()
    far.ask(CONTENT)
    assert far.give(CONTENT, 4096)["kind"] == "stale"
    assert far.give(CONTENT) == {"stored": digest(CONTENT)}


BAD_LINES = {
    "path": {"sha256": "../../etc/passwd", "size": 1, "offset": 0},
    "upper case": {"sha256": "A" * 64, "size": 1, "offset": 0},
    "newline": {"sha256": "a" * 64 + "\n", "size": 1, "offset": 0},
    "no digest": {"size": 1, "offset": 0},
    "negative": {"sha256": "a" * 64, "size": -1, "offset": 0},
    "no number": {"sha256": "a" * 64, "size": "1", "offset": 0},
    "truth": {"sha256": "a" * 64, "size": True, "offset": 0},
    "offset": {"sha256": "a" * 64, "size": 1, "offset": 2},
    "encoding": {"sha256": "a" * 64, "size": 1, "offset": 0, "encoding": "xz"},
}


@pytest.mark.parametrize("case", BAD_LINES)
def test_a_line_that_describes_no_file_ends_it_and_makes_nothing(case: str, receiving: Any) -> None:
    far = receiving()
    far.ask()
    far.tell(**BAD_LINES[case])
    status, errors = far.end()
    assert status == 6 and "does not keep to the protocol" in errors
    assert far.names() == []


@pytest.mark.parametrize("line", [b"garbage\n", b"[]\n", b"{}\n", b'{"wanted": [["../x", 1]]}\n', b'{"wanted": [1]}\n'])
def test_a_first_line_that_is_none_ends_it(line: bytes, receiving: Any) -> None:
    far = receiving()
    far.send(line)
    assert far.end()[0] == 6


def pieces(*contents: bytes) -> list[bytes]:
    """Pieces of one zlib stream, as the sender makes them."""
    compressor = zlib.compressobj(1)
    made = [compressor.compress(each) + compressor.flush(zlib.Z_SYNC_FLUSH) for each in contents]
    return [struct.pack(">I", len(each)) + each for each in made]


def test_compressed_files_share_one_stream_with_raw_ones_between(receiving: Any) -> None:
    texts = [b"def f():\n    return 1\n" * 2000, b"def f():\n    return 2\n" * 2000]
    far = receiving()
    far.ask(*texts, CONTENT)
    first, second, third = pieces(texts[0][:1000], texts[0][1000:], texts[1])
    far.tell(sha256=digest(texts[0]), size=len(texts[0]), offset=0, encoding="zlib")
    far.send(first + second)
    assert far.answer() == {"stored": digest(texts[0])}
    assert far.give(CONTENT) == {"stored": digest(CONTENT)}
    far.tell(sha256=digest(texts[1]), size=len(texts[1]), offset=0, encoding="zlib")
    far.send(third)
    assert far.answer() == {"stored": digest(texts[1])}
    assert far.end() == (0, "")


@pytest.mark.parametrize("body", [pieces(bytes(50 * 1024 * 1024))[0], pieces(b"xy")[0], b"\0\0\0\4ABCD", b"\0\x20\0\0"])
def test_pieces_that_hold_more_than_they_may_or_nothing_readable_end_it(body: bytes, receiving: Any) -> None:
    far = receiving()
    far.ask()
    far.tell(sha256=digest(b"x"), size=1, offset=0, encoding="zlib")
    far.send(body)
    assert far.end()[0] == 6
    assert digest(b"x") not in far.names()


def test_two_at_once_both_store_the_same_file(receiving: Any) -> None:
    """The first may hang with a sender that is gone: the second goes on from what it has, and does not wait for it."""
    one, two = receiving(), receiving()
    one.ask(CONTENT)
    one.tell(sha256=digest(CONTENT), size=len(CONTENT), offset=0)
    one.send(CONTENT[:65536])
    part = one.root / "incoming" / f"{digest(CONTENT)}.part"
    limit = time.monotonic() + LIMIT
    while not part.exists() or part.stat().st_size < 65536:
        assert time.monotonic() < limit
        time.sleep(0.01)
    assert two.ask(CONTENT) == {digest(CONTENT): 65536}
    assert two.give(CONTENT, 65536) == {"stored": digest(CONTENT)}
    one.send(CONTENT[65536:])
    assert one.answer() == {"stored": digest(CONTENT)}
    assert one.end() == two.end() == (0, "")
    assert one.names() == [digest(CONTENT)]
    assert (one.root / digest(CONTENT)[:2] / digest(CONTENT)).read_bytes() == CONTENT


def test_parts_of_processes_that_are_gone_are_removed(receiving: Any) -> None:
    far = receiving()
    far.ask()
    incoming = far.root / "incoming"
    (incoming / f"{'a' * 64}.4711.part").write_bytes(b"x")
    (incoming / f"{'b' * 64}.part").write_bytes(b"x")
    (incoming / f"{'c' * 64}.part").write_bytes(b"x")
    os.utime(incoming / f"{'c' * 64}.part", (0, 0))
    assert far.end()[0] == 0
    far = receiving()
    far.ask()
    assert far.names() == [f"{'b' * 64}.part"]


def test_a_full_disk_is_told_and_left_less_full(receiving: Any, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200k", "none", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        far = receiving(disk / "blobs")
        far.ask(CONTENT)
        far.tell(sha256=digest(CONTENT), size=len(CONTENT), offset=0)
        try:
            far.send(CONTENT)
        except BrokenPipeError as error:
            assert error.errno == errno.EPIPE
        assert far.answer()["kind"] == "disk full"
        assert far.process.wait(LIMIT) == 1
        assert far.names() == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
