"""The job fetch: a bundle's folder as it was uploaded, or nothing at all and a sentence that names the file."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from typing import Any

import pytest
from agent_site import Site

from beanpole.agent.failure import JobFailure
from beanpole.agent.manifest import Manifest
from beanpole.fleet.agent_client import JobFailed

DIGEST = "0" * 64


@pytest.fixture
def site(shared_site: Site) -> Site:
    return shared_site


def left(site: Site, release: str) -> list[str]:
    """Names of what is there of a release, or of half of it."""
    return [path.name for path in (site.home / "releases").iterdir() if path.name.startswith((release, "."))]


def test_files_modes_links_and_empty_folders_arrive(site: Site) -> None:
    script, big = b"#!/bin/sh\n", os.urandom(3_000_000)
    manifest = [
        ["bin/run", 0o4755, site.blob(script), len(script)],
        ["data/big", 0o444, site.blob(big), len(big)],
        ["empty/folder", "dir"],
        ["latest", "link", "data/big"],
        ["dangling", "link", "nowhere"],
    ]

    assert site.fetch("r1", manifest=manifest) == {"files": 2, "bytes": len(script) + len(big)}

    app = site.home / "releases" / "r1" / "app"
    assert stat.S_IMODE((app / "bin/run").stat().st_mode) == 0o755
    assert stat.S_IMODE((app / "data/big").stat().st_mode) == 0o644
    assert stat.S_IMODE((app / "empty/folder").stat().st_mode) == 0o755
    assert (app / "latest").read_bytes() == big
    assert str((app / "dangling").readlink()) == "nowhere"
    assert (app / "data/big").stat().st_nlink == 1


def test_what_is_there_is_not_copied_again(site: Site) -> None:
    site.fetch("r-here", {"a": "x"})
    assert site.fetch("r-here", {"a": "x"}) == {"files": 0, "bytes": 0}

    site.job("prepare", release="r-here", processes=[])
    site.job("commit", release="r-here", keep=[])
    assert site.fetch("r-here", {"a": "x"}) == {"files": 0, "bytes": 0}


def test_an_attempt_begins_from_the_bundle_as_it_was_uploaded(site: Site) -> None:
    site.fetch("r1", {"a": "x"})
    touch = {"name": "t", "command": "echo y > a", "cwd": None, "env": {}, "test": None, "ignore_errors": False}
    for steps in (["run"], ["run", "prepare"]):
        for step in steps:
            site.job(step, release="r1", stage="prebuild", commands=[touch], processes=[])

        assert site.fetch("r1", {"a": "x"})["files"] == 1
        assert (site.home / "releases/r1/app/a").read_text() == "x"


def test_a_missing_file_is_named_and_nothing_stays(site: Site) -> None:
    with pytest.raises(JobFailed, match=r"the content of lib/b\.py cannot be read: No such file") as failure:
        site.fetch("r-lost", manifest=[*site.files({"a.py": "x"}), ["lib/b.py", 0o644, DIGEST, 5]])

    assert "Deploy again" in failure.value.remedy
    assert left(site, "r-lost") == []


def test_a_damaged_file_is_named_and_nothing_stays(site: Site) -> None:
    manifest = site.files({"a.py": "x = 1", "b.py": "y = 2"})
    digest = manifest[1][2]
    (site.blobs / digest[:2] / digest).write_text("evil!")

    with pytest.raises(JobFailed, match=f"the content of b.py is damaged: 5 bytes .* not 5 with {digest}"):
        site.fetch("r-lost", manifest=manifest)

    assert left(site, "r-lost") == []


def test_a_release_in_use_keeps_its_files(site: Site) -> None:
    site.prepare("r-used", {"web": "true"}, {"a": "x"})
    site.job("commit", release="r-used", keep=[])

    with pytest.raises(JobFailed, match="release r-used is in use here with other files"):
        site.fetch("r-used", {"a": "y"})


def test_a_link_that_leads_out_by_way_of_another_is_refused(site: Site) -> None:
    manifest = [["sub/here", "link", "."], ["sub/out", "link", "here/../.."]]

    with pytest.raises(JobFailed, match="sub/out is refused: this link leads out"):
        site.fetch("r1", manifest=[["sub", "dir"], *manifest])


def test_unfinished_folders_of_a_dead_agent_are_removed(new_site: Callable[..., Site]) -> None:
    site = new_site().start()
    site.kill()
    staging = site.home / "releases" / ".staging-dead" / "app"
    staging.mkdir(parents=True)
    (staging / "file").write_text("half")
    staging.chmod(0o500)

    site.start()

    assert list((site.home / "releases").iterdir()) == []


def test_files_that_a_power_cut_may_have_torn_are_copied_again(site: Site) -> None:
    site.fetch("r1", {"a": "x"})
    path = site.home / "releases/r1/release.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "boot": "an earlier one"}))

    assert site.fetch("r1", {"a": "x"})["files"] == 1


@pytest.mark.pure
@pytest.mark.parametrize(
    ("entry", "why"),
    [
        (["/etc/passwd", 0o644, DIGEST, 1], "only plain relative paths"),
        (["../x", 0o644, DIGEST, 1], "only plain relative paths"),
        (["a/../../x", 0o644, DIGEST, 1], "only plain relative paths"),
        (["a//x", 0o644, DIGEST, 1], "only plain relative paths"),
        (["a\0b", 0o644, DIGEST, 1], "only plain relative paths"),
        (["", "dir"], "only plain relative paths"),
        (["a", 0o644, "../../etc", 1], "neither a file, nor a link, nor a folder"),
        (["a", 0o644, DIGEST], "neither a file, nor a link, nor a folder"),
        (["a", "device"], "neither a file, nor a link, nor a folder"),
        ("a", "no entry of a manifest"),
        (["twice", "dir"], "it comes twice"),
        (["twice/x", "dir"], "it lies below a file or link"),
    ],
)
def test_entries_that_are_refused(entry: Any, why: str) -> None:
    with pytest.raises(JobFailure, match=why):
        Manifest.read([["twice", "link", "x"], entry])


@pytest.mark.parametrize(
    ("manifest", "path"),
    [
        ([["l", "link", "/etc"]], "l"),
        ([["l", "link", "../x"]], "l"),
        ([["a/l", "link", "../../x"]], "a/l"),
        ([["l", "link", "a/../.."]], "l"),
    ],
)
def test_links_that_are_refused(site: Site, manifest: list[list[Any]], path: str) -> None:
    with pytest.raises(JobFailed, match=f"{path} is refused"):
        site.fetch("r-link", manifest=manifest)

    assert left(site, "r-link") == []
