"""Connections to a real sshd: logins and refusals that say why, pinned host keys, cuts, jump hosts."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncssh
import pytest
from sshd_site import QUICK, Sshd, eventually, keypair

from beanpole.fleet.servers.address import Address
from beanpole.fleet.servers.channel import Channel
from beanpole.fleet.servers.connection import Connection, fetch_host_key
from beanpole.fleet.servers.dial import Limits
from beanpole.fleet.servers.failure import (
    ConnectionFailed,
    Dropped,
    HostKeyChanged,
    HostKeyUnknown,
    LoginRefused,
    Overdue,
    Unreachable,
)

pytestmark = pytest.mark.long

LIMIT = 10.0  # seconds for a command
SHORT = Limits(connect=0.4, login=0.4)
NewSshd = Callable[..., Sshd]


def with_connection(
    address: Address, key: str | None, story: Callable[[Connection], Awaitable[None]], limits: Limits = QUICK
) -> None:
    async def run() -> None:
        connection = Connection(address, key, limits)
        try:
            await story(connection)
        finally:
            await connection.close()

    asyncio.run(run())


def failure(address: Address, key: str | None, limits: Limits = QUICK) -> ConnectionFailed:
    """What a connection there fails with."""
    found: list[ConnectionFailed] = []

    async def story(connection: Connection) -> None:
        with pytest.raises(ConnectionFailed) as caught:
            await connection.run(["true"], limit=LIMIT)
        found.append(caught.value)

    with_connection(address, key, story, limits)
    assert found[0].cause and found[0].remedy
    return found[0]


def test_commands_run_with_exactly_their_words(sshd: Sshd) -> None:
    async def story(connection: Connection) -> None:
        words = ["a b", "$HOME", "`id`", "'\"", "new\nline", "*", "-n", "", "ä"]
        ran = await connection.run(["printf", "%s|", *words], limit=LIMIT)
        assert (ran.status, ran.stdout.decode()) == (0, "|".join(words) + "|")
        ran = await connection.run(["sh", "-c", "cat; echo oops >&2; exit 7"], b"from here\0", limit=LIMIT)
        assert (ran.status, ran.stdout, ran.stderr) == (7, b"from here\0", b"oops\n")
        ran = await connection.run(["sh", "-c", "kill -9 $$"], limit=LIMIT)
        assert ran.status == -1 and b"SIGKILL" in ran.stderr
        with pytest.raises(ValueError, match="zero byte"):
            await connection.run(["a\0b"], limit=LIMIT)

    with_connection(sshd.address(), str(sshd.host_key), story)


def test_a_script_is_no_word_of_a_command(sshd: Sshd) -> None:
    async def story(connection: Connection) -> None:
        ran = await connection.run_script('x=\'a "b"\'\nprintf %s "$x"\nexit 3\n', limit=LIMIT)
        assert (ran.status, ran.stdout) == (3, b'a "b"')

    with_connection(sshd.address(), str(sshd.host_key), story)


def test_many_commands_at_once_share_one_login(sshd: Sshd) -> None:
    """More than an sshd's MaxSessions."""

    async def story(connection: Connection) -> None:
        ran = await asyncio.gather(*(connection.run(["echo", str(n)], limit=LIMIT) for n in range(30)))
        assert [each.stdout for each in ran] == [b"%d\n" % n for n in range(30)]
        assert sshd.log.count("Accepted publickey") == 1

    with_connection(sshd.address(), str(sshd.host_key), story)


def test_the_first_contact_only_learns_the_key(sshd: Sshd) -> None:
    found = asyncio.run(fetch_host_key(sshd.address(), QUICK))
    assert found == sshd.host_key
    printed = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(sshd.folder / "host_key.pub")], check=True, capture_output=True, text=True
    ).stdout
    assert found.fingerprint in printed.split()
    assert "Accepted" not in sshd.log and "Failed" not in sshd.log
    error = failure(sshd.address(), None)
    assert isinstance(error, HostKeyUnknown) and error.offered == found
    assert "Accepted" not in sshd.log


def test_a_changed_host_key_is_refused_with_both_fingerprints_before_anything_is_sent(sshd: Sshd) -> None:
    before = sshd.host_key
    sshd.change_host_key()
    error = failure(sshd.address(), str(before))
    assert isinstance(error, HostKeyChanged) and not error.unknown
    assert (error.pinned, error.offered) == (before, sshd.host_key)
    assert before.fingerprint in error.cause and sshd.host_key.fingerprint in error.cause
    assert "Accepted" not in sshd.log


def test_a_server_with_several_keys_shows_the_pinned_one(new_sshd: NewSshd, tmp_path: Path) -> None:
    other = keypair(tmp_path / "rsa_key", kind="rsa")
    sshd = new_sshd(more=f"HostKey {other}")
    pinned = " ".join(other.with_suffix(".pub").read_text().split()[:2])

    async def story(connection: Connection) -> None:
        assert (await connection.run(["true"], limit=LIMIT)).status == 0

    with_connection(sshd.address(), pinned, story)


def test_a_wrong_key_is_refused_with_what_the_server_accepts(sshd: Sshd, tmp_path: Path) -> None:
    error = failure(sshd.address(key=keypair(tmp_path / "other")), str(sshd.host_key))
    assert isinstance(error, LoginRefused) and not error.unknown
    assert error.methods == ("publickey",) and "publickey" in error.cause and str(tmp_path / "other") in error.cause
    assert "authorized_keys" in error.remedy


def test_a_wrong_user_is_refused(sshd: Sshd) -> None:
    error = failure(sshd.address(user="nobody-of-that-name"), str(sshd.host_key))
    assert isinstance(error, LoginRefused) and "nobody-of-that-name" in error.cause


def test_a_key_that_is_missing_or_no_key_is_told(sshd: Sshd, tmp_path: Path) -> None:
    (tmp_path / "text").write_text("good day")
    for name in ("missing", "text"):
        error = failure(sshd.address(key=tmp_path / name), str(sshd.host_key))
        assert isinstance(error, LoginRefused) and str(tmp_path / name) in error.cause


def test_a_refused_login_is_not_tried_again_at_once(sshd: Sshd, tmp_path: Path) -> None:
    """Servers lock out addresses that do."""

    async def story(connection: Connection) -> None:
        for _ in range(5):
            with pytest.raises(LoginRefused):
                await connection.connect()
        tried = "Connection closed by authenticating user"
        await asyncio.to_thread(eventually, "sshd tells of the try", lambda: tried in sshd.log)
        await asyncio.to_thread(sshd.stop)
        assert sshd.log.count(tried) == 1

    with_connection(sshd.address(key=keypair(tmp_path / "other")), str(sshd.host_key), story)


@pytest.fixture
def agent(sockets: Path) -> Path:
    """An SSH agent without keys, which ends when its socket's folder does: it serves this test's process alone."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("ssh-agent is missing")
    return sockets / "agent.sock"


def with_agent(socket_path: Path, keys: list[Path], story: Callable[[], None]) -> None:
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket_path)], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None and process.stdout.readline()

        async def add() -> None:
            async with asyncssh.connect_agent(str(socket_path)) as client:
                for key in keys:
                    await client.add_keys([asyncssh.read_private_key(str(key))])

        asyncio.run(add())
        story()
    finally:
        process.terminate()
        process.wait()


async def true(connection: Connection) -> None:
    assert (await connection.run(["true"], limit=LIMIT)).status == 0


def test_a_key_of_the_ssh_agent_opens(sshd: Sshd, agent: Path) -> None:
    address = sshd.address(key=None, agent=str(agent))
    with_agent(agent, [sshd.user_key], lambda: with_connection(address, str(sshd.host_key), true))


def test_a_key_that_is_named_comes_before_the_agent_s_many(sshd: Sshd, agent: Path, tmp_path: Path) -> None:
    """A server ends the connection after six tries."""
    others = [keypair(tmp_path / f"other-{number}") for number in range(7)]
    address = sshd.address(agent=str(agent))
    with_agent(agent, others, lambda: with_connection(address, str(sshd.host_key), true))

    def refused() -> None:
        error = failure(sshd.address(key=None, agent=str(agent)), str(sshd.host_key))
        assert isinstance(error, LoginRefused)

    with_agent(agent, others, refused)


def test_a_key_with_a_passphrase_works_through_the_agent_and_is_named_without(
    sshd: Sshd, agent: Path, tmp_path: Path
) -> None:
    key = tmp_path / "locked"
    shutil.copy(sshd.user_key, key)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "open sesame", "-f", str(key)], check=True, stdout=subprocess.PIPE)
    error = failure(sshd.address(key=key), str(sshd.host_key))
    assert isinstance(error, LoginRefused) and "passphrase" in error.cause and "ssh-add" in error.cause
    address = sshd.address(key=key, agent=str(agent))
    with_agent(agent, [sshd.user_key], lambda: with_connection(address, str(sshd.host_key), true))


def test_a_refused_connection_says_so_and_nothing_of_the_server_s_state(sshd: Sshd) -> None:
    sshd.stop()
    error = failure(sshd.address(), str(sshd.host_key))
    assert isinstance(error, Unreachable) and error.unknown
    assert error.reason == "refused" and str(sshd.port) in error.cause


def test_a_name_that_cannot_be_looked_up(sshd: Sshd) -> None:
    error = failure(sshd.address(host="no-such-host.invalid"), str(sshd.host_key))
    assert isinstance(error, Unreachable) and error.reason == "name" and "no-such-host.invalid" in error.cause


def test_a_port_that_takes_connections_and_says_nothing(sshd: Sshd) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = sshd.address(port=silent.getsockname()[1])
        error = failure(address, str(sshd.host_key), SHORT)
        assert isinstance(error, Unreachable) and error.reason == "silent" and error.unknown
        with pytest.raises(Unreachable, match="takes connections"):
            asyncio.run(fetch_host_key(address, SHORT))


def test_a_host_that_answers_nothing_at_all(sshd: Sshd) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for each in (first, second):  # the kernel drops what comes after these
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        error = failure(sshd.address(port=full.getsockname()[1]), str(sshd.host_key), SHORT)
        assert isinstance(error, Unreachable)
        if error.reason != "silent":  # elsewhere than on Linux, such a queue takes more
            assert error.reason == "time-out" and "0.4 s" in error.cause


def test_something_else_than_ssh_at_that_port(sshd: Sshd) -> None:
    async def run() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            connection = Connection(
                sshd.address(port=server.sockets[0].getsockname()[1]), str(sshd.host_key), Limits(2, 2)
            )
            with pytest.raises(Unreachable) as caught:
                await connection.connect()
            assert caught.value.reason in ("not ssh", "broken")

    asyncio.run(run())


def test_a_command_that_takes_too_long_is_overdue_and_the_connection_stays(sshd: Sshd) -> None:
    async def story(connection: Connection) -> None:
        with pytest.raises(Overdue) as caught:
            await connection.run(["sleep", "60"], limit=0.5)
        assert caught.value.unknown and "may still run" in caught.value.remedy
        await true(connection)
        assert sshd.log.count("Accepted publickey") == 1

    with_connection(sshd.address(), str(sshd.host_key), story)


def test_a_cut_in_the_middle_is_told_and_the_next_command_finds_a_new_connection(sshd: Sshd, tmp_path: Path) -> None:
    async def story(connection: Connection) -> None:
        running = asyncio.create_task(connection.run(["sh", "-c", f"touch {tmp_path}/begun; sleep 60"], limit=LIMIT))
        await asyncio.to_thread(eventually, "the command runs", (tmp_path / "begun").exists)
        assert sshd.cut() > 0
        with pytest.raises(Dropped) as caught:
            await running
        assert caught.value.unknown
        await true(connection)
        assert sshd.log.count("Accepted publickey") == 2

    with_connection(sshd.address(), str(sshd.host_key), story)


def test_a_server_that_comes_back_is_found_again(sshd: Sshd) -> None:
    async def story(connection: Connection) -> None:
        await true(connection)
        sshd.stop()
        with pytest.raises(ConnectionFailed):
            await connection.run(["true"], limit=LIMIT)
        with pytest.raises(Unreachable):
            await connection.run(["true"], limit=LIMIT)
        sshd.start()
        await true(connection)

    with_connection(sshd.address(), str(sshd.host_key), story)


def test_a_silent_connection_is_found_dead_by_its_missed_signs_of_life(sshd: Sshd) -> None:
    """The sessions are stopped, not killed: nobody closes the connection."""

    async def story(connection: Connection) -> None:
        await true(connection)
        for pid in sshd.sessions():
            os.kill(pid, 19)
        with pytest.raises(Dropped):
            await connection.run(["true"], limit=60)

    with_connection(sshd.address(), str(sshd.host_key), story, Limits(alive=0.2, missed=2))


def test_closing_ends_what_runs(sshd: Sshd) -> None:
    async def story(connection: Connection) -> None:
        await connection.connect()
        running = asyncio.create_task(connection.run(["sleep", "60"], limit=LIMIT))
        await true(connection)
        await connection.close()
        with pytest.raises(Dropped):
            await running
        with pytest.raises(Dropped, match="closed here"):
            await connection.connect()

    with_connection(sshd.address(), str(sshd.host_key), story)


def test_through_a_jump_host(new_sshd: NewSshd) -> None:
    jump, target = new_sshd("jump"), new_sshd("target")
    address = target.address(jump=str(jump.address()), jump_key=jump.user_key)
    assert asyncio.run(fetch_host_key(address, QUICK)) == target.host_key

    async def story(connection: Connection) -> None:
        ran = await connection.run(["sh", "-c", "echo $SSH_CONNECTION"], limit=LIMIT)
        assert ran.stdout.split()[3] == b"%d" % target.port
        assert "Accepted publickey" in jump.log and "Accepted publickey" in target.log
        jump.cut()
        with pytest.raises(Dropped):
            await connection.run(["sleep", "60"], limit=LIMIT)
        await true(connection)

    with_connection(address, str(target.host_key), story)


def test_a_jump_host_that_forbids_forwarding_is_named_with_the_setting(new_sshd: NewSshd) -> None:
    jump, target = new_sshd("jump", "AllowTcpForwarding no"), new_sshd("target")
    error = failure(target.address(jump=str(jump.address()), jump_key=jump.user_key), str(target.host_key))
    assert isinstance(error, Unreachable) and error.reason == "jump"
    assert "AllowTcpForwarding" in error.remedy and "jump host" in error.cause


def test_a_jump_host_that_cannot_reach_the_server(new_sshd: NewSshd) -> None:
    jump, target = new_sshd("jump"), new_sshd("target")
    target.stop()
    error = failure(target.address(jump=str(jump.address()), jump_key=jump.user_key), str(target.host_key))
    assert isinstance(error, Unreachable) and error.reason == "jump" and "cannot reach" in error.cause


def test_a_jump_host_that_refuses_the_login_is_named(new_sshd: NewSshd) -> None:
    jump, target = new_sshd("jump"), new_sshd("target")
    error = failure(target.address(jump=str(jump.address()), jump_key=target.user_key), str(target.host_key))
    assert isinstance(error, LoginRefused) and "the jump host" in error.cause


def test_a_channel_works_where_all_forwarding_is_forbidden(new_sshd: NewSshd, program: Path, sockets: Path) -> None:
    sshd = new_sshd(more="DisableForwarding yes\nMaxSessions 1")

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read())
        writer.close()

    async def say(channel: Channel, words: bytes) -> bytes:
        reader, writer = await channel.open("i-1")
        writer.write(words)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        return answer

    async def story(connection: Connection) -> None:
        channel = Channel(connection, str(program), python=sys.executable, become=(), folder=str(sockets))
        async with await asyncio.start_unix_server(echo, str(sockets / "i-1.sock")):
            big = os.urandom(3_000_000)
            answers = await asyncio.gather(say(channel, big), *(say(channel, b"%d" % n) for n in range(50)))
            assert answers == [big, *(b"%d" % n for n in range(50))]
            waiting, _ = await channel.open("i-1")
            assert sshd.cut() > 0
            with pytest.raises(ConnectionResetError):
                await waiting.read()
            assert await say(channel, b"again") == b"again"
            assert sshd.log.count("Accepted publickey") == 2
        await channel.close()

    with_connection(sshd.address(), str(sshd.host_key), story)
