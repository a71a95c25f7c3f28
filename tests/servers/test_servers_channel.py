"""Both ends of a channel together, over pipes: streams that behave as sockets do, and none that holds up another."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from agent_site import Site
from piped import PipedConnection

from beanpole.agent.frames import WINDOW
from beanpole.fleet.servers.channel import Channel
from beanpole.fleet.servers.failure import ProgramFailed
from beanpole.fleet.servers.stream import SocketGone

pytestmark = pytest.mark.long

LIMIT = 30.0  # seconds for a whole story
BIG = 50 * 1024 * 1024


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """`echo`: sends back what comes; `big N`: sends N bytes; `sink`: takes all, says how much."""
    order = (await reader.readline()).split()
    if order[:1] == [b"big"]:
        for _ in range(int(order[1]) // 65536):
            writer.write(bytes(65536))
            await writer.drain()
    elif order == [b"sink"]:
        count = 0
        while data := await reader.read(65536):
            count += len(data)
        writer.write(f"{count}".encode())
    else:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


Story = Callable[[Channel, PipedConnection], Awaitable[None]]


def tell(program: Path, sockets: Path, story: Story, python: str = sys.executable) -> None:
    async def run() -> None:
        connection = PipedConnection()
        channel = Channel(connection, str(program), python=python, become=(), folder=str(sockets))  # type: ignore[arg-type]
        async with await asyncio.start_unix_server(serve, str(sockets / "i-1.sock")), asyncio.timeout(LIMIT):
            try:
                await story(channel, connection)
            finally:
                await channel.close()
                await connection.close()

    asyncio.run(run())


async def say(channel: Channel, words: bytes) -> bytes:
    """One short conversation."""
    reader, writer = await channel.open("i-1")
    writer.write(b"echo\n" + words)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


def test_many_streams_at_once_through_one_process(program: Path, sockets: Path) -> None:
    async def story(channel: Channel, connection: PipedConnection) -> None:
        texts = [b"%d " % number * (number * 7) for number in range(300)]
        assert await asyncio.gather(*(say(channel, text) for text in texts)) == texts
        assert len(connection.sessions) == 1

    tell(program, sockets, story)


def test_small_calls_end_while_a_big_answer_is_under_way(program: Path, sockets: Path) -> None:
    async def story(channel: Channel, connection: PipedConnection) -> None:
        reader, writer = await channel.open("i-1")
        writer.write(b"big %d\n" % BIG)
        await reader.readexactly(1)
        during = 0
        big = asyncio.create_task(reader.read(-1))
        while not big.done():
            assert await say(channel, b"small") == b"small"
            during += 1
        assert len(await big) == BIG - 1
        assert during > 5
        writer.close()

    tell(program, sockets, story)


def test_a_reader_that_stops_costs_a_window_and_holds_up_nobody(program: Path, sockets: Path) -> None:
    async def story(channel: Channel, connection: PipedConnection) -> None:
        reader, writer = await channel.open("i-1")
        writer.write(b"big %d\n" % BIG)
        await reader.readexactly(1)
        for _ in range(50):
            assert await say(channel, b"small") == b"small"
        held = len(reader._buffer) + sum(map(len, writer.transport._unread))  # type: ignore[attr-defined]
        assert held <= 2 * WINDOW
        assert len(await reader.read(-1)) == BIG - 1
        writer.close()

    tell(program, sockets, story)


def test_a_writer_waits_for_whoever_reads_at_the_other_side(program: Path, sockets: Path) -> None:
    async def story(channel: Channel, connection: PipedConnection) -> None:
        gate = asyncio.Event()

        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await gate.wait()
            writer.write(b"%d" % len(await reader.read()))
            writer.close()

        async with await asyncio.start_unix_server(slow, str(sockets / "slow.sock"), limit=1024):
            reader, writer = await channel.open("slow")

            async def fill() -> None:
                for _ in range(200):
                    writer.write(bytes(65536))
                    await writer.drain()
                writer.write_eof()

            filling = asyncio.create_task(fill())
            for _ in range(20):
                assert await say(channel, b"small") == b"small"
            assert not filling.done()
            gate.set()
            await filling
            assert await reader.read() == b"%d" % (200 * 65536)
            writer.close()

    tell(program, sockets, story)


def test_what_was_written_before_close_arrives(program: Path, sockets: Path) -> None:
    async def story(channel: Channel, connection: PipedConnection) -> None:
        came: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            came.set_result(len(await reader.read()))
            writer.close()

        async with await asyncio.start_unix_server(count, str(sockets / "count.sock")):
            _, writer = await channel.open("count")
            writer.write(bytes(3 * WINDOW))
            writer.close()
            await writer.wait_closed()
            assert await came == 3 * WINDOW

    tell(program, sockets, story)


def test_a_lost_process_resets_every_stream_and_the_next_open_starts_another(program: Path, sockets: Path) -> None:
    async def story(channel: Channel, connection: PipedConnection) -> None:
        streams = [await channel.open("i-1") for _ in range(5)]
        for reader, writer in streams:
            writer.write(b"echo\nhere")
            assert await reader.readexactly(4) == b"here"
        waiting = [asyncio.create_task(reader.read()) for reader, _ in streams]
        connection.sessions[0].kill()
        for result in await asyncio.gather(*waiting, return_exceptions=True):
            assert isinstance(result, ConnectionResetError)
        writer = streams[0][1]
        with pytest.raises(ConnectionResetError):
            writer.write(b"x")
            await writer.drain()
        assert await say(channel, b"again") == b"again"
        assert len(connection.sessions) == 2

    tell(program, sockets, story)


def test_a_socket_that_is_not_there_is_told_when_the_stream_is_read(program: Path, sockets: Path) -> None:
    async def story(channel: Channel, connection: PipedConnection) -> None:
        reader, writer = await channel.open("i-2")
        writer.write(b"GET")
        with pytest.raises(SocketGone, match=r"i-2\.sock"):
            await reader.read()
        assert await say(channel, b"fine") == b"fine"

    tell(program, sockets, story)


def test_an_agent_that_dies_is_told_apart_from_a_server_that_is_away(program: Path, sockets: Path) -> None:
    async def story(channel: Channel, connection: PipedConnection) -> None:
        async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # With bytes unread, the kernel resets the connection.
            writer.transport.abort()

        async with await asyncio.start_unix_server(die, str(sockets / "die.sock")):
            reader, writer = await channel.open("die")
            writer.write(b"xyz")
            with pytest.raises(SocketGone, match="broke"):
                await reader.read()
            assert await say(channel, b"fine") == b"fine"

    tell(program, sockets, story)


def test_a_shell_that_prints_something_is_named_with_what_it_printed(tmp_path: Path, sockets: Path) -> None:
    noisy = tmp_path / "noisy.py"
    noisy.write_text("print('Welcome to web1!', flush=True); import sys; sys.stdin.read()")

    async def story(channel: Channel, connection: PipedConnection) -> None:
        with pytest.raises(ProgramFailed, match=r"'Welcome to web1!'") as caught:
            await channel.open("i-1")
        assert "start files" in caught.value.remedy and not caught.value.unknown

    tell(noisy, sockets, story)


def test_a_program_that_does_not_start_is_told_with_its_last_words(tmp_path: Path, sockets: Path) -> None:
    async def story(channel: Channel, connection: PipedConnection) -> None:
        with pytest.raises(ProgramFailed, match=r"status 2: .*can't open file"):
            await channel.open("i-1")

    tell(tmp_path / "missing.pyz", sockets, story)


def test_a_program_of_a_later_protocol_is_not_spoken_to(tmp_path: Path, sockets: Path) -> None:
    later = tmp_path / "later.py"
    hello = b'{"protocol": [2, 3], "version": "9"}'
    frame = len(hello).to_bytes(4, "big") + b"\0\0\0\0\0" + hello
    later.write_text(f"import sys; sys.stdout.buffer.write({frame!r}); sys.stdout.flush(); sys.stdin.read()")

    async def story(channel: Channel, connection: PipedConnection) -> None:
        with pytest.raises(ProgramFailed, match="protocols 2 to 3"):
            await channel.open("i-1")

    tell(later, sockets, story)


def test_closing_while_streams_wait_ends_them(program: Path, sockets: Path) -> None:
    async def story(channel: Channel, connection: PipedConnection) -> None:
        reader, _ = await channel.open("i-1")
        await channel.close()
        with pytest.raises(ConnectionResetError, match="closed here"):
            await reader.read()

    tell(program, sockets, story)


def test_a_real_agent_answers_through_a_channel_as_over_its_socket(program: Path, tmp_path: Path) -> None:
    site = Site(tmp_path, program).start()

    async def story(channel: Channel, connection: PipedConnection) -> None:
        async def get(path: bytes) -> bytes:
            reader, writer = await channel.open("a")
            writer.write(b"GET %s HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n" % path)
            answer = await reader.read()
            writer.close()
            return answer

        answers = await asyncio.gather(*(get(b"/hello") for _ in range(100)))
        assert all(answer.startswith(b"HTTP/1.1 200 OK") and b"store-1" in answer for answer in answers)
        assert (await get(b"/nothing")).startswith(b"HTTP/1.1 404")

    try:
        tell(program, site.sockets, story)
    finally:
        site.close()
