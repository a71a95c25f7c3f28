"""Applications on a server are systemd units: they outlive the agent, a reboot, and what an administrator does by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bed import Bed, Server
from unit_site import HOME, USER, UnitSite, eventually

from beanpole.fleet.agent_program import agent_program

WORKER = "echo at work; exec sleep 300"
HEALTH = {"path": "/", "codes": [[200, 399]], "timeout": 2}


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agent_program(tmp_path_factory.mktemp("program"))


@pytest.fixture
def site(bed: Bed, servers: list[Server], tmp_path: Path, program: Path) -> Iterator[UnitSite]:
    """A server with an agent that runs."""
    site = UnitSite(bed, servers[0], tmp_path, program)
    yield site.install().start()
    site.close()


def prepared(site: UnitSite, release: str, processes: dict[str, str] | None = None, **more: Any) -> str:
    lines = processes if processes is not None else {"web": "python3 -S web.py"}
    return site.prepare(release, lines, **more)


def run_web(site: UnitSite, release: str, **more: Any) -> dict[str, Any]:
    return site.run_web(release, **{"deadline": 60, **more})


def deployed(site: UnitSite, release: str = "r1", body: str = "fine", **processes: str) -> dict[str, Any]:
    """A release that serves and is the boot target."""
    prepared(site, release, {"web": "python3 -S web.py", **processes}, environment={"BODY": body})
    found = run_web(site, release)
    site.job("switch", release=release, settle=0, grace=5)
    site.job("commit", release=release, keep=["r1"])
    return found


def test_a_release_goes_from_unproven_to_enabled(site: UnitSite) -> None:
    late = "while ! test -e ready; do sleep 0.05; done; exec python3 -S web.py"
    prepared(site, "r1", {"web": late, "worker": WORKER})
    unit = site.unit("r1")
    key = site.put("start", release="r1", health=HEALTH, deadline=60, fixed_port=None)
    eventually("it starts", lambda: site.process("r1").get("pid"))
    assert site.show(unit, "Restart", "UnitFileState", "User") == ["no", "disabled", USER]
    assert site.sh(f"cat /proc/{site.process('r1')['pid']}/oom_score_adj") == "200"

    site.sh(f"touch {HOME}/releases/r1/app/ready")
    found = site.ask(lambda client: client.wait_job(key))

    assert site.show(unit, "Restart", "UnitFileState", "MainPID") == ["always", "disabled", str(found["pid"])]
    site.job("switch", release="r1", settle=0, grace=5)
    site.job("commit", release="r1", keep=[])
    for name in ("web", "worker"):
        pid = str(site.process("r1", name)["pid"])
        properties = site.show(site.unit("r1", name), "Restart", "UnitFileState", "MainPID", "NeedDaemonReload")
        assert properties == ["always", "enabled", pid, "no"]
        assert site.sh(f"cat /proc/{pid}/oom_score_adj") == site.sh("cat /proc/1/oom_score_adj")
    assert site.answer(found["port"]) == "fine"
    assert site.sh(f"stat -c %U /proc/{found['pid']}") == USER
