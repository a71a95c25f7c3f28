"""A worker beside `web`: of which there are never two on an instance, whatever a deployment does."""

from __future__ import annotations

from pathlib import Path

import pytest
from beanpole_site import APPS, Site, app, wait_for
from stories import BRISK, ONE_BY_ONE, properties, rolled_back

pytestmark = [pytest.mark.slow]

HOLD_SECOND = """
container_commands:
  01_second_waits:
    command: mkdir "$MARKS/first" 2>/dev/null || while [ -e "$MARKS/hold" ]; do sleep 0.05; done
"""
"""The first instance goes on, the second one waits in its Prepare."""


def files(version: str, **more: str) -> dict[str, str]:
    """The worker of tests/apps/with-worker, beside a web process that needs no packages."""
    worker = (APPS / "with-worker" / "worker.py").read_text()
    procfile = "web: python server.py\nworker: python worker.py\n"
    return app("probe", version, **({"Procfile": procfile, "worker.py": worker} | more))


def logs(site: Site) -> dict[str, list[str]]:
    """What the workers of each instance wrote, in order, as `start v1`."""
    found = {}
    for path in sorted(site.root.glob("worker-*.log")):
        found[path.name] = [line.rpartition(" ")[0] for line in path.read_text().splitlines()]
    return found


def never_two(log: list[str]) -> bool:
    """Starts and stops take turns, and each stop is of what was started last."""
    starts, stops = log[::2], log[1::2]
    return [line.replace("start", "stop") for line in starts][: len(stops)] == stops


def running(site: Site) -> set[str]:
    return {log[-1] for log in logs(site).values()}


@pytest.fixture
def marks(site: Site) -> Path:
    folder = site.root / "marks"
    folder.mkdir()
    return folder


@pytest.mark.long
def test_never_two_workers_at_once_in_deploys_returns_and_aborts(site: Site, marks: Path) -> None:
    settings = (*BRISK, *ONE_BY_ONE, *properties(WORKER_LOCK=site.root / "worker-{instance}", MARKS=marks))
    created = site.create(files("v1"), instances=2, settings=settings)
    assert created["Outcome"] == "succeeded", created
    assert running(site) == {"start v1"}
    assert len(logs(site)) == 2

    assert site.deploy("v2", files("v2"))["Outcome"] == "succeeded"
    assert running(site) == {"start v2"}

    assert rolled_back(site)["Outcome"] == "succeeded"
    assert running(site) == {"start v1"}

    before = logs(site)
    no_web = site.deploy("no-web", files("no-web", **{"server.py": "import no_such_module\n"}))
    assert no_web["Outcome"] == "failed"
    assert logs(site) == before, "a worker was touched although web never passed"

    ends = site.deploy("ends", files("ends", **{"worker.py": "print('no queue'); raise SystemExit(5)\n"}))
    assert ends["Outcome"] == "failed"
    error = ends["Error"]
    assert (error["Stage"], error["Command"], error["ExitStatus"]) == ("switch", "python worker.py", 5)
    assert error["LastLines"] == ["no queue"]
    assert "process worker ended at once" in error["Cause"]
    assert error["Remedy"]
    assert running(site) == {"start v1"}
    assert site.serving() == {"v1"}

    (marks / "hold").touch()
    request = site.begin("v3", files("v3", **{".ebextensions/01.config": HOLD_SECOND}))
    wait_for("one worker of the new release", lambda: "start v3" in running(site))
    site.client().abort_environment_update(EnvironmentName="shop-dev")
    assert site.ended(request_id=request)["Outcome"] == "aborted"
    assert running(site) == {"start v1"}
    assert site.serving() == {"v1"}

    (marks / "hold").unlink()
    assert site.deploy("v3")["Outcome"] == "succeeded"
    assert running(site) == {"start v3"}
    for log in logs(site).values():
        assert never_two(log), log
    assert not any(line.startswith("TWICE") for log in logs(site).values() for line in log)
