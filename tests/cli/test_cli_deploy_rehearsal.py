"""`beanpole deploy --dry-run`: the plan, and nothing left behind."""

from __future__ import annotations

import zipfile
from pathlib import Path

from deploying import PLAN
from toy_api import Run, Served, Toy, deployed_before


def test_rehearsal_leaves_nothing_behind(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.plan = PLAN
    remembered = (shop / ".elasticbeanstalk/config.yml").read_text()
    done = run("deploy", "--dry-run")
    assert done.status == 0
    assert "  1. Bring bundle and dependencies" in done.out
    assert toy.versions["shop"] == {}
    assert not toy.called("UpdateEnvironment")
    assert (shop / ".elasticbeanstalk/config.yml").read_text() == remembered


def test_rehearsal_says_what_preflight_would_find(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    deployed_before(toy, shop)
    toy.plan, toy.findings = PLAN, ["i-1, i-2: the disk has 3 MB free and the release needs 200 MB"]
    done = run("deploy", "--dry-run")
    assert done.status == 0
    assert done.err == f"Preflight: {toy.findings[0]}\n"
    assert run("deploy", "--dry-run", "--json").json["findings"] == toy.findings


def test_rehearsal_of_a_first_use(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    done = run("deploy", "--dry-run", "--json", "--instances", "2")
    assert done.status == 0
    assert done.json["environment"] == "shop-dev"
    words = [step["words"] for step in done.json["plan"]["steps"]]
    assert words[0] == "Launch 2 instances"
    assert "Start the new release beside the old one and switch (batch 1 of 1: 2 instances)" in words
    assert f"Plan: AllAtOnce, {len(words)} steps on 2 instances" in done.err
    assert "would create the environment shop-dev of the application shop (Python 3.12)" in done.err
    assert not toy.called("CreateEnvironment")
    assert not toy.objects


def test_rehearsal_of_a_first_use_refuses_what_cannot_be_deployed(
    served: Served, toy: Toy, shop: Path, run: Run
) -> None:
    (shop / "application.py").rename(shop / "app.py")
    done = run("deploy", "--dry-run")
    assert done.status == 1
    assert "The source bundle cannot be deployed: The bundle has nothing to start: no Procfile" in done.err
    assert "the bundle has app.py" in done.err
    assert run("deploy", "--dry-run", "--option", "aws:autoscaling:asg:MinSize=many").status == 2
    (shop / "Procfile").write_text("web: gunicorn app:app\n")
    assert run("deploy", "--dry-run").status == 0
    (shop / ".ebextensions").mkdir()
    (shop / ".ebextensions/a.config").write_text("option_settings: [")
    broken = run("deploy", "--dry-run")
    assert broken.status == 1
    assert "a.config" in broken.err
    assert not toy.objects


def test_rehearsal_of_a_first_use_looks_into_a_zip(served: Served, toy: Toy, shop: Path, run: Run) -> None:
    with zipfile.ZipFile(shop / "built.zip", "w") as archive:
        archive.writestr("README", "Nothing else.\n")
    assert "nothing to start" in run("deploy", "--dry-run", "built.zip").err
    with zipfile.ZipFile(shop / "built.zip", "w") as archive:
        archive.writestr("Procfile", "web: true\n")
    assert run("deploy", "--dry-run", "built.zip").status == 0
    (shop / "built.zip").write_text("no zip")
    assert "is not a zip" in run("deploy", "--dry-run", "built.zip").err
