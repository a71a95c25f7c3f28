"""Transfers to a real sshd, in the process that does them: what is sent, gone on with, refused, and cancelled."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from sshd_site import Sshd, eventually

from beanpole.fleet.servers import layout
from beanpole.fleet.servers.server import Server
from beanpole.fleet.servers.transfer import Destination, OnProgress, Sent, TransferFailed, send
from beanpole.store.hosts import Host

pytestmark = pytest.mark.long

LIMIT = 60.0  # seconds for a whole transfer
RANDOM = random.Random(11).randbytes(3 * 1024 * 1024 + 5)  # which no compression makes smaller
TEXT = b"def f(x):\n    return x + 1\n" * 60_000
File = tuple[Path, str, int]


@pytest.fixture
def destination(sshd: Sshd, program: Path, tmp_path: Path) -> Destination:
    root = str(tmp_path / "there" / "blobs")
    return Destination(sshd.address(), str(sshd.host_key), str(program), root, sys.executable, ())


@pytest.fixture
def new_file(tmp_path: Path) -> Callable[[bytes], File]:
    def make(data: bytes) -> File:
        digest = hashlib.sha256(data).hexdigest()
        path = tmp_path / f"here-{digest[:12]}"
        path.write_bytes(data)
        return path, digest, len(data)

    return make


NewFile = Callable[[bytes], File]


def run(destination: Destination, files: list[File], on_progress: OnProgress | None = None) -> Sent:
    return asyncio.run(asyncio.wait_for(send(destination, files, on_progress), LIMIT))


def fails(destination: Destination, files: list[File]) -> TransferFailed:
    with pytest.raises(TransferFailed) as caught:
        run(destination, files)
    assert caught.value.cause and caught.value.remedy
    return caught.value


def there(destination: Destination, file: File) -> bytes:
    return (Path(destination.root) / file[1][:2] / file[1]).read_bytes()


def part(destination: Destination, file: File) -> Path:
    return Path(destination.root) / "incoming" / f"{file[1]}.part"


def test_what_is_missing_is_sent_compressed_and_what_is_there_is_not(
    destination: Destination, new_file: NewFile
) -> None:
    contents = [RANDOM, TEXT, b"", *(b"# file %d\n" % number * 20 for number in range(200))]
    files = [new_file(each) for each in contents]
    lines: list[tuple[int, int, str]] = []
    total = sum(map(len, contents))
    sent = run(destination, files, lambda *line: lines.append(line))
    assert (sent.sent, sent.skipped) == (total, 0)
    assert len(RANDOM) < sent.wire < len(RANDOM) + len(TEXT) // 5
    assert [there(destination, file) for file in files] == contents
    assert lines[-1][:2] == (total, total)
    assert [line[0] for line in lines] == sorted(line[0] for line in lines) and {line[1] for line in lines} == {total}
    assert {line[2] for line in lines} <= {str(file[0]) for file in files}
    more = new_file(b"one more")
    assert run(destination, [*files, more, more]) == Sent(8, len(files), run_wire := sent_wire(b"one more", more))
    assert run_wire < 200
    assert run(destination, []) == Sent(0, 0, 0)


def sent_wire(data: bytes, file: File) -> int:
    """Bytes that one short file takes: its line and its content, which compression would make longer."""
    return len(json.dumps({"sha256": file[1], "size": file[2], "offset": 0}).encode()) + 1 + len(data)


def test_little_goes_over_the_connection_that_is_kept_and_much_does_not(
    sshd: Sshd, program: Path, new_file: NewFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "BLOBS", str(tmp_path / "blobs"))
    little, more, much = new_file(b"x = 1\n"), new_file(b"x = 2\n"), new_file(RANDOM)
    row = Host(
        id="h-1",
        name="web1",
        address=json.dumps(sshd.address().to_json()),
        host_key=str(sshd.host_key),
        app_port=80,
        labels="[]",
        state="ready",
        python=sys.executable,
        added_at=0,
    )
    server = Server(row, "store-1")
    server.become = ()

    async def delivered() -> list[int]:
        try:
            return [(await server.deliver([file], program=str(program))).sent for file in (little, more, much)]
        finally:
            await server.close()

    assert asyncio.run(delivered()) == [6, 6, len(RANDOM)]
    for path, digest, _ in (little, more, much):
        assert (tmp_path / "blobs" / digest[:2] / digest).read_bytes() == path.read_bytes()
    eventually("two connections", lambda: sshd.log.count("Accepted publickey") >= 2)
    assert sshd.log.count("Accepted publickey") == 2


def test_what_a_cut_left_is_gone_on_with(destination: Destination, new_file: NewFile) -> None:
    file = new_file(RANDOM)
    part(destination, file).parent.mkdir(parents=True)
    part(destination, file).write_bytes(RANDOM[:2_000_000])
    assert run(destination, [file]).sent == len(RANDOM) - 2_000_000
    assert there(destination, file) == RANDOM


def test_a_part_that_is_damaged_is_sent_anew(destination: Destination, new_file: NewFile) -> None:
    file = new_file(RANDOM)
    part(destination, file).parent.mkdir(parents=True)
    part(destination, file).write_bytes(bytes(2_000_000))
    assert run(destination, [file]).sent == 2 * len(RANDOM) - 2_000_000
    assert there(destination, file) == RANDOM


def test_a_cut_in_the_middle_is_gone_over_by_itself(sshd: Sshd, destination: Destination, new_file: NewFile) -> None:
    data = RANDOM * 10
    file, cuts = new_file(data), []

    def cut(done: int, total: int, name: str) -> None:
        # When the server surely has something, and what is under way is not all of the rest.
        if not cuts and done > 8_000_000:
            eventually("a part is there", lambda: part(destination, file).exists())
            cuts.append(sshd.cut())

    sent = run(destination, [file], cut)
    assert cuts and cuts[0] > 0
    assert sshd.log.count("Accepted publickey") == 2
    assert len(data) <= sent.sent < 2 * len(data)
    assert there(destination, file) == data


def test_a_server_that_cannot_be_reached_is_unknown_and_not_failed(
    sshd: Sshd, destination: Destination, new_file: NewFile
) -> None:
    sshd.stop()
    error = fails(destination, [new_file(b"x")])
    assert (error.kind, error.unknown) == ("unreachable", True)


def test_refusals_are_told_apart(sshd: Sshd, destination: Destination, new_file: NewFile, tmp_path: Path) -> None:
    file = new_file(b"x")
    error = fails(replace(destination, address=sshd.address(user="nobody-of-that-name")), [file])
    assert (error.kind, error.unknown) == ("refused", False)
    other = (sshd.folder / "user_key.pub").read_text()
    error = fails(replace(destination, host_key=other), [file])
    assert error.kind == "host key" and sshd.host_key.fingerprint in error.cause
    error = fails(replace(destination, program=str(tmp_path / "missing.pyz")), [file])
    assert error.kind == "program" and "can't open file" in error.cause
    error = fails(replace(destination, become=("sh", "-c", "echo Welcome!; cat >&2")), [file])
    assert error.kind == "program" and "Welcome!" in error.cause
    assert not Path(destination.root).exists()


def test_files_here_that_are_not_what_they_should_be(destination: Destination, new_file: NewFile) -> None:
    good, missing, short, wrong = new_file(b"good"), new_file(b"missing"), new_file(b"short"), new_file(TEXT)
    missing[0].unlink()
    assert fails(destination, [missing]).kind == "source"
    short[0].write_bytes(b"shor")
    assert fails(destination, [short]).kind == "source"
    wrong[0].write_bytes(TEXT[:-1] + b"!")
    error = fails(destination, [wrong, good])
    assert error.kind == "damaged" and str(wrong[0]) in error.cause
    assert run(destination, [good]).sent + run(destination, [good]).skipped <= 5
    assert not (Path(destination.root) / wrong[1][:2] / wrong[1]).exists()


def test_a_disk_that_is_too_small_is_told_before_anything_is_sent(
    destination: Destination, new_file: NewFile, tmp_path: Path
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    disk = tmp_path / "disk"
    disk.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=18m", "none", str(disk)]
    if subprocess.run(words, check=False, capture_output=True).returncode:
        pytest.skip("a tmpfs cannot be mounted here")
    try:
        error = fails(replace(destination, root=str(disk / "blobs")), [new_file(RANDOM)])
        assert error.kind == "disk full" and "free" in error.cause
        assert [path for path in disk.rglob("*") if path.is_file()] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_cancelling_ends_the_process_and_its_session_there(
    sshd: Sshd, destination: Destination, new_file: NewFile
) -> None:
    file = new_file(RANDOM * 30)

    async def story() -> None:
        begun = asyncio.Event()
        sending = asyncio.create_task(send(destination, [file], lambda *line: begun.set()))
        await asyncio.wait_for(begun.wait(), LIMIT)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending

    asyncio.run(story())
    eventually("the session there has ended", lambda: sshd.sessions() == [])
    assert not Path(there_path(destination, file)).exists()
    before = part(destination, file).stat().st_size
    assert run(destination, [file]).sent == len(RANDOM) * 30 - before


def there_path(destination: Destination, file: File) -> Path:
    return Path(destination.root) / file[1][:2] / file[1]


def test_a_very_long_list(destination: Destination, new_file: NewFile) -> None:
    """Its answer is longer than a window of SSH."""
    path, _, size = new_file(b"12345678")
    path.unlink()
    files = [(path, hashlib.sha256(b"%d" % number).hexdigest(), size) for number in range(50_000)]
    assert fails(destination, files).kind == "source"


def test_two_transfers_of_the_same_file_at_once(destination: Destination, new_file: NewFile) -> None:
    """As two environments on one server do that deploy the same version."""
    file = new_file(RANDOM)

    async def story() -> None:
        await asyncio.wait_for(asyncio.gather(send(destination, [file]), send(destination, [file])), LIMIT)

    asyncio.run(story())
    assert there(destination, file) == RANDOM


def test_a_document_that_is_none_is_told_as_such(destination: Destination) -> None:
    words = [sys.executable, "-m", "beanpole.fleet.servers.transfer"]
    for text in ("", "{}", "[]", json.dumps({**destination.to_json(), "files": [["x"]]})):
        ended = subprocess.run(words, input=text, check=False, capture_output=True, text=True)
        assert ended.returncode == 1 and ended.stderr == ""
        assert json.loads(ended.stdout)["kind"] == "internal"
