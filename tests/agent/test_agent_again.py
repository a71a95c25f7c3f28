"""The job again: a release that is here can be started beside itself, from the same folder."""

from __future__ import annotations

from agent_site import Site


def commit(site: Site, release: str, *keep: str) -> list[str]:
    return list(site.job("commit", release=release, keep=list(keep))["removed"])


def test_a_further_turn_runs_beside_the_one_before_in_the_same_folder(site: Site) -> None:
    first = site.run_web(site.prepare("once", environment={"BODY": "once"}))
    commit(site, "once")
    (site.home / "releases" / "once" / "app" / "written").write_text("by the application")

    assert site.job("again", release="once.1") == {"of": "once"}
    assert site.job("again", release="once.1") == {"of": "once.1"}, "the second time"
    second = site.run_web("once.1")

    assert second["pid"] != first["pid"]
    assert second["port"] != first["port"]
    assert (site.home / "releases" / "once.1" / "app" / "written").exists()
    site.job("stop", release="once", names=None, grace=2)
    assert commit(site, "once.1") == [], "its folder is the one of before"
    assert site.job("again", release="once.2") == {"of": "once.1"}
    site.run_web("once.2")
    site.job("stop", release="once.1", names=None, grace=2)
    assert commit(site, "once.2") == ["once.1"]
    assert site.state()["releases"] == ["once", "once.2"]

    site.run_web(site.prepare("other"))
    site.job("stop", release="once.2", names=None, grace=2)
    assert commit(site, "other") == ["once.2", "once"], "nothing of it stays"
    assert [path.name for path in (site.home / "releases").iterdir()] == ["other"]


def test_a_further_turn_is_what_the_next_agent_takes_over(site: Site) -> None:
    site.run_web(site.prepare("once"))
    commit(site, "once")
    site.job("again", release="once.1")
    pid = site.run_web("once.1")["pid"]
    commit(site, "once.1")
    site.kill()
    site.start_again()
    assert site.state()["boot"] == "once.1"
    assert site.process("once.1")["pid"] == pid


def test_what_is_not_here_is_said_to_be_missing(site: Site) -> None:
    site.fetch("half", {"a": "x"})
    assert site.job("again", release="half.1") == {"of": None}, "never committed"
    assert site.job("again", release="never.7") == {"of": None}
