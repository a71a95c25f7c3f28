"""Logs as a client gets them, and their rotation under a process that goes on writing. Events too."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_site import PYTHON, Site, eventually

from beanpole.agent import rotation
from beanpole.agent.enginelog import EngineLog
from beanpole.agent.events import KEPT, EventLog
from beanpole.fleet.agent_client import AgentRefused

WRITER = """
import os, sys
number = 0
while not os.path.exists(sys.argv[1]):
    os.write(1, b"%09d %s\\n" % (number, b"x" * 90))
    number += 1
"""


@pytest.fixture
def site(shared_site: Site) -> Iterator[Site]:
    yield shared_site
    for path in (shared_site.home / "log").glob("web.*"):
        path.unlink()


def write(site: Site, name: str, text: str) -> Path:
    path = site.home / "log" / name
    path.write_bytes(text.encode())
    return path


def test_the_tail_has_the_last_lines_of_each_file(site: Site) -> None:
    write(site, "web.stdout.log", "".join(f"line {number}\n" for number in range(1000)))
    write(site, "web.stdout.log.1", "rotated\n")

    files = {each["name"]: each["text"] for each in site.ask(lambda client: client.logs(3))}

    assert files["web.stdout.log"] == "line 997\nline 998\nline 999\n"
    assert set(files) == {"agent.log", "engine.log", "web.stdout.log"}


def test_the_bundle_is_a_zip_file_of_everything(site: Site) -> None:
    write(site, "web.stdout.log", "now\n" * 100_000)
    write(site, "web.stdout.log.1", "before\n")

    archive = zipfile.ZipFile(io.BytesIO(site.ask(lambda client: client.log_bundle())))

    assert archive.testzip() is None
    assert archive.read("web.stdout.log") == b"now\n" * 100_000
    assert archive.read("web.stdout.log.1") == b"before\n"


def test_a_follower_gets_what_is_new_whole_characters_only(site: Site) -> None:
    path = write(site, "web.stdout.log", "before\n")
    text, offset = site.ask(lambda client: client.follow_log("web.stdout.log"))
    assert (text, offset) == ("", 7)

    path.write_bytes(b"before\nna\xc3")
    text, offset = site.ask(lambda client: client.follow_log("web.stdout.log", 7))
    assert (text, offset) == ("na", 9)
    path.write_bytes(b"before\nna\xc3\xafve\n")
    assert site.ask(lambda client: client.follow_log("web.stdout.log", 9))[0] == "ïve\n"


def test_a_follower_loses_nothing_when_the_file_is_rotated(site: Site) -> None:
    write(site, "web.stdout.log.1", "seen\nunseen\n")
    write(site, "web.stdout.log", "new\n")  # byte 12 and on, before the rotation

    text, offset = site.ask(lambda client: client.follow_log("web.stdout.log", 5))
    assert (text, offset) == ("unseen\n", 0)
    assert site.ask(lambda client: client.follow_log("web.stdout.log", 0)) == ("new\n", 4)
    assert site.ask(lambda client: client.follow_log("web.stdout.log", 13)) == ("ew\n", 4)


@pytest.mark.parametrize("name", ["nope.log", "../home.json", "../../etc/passwd", ""])
def test_only_logs_can_be_followed(site: Site, name: str) -> None:
    with pytest.raises(AgentRefused, match="there is no log"):
        site.ask(lambda client: client.follow_log(name, 0))


@pytest.mark.parametrize("whole", [True, False], ids=["collapse", "truncate"])
def test_rotation_loses_no_line_of_a_writer_that_goes_on(
    tmp_path: Path, whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not whole:
        # Truncation leaves the writer a gap of microseconds: stopped while it happens, it must lose nothing either.
        monkeypatch.setattr(rotation, "_collapse", lambda descriptor, length: False)
    path, end = tmp_path / "web.stdout.log", tmp_path / "end"
    with path.open("ab") as file:
        writer = subprocess.Popen([sys.executable, "-S", "-c", WRITER, str(end)], stdout=file)
    try:
        for _ in range(2):
            eventually("the file grows", lambda: path.stat().st_size > 200_000)
            if not whole:
                writer.send_signal(19)
                eventually("it stands still", lambda: "T" in Path(f"/proc/{writer.pid}/stat").read_text().split()[2])
            rotation.rotate_folder(tmp_path, limit=100_000)
            writer.send_signal(18)
    finally:
        end.touch()
        writer.wait(timeout=10)

    parts = [path.with_name(f"{path.name}{suffix}") for suffix in (".2", ".1", "")]
    numbers = [int(line[:9]) for line in b"".join(part.read_bytes() for part in parts).splitlines()]
    assert numbers == list(range(len(numbers)))
    assert parts[0].stat().st_size > 100_000


def test_a_rotated_log_belongs_to_the_running_process_still(site: Site) -> None:
    loud = f"{PYTHON} -c 'import time; print(\"x\" * 11_000_000, flush=True); time.sleep(300)'"
    site.prepare("r1", {"loud": loud})
    site.job("switch", release="r1", settle=0)
    path = site.home / "log" / "loud.stdout.log"
    eventually("it has written", lambda: path.stat().st_size > 11_000_000)
    site.end()
    site.start()

    eventually(
        "the file is rotated", lambda: path.with_name(f"{path.name}.1").exists() and path.stat().st_size < 10_000
    )
    assert site.process("r1", "loud")["state"] == "running"
    site.job("stop", release="r1", names=None, grace=2)


def test_the_engine_log_keeps_three_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beanpole.agent.enginelog.SIZE_LIMIT", 200)
    log = EngineLog(tmp_path / "engine.log")

    for number in range(100):
        log.line(f"number {number}")

    texts = [(tmp_path / f"engine.log{suffix}").read_text() for suffix in (".2", ".1", "")]
    numbers = [int(line.split()[-1]) for line in "".join(texts).splitlines()]
    assert numbers == list(range(numbers[0], 100))
    assert len(list(tmp_path.iterdir())) == 3


def test_events_keep_counting_over_restarts_and_survive_a_torn_line(tmp_path: Path) -> None:
    log = EventLog(tmp_path)
    for number in range(KEPT + 10):
        log.add("INFO", f"event {number}", {"number": number})
    with (tmp_path / "events.jsonl").open("ab") as file:
        file.write(b'{"seq": 9999, "at')

    again = EventLog(tmp_path)

    assert [event["seq"] for event in again.after(0)] == list(range(11, KEPT + 11))
    assert again.add("WARN", "next") == KEPT + 11
    assert [event["message"] for event in EventLog(tmp_path).after(KEPT + 9)] == [f"event {KEPT + 9}", "next"]
