"""`beanpole simulate`, as a user runs it: without a control plane, without a home."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from beanpole.cli import main


def simulated(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> tuple[str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["simulate", *words])
    assert (ended.value.code or 0) == status
    told = capsys.readouterr()
    return told.out, told.err


def test_a_release_that_does_not_start_on_some_goes_back_without_losing_capacity(
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, _ = simulated(capsys, "--policy", "rolling", "--instances", "12", "--fail", "2", "--json")
    found = json.loads(out)
    assert (found["outcome"], found["lowest_capacity"], found["broken_promises"]) == ("failed", 12, [])
    assert found["events"][-1] == "Failed to deploy application."
    assert any(sample["versions"] == {"v1": 12} for sample in found["capacity"][1:])


def test_lost_servers_are_gone_on_without(capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = simulated(capsys, "--instances", "8", "--fail", "2", "--how", "lost", "--policy", "all-at-once", "--json")
    found = json.loads(out)
    assert (found["outcome"], found["lowest_capacity"]) == ("succeeded", 6)


def test_a_release_whose_requests_fail_is_no_canary_for_long(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--policy", "traffic-splitting", "--instances", "3", "--fail", "1", "--how", "errors", "--json")
    found = json.loads(simulated(capsys, *words)[0])
    assert (found["outcome"], found["lowest_capacity"], found["broken_promises"]) == ("failed", 3, [])
    assert any("requests to the new release failed" in sentence for sentence in found["events"])


def test_the_picture_is_drawn_for_a_person_and_as_svg(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out, _ = simulated(capsys, "--instances", "4", "--batch-size", "1", "--svg", str(tmp_path / "picture.svg"))
    assert "succeeded in" in out
    assert "Lowest capacity: 4 of 4" in out
    assert {"█", "▒"} <= set(out)
    assert "\x1b" not in out
    assert ElementTree.parse(tmp_path / "picture.svg").getroot().tag.endswith("svg")


def test_the_same_seed_gives_the_same_answer(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--instances", "5", "--fail", "1", "--how", "slow", "--seed", "7", "--json")
    assert simulated(capsys, *words) == simulated(capsys, *words)


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        (("--policy", "hope"), "There is no policy 'hope'"),
        (("--how", "badly"), "Nothing fails like 'badly'"),
        (("--batch-size", "0"), "'0' is no size of a batch"),
        (("--batch-size", "101%"), "'101%' is no size of a batch"),
        (("--instances", "3", "--fail", "4"), "4 of 3 instances cannot fail"),
    ],
)
def test_bad_input_is_refused_with_a_remedy(
    capsys: pytest.CaptureFixture[str], words: tuple[str, ...], cause: str
) -> None:
    _, err = simulated(capsys, *words, status=2)
    assert cause in err
    assert len(err.strip().splitlines()) == 2
