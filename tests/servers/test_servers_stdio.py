"""The far end of a channel by itself: what it does with frames that are right, and with those that are not."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from beanpole.agent.frames import PAYLOAD_LIMIT, WINDOW, Decoder, Frame, Kind, encode

pytestmark = pytest.mark.long

LIMIT = 15.0  # seconds for anything to happen


class Far:
    """One process `stdio`, spoken to in frames."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self._decoder = Decoder()
        self._frames: list[Frame] = []

    def send(self, kind: Kind, stream: int, payload: bytes = b"") -> None:
        self.raw(encode(kind, stream, payload))

    def raw(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    async def frame(self) -> Frame:
        assert self.process.stdout is not None
        while not self._frames:
            data = await asyncio.wait_for(self.process.stdout.read(65536), LIMIT)
            assert data, "the far end ended"
            self._frames += self._decoder.feed(data)
        return self._frames.pop(0)

    async def until(self, kind: Kind, stream: int) -> tuple[bytes, bytes]:
        """The data of that stream before the first frame of that kind, and this one's payload."""
        data = b""
        while True:
            found, number, payload = await self.frame()
            if (found, number) == (kind, stream):
                return data, payload
            if (found, number) == (Kind.DATA, stream):
                data += payload

    async def end(self) -> tuple[int, str]:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return await self.ended()

    async def ended(self) -> tuple[int, str]:
        """Its status and its last words, once it has ended."""
        assert self.process.stdout is not None and self.process.stderr is not None
        async with asyncio.timeout(LIMIT):
            # All that it prints is read: asyncio does not notice the end of a process otherwise.
            _, errors = await asyncio.gather(self.process.stdout.read(), self.process.stderr.read())
            return await self.process.wait(), errors.decode()


@asynccontextmanager
async def far_end(program: Path, folder: Path) -> AsyncIterator[Far]:
    pipe = asyncio.subprocess.PIPE
    words = [sys.executable, "-I", str(program), "stdio", "--folder", str(folder)]
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
    far = Far(process)
    try:
        kind, stream, payload = await far.frame()
        assert (kind, stream) == (Kind.HELLO, 0)
        hello = json.loads(payload)
        assert hello["protocol"] == [1, 1] and hello["pid"] == process.pid and hello["version"]
        yield far
    finally:
        if process.returncode is None:
            process.kill()
            await far.ended()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes, and the number of bytes when that ends."""
    count = 0
    with contextlib.suppress(ConnectionError):  # the far end was ended by a test
        while data := await reader.read(65536):
            count += len(data)
            writer.write(data)
            await writer.drain()
        writer.write(f"<{count}>".encode())
    writer.close()


def with_echo(program: Path, folder: Path, story: Callable[[Far], Awaitable[None]]) -> None:
    async def run() -> None:
        async with await asyncio.start_unix_server(echo, str(folder / "echo.sock")), far_end(program, folder) as far:
            await story(far)

    asyncio.run(run())


def test_a_half_closed_stream_still_answers_and_is_closed_when_both_ways_are_done(program: Path, sockets: Path) -> None:
    async def story(far: Far) -> None:
        far.send(Kind.OPEN, 1, b"echo")
        far.send(Kind.DATA, 1, b"good day")
        far.send(Kind.END, 1)
        assert await far.until(Kind.END, 1) == (b"good day<8>", b"")
        assert await far.until(Kind.CLOSE, 1) == (b"", b"")
        assert await far.end() == (0, "")

    with_echo(program, sockets, story)


@pytest.mark.parametrize("name", ["../echo", "echo.sock", "", "a" * 41, "Echo", "e/cho", "e\0cho", "ä"])
def test_only_plain_names_reach_a_socket(name: str, program: Path, sockets: Path) -> None:
    async def story(far: Far) -> None:
        far.send(Kind.OPEN, 1, name.encode())
        assert b"no name of an agent's socket" in (await far.until(Kind.CLOSE, 1))[1]
        far.send(Kind.OPEN, 2, b"echo")  # and the channel goes on
        far.send(Kind.DATA, 2, b"x")
        assert (await far.frame())[2] == b"x"

    with_echo(program, sockets, story)


def test_an_agent_that_is_not_there_is_told_with_its_socket(program: Path, sockets: Path) -> None:
    async def story(far: Far) -> None:
        far.send(Kind.OPEN, 1, b"i-1")
        far.send(Kind.DATA, 1, b"GET")
        reason = (await far.until(Kind.CLOSE, 1))[1].decode()
        assert str(sockets / "i-1.sock") in reason and "No such file" in reason
        far.send(Kind.DATA, 1, b"more")  # sent before the other side knew: ignored
        far.send(Kind.CLOSE, 1)
        assert await far.end() == (0, "")

    with_echo(program, sockets, story)


BAD = {
    "garbage": b"Welcome to web1! You have mail.\n",
    "oversized": (PAYLOAD_LIMIT + 1).to_bytes(4, "big") + b"\2\0\0\0\1",
    "unknown kind": b"\0\0\0\0\x09\0\0\0\1",
    "never opened": encode(Kind.DATA, 7, b"x"),
    "opened twice": encode(Kind.OPEN, 1, b"echo") * 2,
    "hello": encode(Kind.HELLO, 0, b"{}"),
    "too much": encode(Kind.OPEN, 1, b"echo") + encode(Kind.DATA, 1, bytes(32768)) * (WINDOW // 32768 * 16),
    "credit": encode(Kind.OPEN, 1, b"echo") + encode(Kind.CREDIT, 1, b"\0\0\0\1"),
    "after end": encode(Kind.OPEN, 1, b"echo") + encode(Kind.END, 1) + encode(Kind.DATA, 1, b"x"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_the_protocol_ends_it_and_is_named(case: str, program: Path, sockets: Path) -> None:
    async def story(far: Far) -> None:
        far.raw(BAD[case])
        status, errors = await far.ended()
        assert status == 6 and "does not keep to the protocol" in errors

    with_echo(program, sockets, story)


def test_the_end_of_stdin_ends_it_also_with_open_streams(program: Path, sockets: Path) -> None:
    async def story(far: Far) -> None:
        for number in range(1, 20):
            far.send(Kind.OPEN, number, b"echo")
            far.send(Kind.DATA, number, b"x")
            await far.until(Kind.DATA, number)
        assert await far.end() == (0, "")

    with_echo(program, sockets, story)


def test_an_answer_that_nobody_takes_stays_at_its_window_while_others_go_on(program: Path, sockets: Path) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first = await reader.read(1)
        with_big = first == b"B"
        writer.write(bytes(10 * 1024 * 1024) if with_big else b"small")
        if not with_big:
            writer.close()

    async def run() -> None:
        server = await asyncio.start_unix_server(talk, str(sockets / "talk.sock"))
        async with server, far_end(program, sockets) as far:
            far.send(Kind.OPEN, 1, b"talk")
            far.send(Kind.DATA, 1, b"B")
            came = 0
            while came < WINDOW:
                came += len((await far.frame())[2])
            assert came == WINDOW
            for number in range(2, 12):
                far.send(Kind.OPEN, number, b"talk")
                far.send(Kind.DATA, number, b"s")
                # Were there one byte more of the first stream, it would come before this.
                assert await far.frame() == (Kind.DATA, number, b"small")
                assert (await far.frame())[:2] == (Kind.END, number)
                far.send(Kind.CLOSE, number)
            far.send(Kind.CREDIT, 1, (1000).to_bytes(4, "big"))
            kind, number, payload = await far.frame()
            assert (kind, number, len(payload)) == (Kind.DATA, 1, 1000)

    asyncio.run(run())


def test_it_runs_with_the_oldest_python_that_is_here(program: Path, sockets: Path) -> None:
    found = [Path(folder) / f"python3.{minor}" for minor in (9, 10) for folder in os.get_exec_path()]
    python = next((path for path in found if os.access(path, os.X_OK)), None)
    if python is None:
        pytest.skip("neither Python 3.9 nor 3.10 is here")

    async def run() -> bytes:
        pipe = asyncio.subprocess.PIPE
        words = [str(python), "-I", str(program), "stdio", "--folder", str(sockets)]
        process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=pipe)
        out, errors = await asyncio.wait_for(process.communicate(encode(Kind.OPEN, 1, b"nobody")), LIMIT)
        if process.returncode == 127:
            pytest.skip("that Python is a name without a program")
        assert (process.returncode, errors) == (0, b"")
        return out

    assert next(Decoder().feed(asyncio.run(run())))[0] is Kind.HELLO
