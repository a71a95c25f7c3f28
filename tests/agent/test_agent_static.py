"""The file server beside a release: it begins and ends with it, and is started again when it dies."""

from __future__ import annotations

import http.client
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from agent_site import WEB, Site, alive, eventually

from beanpole.fleet.agent_client import JobFailed

NAME = "static.files"
STATIC = [{"path": "/static", "folder": "static", "optional": True}]


def files(text: str) -> dict[str, str]:
    return {"web.py": WEB, "static/a.txt": text}


def get(site: Site, port: int, path: str = "/static/a.txt") -> tuple[int, str]:
    connection = http.client.HTTPConnection(site.address, port, timeout=5)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read().decode().strip()


def run(site: Site, release: str, **more: Any) -> dict[str, Any]:
    site.prepare(release, texts=files(release), static=STATIC, **more)
    return site.run_web(release)


def test_two_releases_serve_their_files_side_by_side_until_one_is_stopped(site: Site) -> None:
    old, new = run(site, "r1"), run(site, "r2", environment={"TOKEN": "s3cret"})
    assert old["static"]["paths"] == ["/static"]
    assert get(site, old["static"]["port"]) == (200, "r1")
    assert get(site, new["static"]["port"]) == (200, "r2")
    site.job("switch", release="r2")
    assert get(site, old["static"]["port"]) == (200, "r1")
    site.job("commit", release="r2", keep=[])
    site.job("stop", release="r1", names=None, grace=5)
    assert site.process("r1", NAME)["pid"] is None
    assert get(site, new["static"]["port"]) == (200, "r2")
    pid = site.process("r2", NAME)["pid"]
    assert b"s3cret" not in Path(f"/proc/{pid}/environ").read_bytes()


def test_it_is_found_again_and_started_again(site: Site) -> None:
    port = run(site, "r1")["static"]["port"]
    site.job("commit", release="r1", keep=[])
    pid = site.process("r1", NAME)["pid"]
    site.kill()
    assert get(site, port) == (200, "r1")
    site.start_again()
    assert site.process("r1", NAME)["pid"] == pid
    os.kill(pid, signal.SIGKILL)
    eventually("it runs again", lambda: site.process("r1", NAME)["pid"] not in (None, pid))
    eventually("it serves again", lambda: _serves(site, port))


def _serves(site: Site, port: int) -> bool:
    try:
        return get(site, port) == (200, "r1")
    except OSError:
        return False


def test_both_end_when_the_application_cannot_start(site: Site) -> None:
    site.prepare("bad", {"web": "exit 3"}, files("x"), static=STATIC)
    with pytest.raises(JobFailed):
        site.run_web("bad")
    left = site.process("bad", NAME)
    assert left == {} or left["state"] == "stopped"


def test_folders_that_are_missing_are_told_unless_nobody_asked_for_them(site: Site) -> None:
    def prepared(*folders: tuple[str, bool], texts: dict[str, str]) -> Any:
        static = [{"path": f"/{name}", "folder": name, "optional": optional} for name, optional in folders]
        release = f"r-{len(site.state()['releases'])}"
        site.fetch(release, texts)
        arguments = {"processes": [{"name": "web", "command": "python3 web.py"}], "environment": {}, "layer": None}
        return release, site.job("prepare", release=release, static=static, **arguments)["missing"]

    release, missing = prepared(("static", True), texts={"web.py": WEB})
    assert missing == []
    assert site.run_web(release)["static"] is None
    assert site.process(release, NAME) == {}

    release, missing = prepared(("static", True), ("gone", False), texts=files("x"))
    assert missing == ["gone"]
    started = site.run_web(release)["static"]
    assert get(site, started["port"], "/gone/x")[0] == 404
    site.job("stop", release=release, names=None, grace=5)
    assert site.process(release, NAME)["pid"] is None


def test_an_answer_that_is_under_way_is_finished_at_the_end(site: Site) -> None:
    site.prepare("r1", texts={**files("x"), "static/big": "x" * 8_000_000}, static=STATIC)
    port = site.run_web("r1")["static"]["port"]
    connection = http.client.HTTPConnection(site.address, port, timeout=5)
    connection.request("GET", "/static/big")
    answer = connection.getresponse()
    pid = site.process("r1", NAME)["pid"]
    os.kill(pid, signal.SIGTERM)
    assert alive(pid)
    assert len(answer.read()) == 8_000_000
