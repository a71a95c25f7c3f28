"""The command line as a program: help, exit statuses, pipes, mistakes of ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from toy_api import Run, Served, Toy

pytestmark = pytest.mark.usefixtures("shop_dev")


def test_a_reader_that_has_seen_enough_is_no_failure(served: Served, shop: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "beanpole.cli", "status"]
    with os.fdopen(writer, "w") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (141, "")


def test_version_and_help(run: Run) -> None:
    assert run("version").out == run("--version").out
    assert run("version", "--json").json == {"version": run("version").out.split()[1]}
    assert "Exit status: 0 done" in run("--help").out
    assert "with its instances; else all of them" in " ".join(run("status", "--help").out.split())
    assert run("frobnicate").status == 2
    assert run("--home").status == 2


def test_help_imports_nothing_heavy() -> None:
    heavy = [
        "botocore",
        "boto3",
        "rich",
        "yaml",
        "sqlalchemy",
        "uvicorn",
        "starlette",
        "beanpole.server",
        "platformdirs",
    ]
    script = (
        "import sys; from beanpole import cli\n"
        "try: cli.main(['--help'])\n"
        f"except SystemExit: print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == "[]\n"


def test_a_mistake_of_ours_is_a_sentence(served: Served, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beanpole.cli.listing.every_environment", lambda api: 1 / 0)
    done = run("list")
    assert done.status == 1
    assert "Error: Beanpole made a mistake: ZeroDivisionError" in done.err
    assert "Traceback" not in done.err
    monkeypatch.setenv("BEANPOLE_TRACEBACK", "1")
    with pytest.raises(ZeroDivisionError):
        run("list")


def test_what_the_control_plane_does_not_have_yet(
    served: Served, toy: Toy, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = toy.handlers

    def fewer() -> dict[str, dict[str, object]]:
        found = original()
        for name in ("DescribeInstancesHealth", "DescribeEnvironmentHealth"):
            del found["elasticbeanstalk"][name]
        del found["beanpole"]["DescribeReleases"]
        return found

    monkeypatch.setattr(toy, "handlers", fewer)
    served.stop()
    served.start()
    done = run("releases")
    assert done.status == 1
    assert "DescribeReleases" in done.err
