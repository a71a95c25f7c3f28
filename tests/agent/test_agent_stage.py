"""The job run: commands of a stage, as .ebextensions and hooks need them."""

from __future__ import annotations

from typing import Any

import pytest
from agent_site import Site

from beanpole.fleet.agent_client import JobFailed


def command(line: Any, name: str = "01_it", **more: Any) -> dict[str, Any]:
    return {"name": name, "command": line, "cwd": None, "env": {}, "test": None, "ignore_errors": False, **more}


@pytest.fixture
def site(shared_site: Site) -> Site:
    return shared_site


@pytest.fixture
def release(site: Site) -> str:
    site.fetch("r1", {"a.txt": "content", "sub/b.txt": ""})
    return "r1"


def run(site: Site, *commands: dict[str, Any], **more: Any) -> dict[str, Any]:
    arguments = {"release": "r1", "stage": "predeploy", "environment": {}, "layer": None, **more}
    return site.job("run", commands=list(commands), **arguments)


def test_commands_run_in_order_in_the_applications_folder(site: Site, release: str) -> None:
    result = run(
        site,
        command("cat a.txt && echo; pwd"),
        command(["echo", "a  b", "$HOME"], name="02_words"),
        command("ls", name="03_sub", cwd="sub"),
    )

    assert result == {"ran": 3, "skipped": 0, "ignored": 0}
    app = site.home / "releases" / "r1" / "app"
    lines = [line.partition("] ")[2] or line for line in site.log().splitlines()]
    assert lines[-7:] == [
        "Running command 01_it (predeploy): cat a.txt && echo; pwd",
        "content",
        str(app),
        "Running command 02_words (predeploy): echo 'a  b' '$HOME'",
        "a  b $HOME",
        "Running command 03_sub (predeploy): ls",
        "b.txt",
    ]


def test_variables_come_from_the_environment_then_from_the_command(site: Site, release: str) -> None:
    show = 'echo "$ONE/$TWO/$SECRET_OF_THE_CALLER/$PYTHONUNBUFFERED"'

    run(site, command(show, env={"TWO": "mine"}), environment={"ONE": "1", "TWO": "2"})

    assert "1/mine//1" in site.log()


def test_the_first_failure_stops_the_stage_and_is_explained(site: Site, release: str) -> None:
    with pytest.raises(JobFailed) as failure:
        run(site, command("echo before; echo why >&2; exit 4", name="02_db"), command("touch never", name="03"))

    assert failure.value.message == "command 02_db ended with exit status 4"
    assert (failure.value.stage, failure.value.exit_status) == ("predeploy", 4)
    assert failure.value.command == "echo before; echo why >&2; exit 4"
    assert failure.value.last_lines == ("before", "why")
    assert not (site.home / "releases/r1/app/never").exists()


def test_a_failure_that_is_ignored_lets_the_next_run(site: Site, release: str) -> None:
    assert run(site, command("false", ignore_errors=True), command("true"))["ignored"] == 1
    assert "command 01_it ended with exit status 1 (ignored)" in site.log()


def test_a_test_decides_whether_a_command_runs(site: Site, release: str) -> None:
    result = run(site, command("touch no", test="test -e nothing"), command("touch yes", test="test -e a.txt"))

    assert result == {"ran": 1, "skipped": 1, "ignored": 0}
    app = site.home / "releases/r1/app"
    assert (app / "yes").exists()
    assert not (app / "no").exists()


def test_a_command_beyond_its_time_is_ended_with_its_children(site: Site, release: str) -> None:
    with pytest.raises(JobFailed, match="command 01_it was ended: the time for predeploy was over") as failure:
        run(site, command("echo waiting; sleep 300 & wait"), timeout=0.2)

    assert failure.value.last_lines == ("waiting",)
    assert "command timeout" in failure.value.remedy


def test_only_the_last_lines_travel_and_all_are_in_the_log(site: Site, release: str) -> None:
    with pytest.raises(JobFailed) as failure:
        run(site, command("seq 1 5000; printf last; exit 1"))

    assert failure.value.last_lines[-2:] == ("5000", "last")
    assert len(failure.value.last_lines) == 40
    assert "\n2500\n" in site.log()


def test_what_runs_on_in_the_background_does_not_hold_the_stage(site: Site, release: str) -> None:
    assert run(site, command("sleep 300 & echo started"))["ran"] == 1
    assert "started" in site.log()


def test_a_folder_or_program_that_is_not_there_is_named(site: Site, release: str) -> None:
    with pytest.raises(JobFailed, match=r"command 01_it cannot be started: No such file or directory: .*/nowhere"):
        run(site, command("true", cwd="nowhere"))
    with pytest.raises(JobFailed, match="01_it ended with exit status 127") as failure:
        run(site, command("migrate-it now"))
    assert "migrate-it is not installed here" in failure.value.remedy
