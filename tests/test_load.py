"""The load generator tells every failure that a client would see, and none that it would not."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests" / "balancer")]

from balancer_home import until  # noqa: E402
from echo_app import EchoApp  # noqa: E402

from load import Load, Report, Settings, settings_from  # noqa: E402

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def request(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[int]:
    """Talks like that on each connection and then closes it. Gives the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await talk(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client is done
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with listening:
        yield listening.sockets[0].getsockname()[1]


async def run_load(port: int, count: int = 10, **settings: object) -> Report:
    """The report after at least that many requests."""
    async with Load(Settings(**{"port": port, "rate": 500.0, "timeout": 2.0, **settings})) as load:  # type: ignore[arg-type]
        await load.more(count - load.sent)
    return load.report()


def answering(answer: bytes) -> Talk:
    """The same to every request, the connection stays."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            writer.write(answer)

    return talk


def kinds(talk: Talk, **settings: object) -> dict[str, int]:
    async def run() -> dict[str, int]:
        async with server(talk) as port:
            report = await run_load(port, **settings)
            assert report.answered + report.failed == report.sent
            assert len(report.failures) == report.failed == sum(report.kinds.values())
            return report.kinds

    return asyncio.run(run())


def test_everything_at_once_and_nothing_fails() -> None:
    async def run() -> None:
        app = await EchoApp("7").start()
        settings = {"websocket": "/ws", "idle": 4, "slow_path": "/slow?s=0.05", "slow_every": 0.02, "post": 0.3}
        report = await run_load(app.port, 100, **settings)
        assert (report.failed, report.kinds, report.failures) == (0, {}, [])
        assert report.sent == report.answered == app.requests
        assert report.statuses == {"200": report.sent - 1, "101": 1}
        assert report.versions["7"].count == report.sent - 1  # from the JSON body
        assert report.versions["7"].first <= report.versions["7"].last <= report.seconds
        assert set(report.latency_ms) == {"p50", "p99", "max"}
        assert report.latency_ms["p50"] <= report.latency_ms["max"]
        assert report.echoes >= 1

    asyncio.run(run())


def test_shares_of_new_connections_and_posts() -> None:
    async def run() -> None:
        app = await EchoApp("1").start()
        report = await run_load(app.port, 100, keep_alive=0.0)
        assert report.connections == report.sent
        # One at a time needs few kept connections; each fifth request has one of its own.
        report = await run_load(app.port, 100, keep_alive=0.8, rate=100.0)
        assert report.sent / 5 <= report.connections < report.sent / 2

    asyncio.run(run())


def test_a_version_in_a_header_and_the_host() -> None:
    heads = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            heads.append(await request(reader))
            writer.write(b"HTTP/1.1 200 OK\r\nX-App-Version: v9\r\nContent-Length: 0\r\n\r\n")

    async def run() -> None:
        async with server(talk) as port:
            report = await run_load(port, host="shop.localhost:8080")
        assert list(report.versions) == ["v9"]
        assert all(b"\r\nHost: shop.localhost:8080\r\n" in head for head in heads)

    asyncio.run(run())


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n3;x=y\r\nyes\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100_000,
        b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_whole_answers_are_no_failure(answer: bytes) -> None:
    assert kinds(answering(answer)) == {}


def test_a_body_that_ends_with_the_connection_is_no_failure() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nuntil the end")

    assert kinds(talk) == {}


def test_statuses() -> None:
    answer = b"HTTP/1.1 503 Sorry\r\nContent-Length: 0\r\n\r\n"
    assert list(kinds(answering(answer))) == ["status 503"]
    assert kinds(answering(answer), allowed=(503,)) == {}


def test_a_cut_off_answer() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")

    assert list(kinds(talk)) == ["cut off"]


def test_half_a_head() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nCont")

    assert list(kinds(talk)) == ["cut off"]


def test_no_answer_on_a_new_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)

    assert list(kinds(talk)) == ["no answer: end of stream"]


def test_a_kept_connection_that_ends_instead_of_answering_is_stale() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK)
        await request(reader)

    found = kinds(talk, keep_alive=1.0, rate=50.0)
    assert list(found) == ["stale"]


def test_a_kept_connection_that_ended_before_is_noticed() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        writer.write(OK)

    async def run() -> None:
        async with server(talk) as port:
            report = await run_load(port, keep_alive=1.0, rate=50.0)
        assert report.failed == 0
        assert report.reconnected > 0

    asyncio.run(run())


def test_connection_close_is_obeyed() -> None:
    async def run() -> None:
        async with server(answering(OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))) as port:
            report = await run_load(port, keep_alive=1.0)
        assert report.failed == 0
        assert report.connections == report.sent

    asyncio.run(run())


def test_silence_is_a_failure_after_the_time_out() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    assert list(kinds(talk, timeout=0.1)) == ["no answer in 0.1 s"]


def test_nonsense_is_a_failure() -> None:
    assert list(kinds(answering(b"what?\r\n\r\n"))) == ["not HTTP"]


def test_nobody_listens() -> None:
    async def run() -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            report = await run_load(probe.getsockname()[1], idle=1, websocket="/ws")
        assert set(report.kinds) == {"connect: ConnectionRefusedError", "websocket: connect: ConnectionRefusedError"}
        assert report.failed == report.sent

    asyncio.run(run())


def test_a_websocket_that_is_cut() -> None:
    async def run() -> None:
        app = await EchoApp("1").start()
        async with Load(Settings(port=app.port, rate=1.0, websocket="/ws")) as load:
            await until(lambda: load.report().echoes)
            app.kill()
            await until(lambda: any(kind.startswith("websocket: cut off") for kind in load.report().kinds))

    asyncio.run(run())


def test_a_websocket_that_is_refused() -> None:
    assert kinds(answering(OK), websocket="/ws") == {"websocket: status 200": 1}


def test_idle_connections_are_used_once_more_at_the_end() -> None:
    async def run(close: bool) -> Report:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await request(reader)
            writer.write(OK)
            if not close:
                await request(reader)
                writer.write(OK)

        async with server(talk) as port:
            return await run_load(port, count=3 + 5, idle=3, keep_alive=0.0)

    kept, closed = asyncio.run(run(close=False)), asyncio.run(run(close=True))
    assert kept.failed == closed.failed == 0
    assert (kept.reconnected, closed.reconnected) == (0, 3)


@pytest.mark.slow
def test_the_command_runs_until_its_input_closes() -> None:
    async def run() -> None:
        app = await EchoApp("7").start()
        words = [
            ROOT / "tools" / "load.py",
            f"127.0.0.1:{app.port}",
            "--host",
            "shop",
            "--rate",
            "100",
            "--post",
            "0.5",
        ]
        pipe = asyncio.subprocess.PIPE
        command = await asyncio.create_subprocess_exec(sys.executable, *map(str, words), stdin=pipe, stdout=pipe)
        assert command.stdout is not None
        assert "started_at" in json.loads(await asyncio.wait_for(command.stdout.readline(), 10))
        await until(lambda: app.requests >= 20)
        output, _ = await asyncio.wait_for(command.communicate(b""), 10)
        report = json.loads(output)
        assert command.returncode == 0
        assert report["sent"] == report["answered"] == app.requests
        assert report["versions"]["7"]["count"] == app.requests

    asyncio.run(run())


def test_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    settings, seconds, out = settings_from(["[::1]:80", "--seconds", "3", "--allow", "404", "--slow-every", "2"])
    assert settings == Settings(port=80, address="::1", host="::1:80", slow_every=2.0, allowed=(404,))
    assert (seconds, out) == (3.0, None)
    with pytest.raises(SystemExit):
        settings_from(["nowhere"])
    assert "ADDRESS:PORT" in capsys.readouterr().err
