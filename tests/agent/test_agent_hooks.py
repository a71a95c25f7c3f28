"""The job hooks: what lies in .platform/hooks of a release, stage by stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from agent_site import DEADLINE, WEB, Site, alive, eventually

from beanpole.fleet.agent_client import JobFailed

POST = ".platform/hooks/postdeploy/"
PRE = ".platform/hooks/predeploy/"


def hooks(site: Site, stage: str, of: str = "hooks", **more: Any) -> list[str]:
    arguments = {"release": "r1", "environment": {}, "layer": None, "timeout": DEADLINE, **more}
    return list(site.job("hooks", stage=stage, of=of, **arguments)["ran"])


@pytest.fixture
def site(shared_site: Site) -> Site:
    return shared_site


@pytest.fixture
def own_site(new_site: Callable[..., Site]) -> Site:
    return new_site().start()


def app(site: Site) -> Path:
    return site.home / "releases" / "r1" / "app"


def test_files_of_one_stage_run_in_the_order_of_their_names_in_the_applications_folder(site: Site) -> None:
    tell = '#!/bin/sh\necho "$(basename "$0") $PWD $COLOR/$PORT/$SECRET_OF_THE_CALLER" >> told\n'
    more = {f"{PRE}sub/never.sh": tell, f"{PRE}.gitkeep": "", ".platform/confighooks/predeploy/c.sh": tell}
    site.fetch("r1", {f"{PRE}{name}": tell for name in ("10_b.sh", "9_c.sh", "02_a.sh")} | more)

    assert hooks(site, "predeploy", environment={"COLOR": "red"}) == ["02_a.sh", "10_b.sh", "9_c.sh"]
    assert hooks(site, "predeploy", of="confighooks") == ["c.sh"]
    assert hooks(site, "prebuild") == [], "a stage without a folder"
    lines = (app(site) / "told").read_text().splitlines()
    assert lines == [
        f"02_a.sh {app(site)} red//",
        f"10_b.sh {app(site)} red//",
        f"9_c.sh {app(site)} red//",
        f"c.sh {app(site)} //",
    ]


def test_what_a_zip_from_windows_lost_is_put_right_and_other_files_are_left_alone(site: Site) -> None:
    binary = "#!/bin/sh\r\n\0"
    site.fetch("r1", {f"{PRE}01.sh": "#!/bin/sh\r\necho fine\r\n", "data.bin": binary})

    assert hooks(site, "predeploy") == ["01.sh"]
    assert site.log("eb-hooks.log").splitlines()[-1] == "fine"
    assert (app(site) / "data.bin").read_bytes() == binary.encode()


def test_output_is_in_the_log_of_hooks_under_the_name_of_each(site: Site) -> None:
    site.fetch("r1", {f"{PRE}01.sh": "#!/bin/sh\necho out\necho err >&2\n"})

    hooks(site, "predeploy")
    lines = [line.partition("] ")[2] or line for line in site.log("eb-hooks.log").splitlines()]
    assert lines[-3:] == [f"Running hook {PRE}01.sh", "out", "err"]
    assert f"Running hook {PRE}01.sh" in site.log()
    names = [file["name"] for file in site.ask(lambda client: client.logs())]
    assert "eb-hooks.log" in names


def test_the_first_failure_stops_the_stage_and_is_explained(site: Site) -> None:
    files = {"01.sh": "#!/bin/sh\necho before\necho why >&2\nexit 4\n", "02.sh": "#!/bin/sh\ntouch never\n"}
    site.fetch("r1", {f"{PRE}{name}": text for name, text in files.items()})

    with pytest.raises(JobFailed) as failure:
        hooks(site, "predeploy")
    error = failure.value
    assert (error.stage, error.message) == ("predeploy", "hook 01.sh ended with exit status 4")
    assert (error.command, error.exit_status, error.last_lines) == (f"{PRE}01.sh", 4, ("before", "why"))
    assert error.remedy == "See eb-hooks.log on the instance for the whole output."
    assert not (app(site) / "never").exists()
    assert error.message in site.log()

    site.fetch("r1", {f"{PRE}{name}": text for name, text in files.items()})
    assert not (app(site) / ".platform/hooks/predeploy/01.sh").stat().st_mode & 0o100, "begins from the bundle again"


@pytest.mark.parametrize(
    ("text", "cause", "remedy"),
    [
        ("echo without a first line\n", "Exec format error", "#!/bin/bash"),
        ("#!/no/such/shell\n", "No such file or directory", "interpreter that its first line names"),
    ],
)
def test_what_cannot_be_executed_is_named(site: Site, text: str, cause: str, remedy: str) -> None:
    site.fetch("r1", {f"{PRE}01.sh": text})

    with pytest.raises(JobFailed, match=f"^hook 01.sh cannot be started: {cause}: ") as failure:
        hooks(site, "predeploy")
    assert remedy in failure.value.remedy


def test_a_hook_beyond_its_time_is_ended_with_its_children(site: Site) -> None:
    site.fetch("r1", {f"{PRE}01.sh": "#!/bin/sh\nsleep 300 & echo $! > pid\nwait\n"})

    with pytest.raises(JobFailed, match=r"hook 01\.sh was ended: the time for predeploy was over") as failure:
        hooks(site, "predeploy", timeout=0.5)
    assert "Timeout" in failure.value.remedy
    pid = int((app(site) / "pid").read_text())
    eventually("its child is gone", lambda: not alive(pid))


def test_hooks_after_the_switch_know_where_the_release_listens(own_site: Site) -> None:
    own_site.prepare("r1", texts={"web.py": WEB, f"{POST}01.sh": '#!/bin/sh\necho "at $BEANPOLE_ADDRESS $PORT"\n'})
    with pytest.raises(JobFailed, match="is not there any more"):
        hooks(own_site, "postdeploy")

    started = own_site.run_web("r1")
    assert hooks(own_site, "postdeploy") == ["01.sh"]
    assert own_site.log("eb-hooks.log").splitlines()[-1] == f"at {own_site.address} {started['port']}"


@pytest.mark.parametrize("words", [{"stage": "../app"}, {"of": ".."}])
def test_no_other_folder_is_a_stage(site: Site, words: dict[str, str]) -> None:
    site.fetch("r1", {"a.txt": ""})
    with pytest.raises(JobFailed, match="there are no"):
        hooks(site, **{"stage": "predeploy", **words})


def test_hooks_that_their_agents_death_interrupted_run_once_more_from_the_first(own_site: Site) -> None:
    first = "#!/bin/sh\necho first >> told\n"
    second = "#!/bin/sh\necho second >> told\n[ -e again ] || { echo $$ > pid; sleep 300; }\n"
    own_site.fetch("r1", {f"{PRE}01.sh": first, f"{PRE}02.sh": second})
    arguments = {"release": "r1", "stage": "predeploy", "of": "hooks", "environment": {}, "layer": None}
    key = own_site.put("hooks", **arguments)
    pid = int(eventually("it runs", lambda: (app(own_site) / "pid").exists() and (app(own_site) / "pid").read_text()))
    own_site.kill()
    (app(own_site) / "again").touch()
    own_site.start_again()
    assert not alive(pid), "what the dead agent had begun goes on"
    assert own_site.job("hooks", key, **arguments) == {"ran": ["01.sh", "02.sh"]}
    assert (app(own_site) / "told").read_text().split() == ["first", "second"] * 2
