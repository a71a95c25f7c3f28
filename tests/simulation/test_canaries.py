"""A canary in simulated traffic: the real judgement decides, by what requests meet at either release."""

from __future__ import annotations

import sys

import msgspec
import pytest

from beanpole.policies.canary import Finding
from beanpole.simulation.run import History, run
from beanpole.simulation.scenario import Command, Fault, Scenario
from beanpole.simulation.version import Version

SPLIT = Scenario(policy="TrafficSplitting", rate=60.0, percent=20, evaluation=20)
BAD = Version(errors=0.3)


def ended(version: Version, *faults: Fault, **more: object) -> History:
    scenario = msgspec.structs.replace(SPLIT, versions=(Version(), version), faults=faults, **more)
    history = run(scenario)
    assert history.broken == [], history.text()
    return history


@pytest.mark.parametrize(
    ("version", "how"),
    [
        (Version(), "passed"),
        (Version(slowness=1.3), "passed"),
        (Version(errors=0.3, worse_after=300.0), "passed"),
        (BAD, "refused"),
        (Version(errors=0.3, worse_after=10.0), "refused"),
        (Version(slowness=4.0), "refused"),
    ],
)
def test_a_canary_is_judged_by_its_requests(version: Version, how: str) -> None:
    history = ended(version)
    (canary,) = history.canaries
    assert (canary.judged, canary.ended) == (True, how), history.text()
    assert history.outcomes == ["update: succeeded" if how == "passed" else "update: failed"]


def test_with_too_few_requests_nothing_is_judged_and_that_is_told() -> None:
    history = ended(BAD, rate=5.0)
    assert history.outcomes == ["update: succeeded"]
    assert [(each.judged, each.ended) for each in history.canaries] == [(False, "passed")]
    assert any("was not judged, since it had too few requests" in message for message in history.messages)


@pytest.mark.parametrize(("word", "outcome"), [("promote", "succeeded"), ("abort", "aborted")])
def test_a_word_in_the_middle_ends_the_watch(word: str, outcome: str) -> None:
    history = ended(BAD, commands=(Command("deploy", 1.0, 2), Command(word, 6.0)))  # type: ignore[arg-type]
    assert history.outcomes == [f"update: {outcome}"]
    ((begin, end),) = history.spans
    assert end - begin < 15


@pytest.mark.parametrize(
    "faults",
    [
        (Fault("jump", 0.5, 0.0, 0, 3600.0),),
        (Fault("jump", 0.5, 0.0, 0, -3600.0),),
        (Fault("jump", 7.0, 0.0, 0, 3600.0), Fault("kill", 7.5, 0.5)),
        (Fault("kill", 7.0, 5.0),),
        (Fault("freeze", 7.0, 30.0),),
    ],
    ids=lambda faults: " ".join(f"{fault.kind} {fault.amount:.0f}" for fault in faults),
)
def test_clocks_and_deaths_of_control_planes_do_not_let_a_bad_one_through(faults: tuple[Fault, ...]) -> None:
    """The watch began by our clock, and requests are counted by the balancer's: ours ahead, none ever counted."""
    history = ended(BAD, *faults)
    assert [(each.judged, each.ended) for each in history.canaries] == [(True, "refused")], history.text()


def judge_nothing(*_: object) -> Finding:
    return Finding((), judged=True, words="all is well")


def count_nothing(*_: object) -> Finding:
    return Finding((), judged=False, words="nobody came")


def refuse_all(*_: object) -> Finding:
    return Finding(("5 % of 100 requests to the new release failed",), judged=True, words="bad")


@pytest.mark.parametrize(
    ("wrong", "version", "sentence"),
    [
        (judge_nothing, BAD, "a bad canary became the whole fleet"),
        (judge_nothing, Version(slowness=4.0), "a bad canary became the whole fleet"),
        (count_nothing, Version(), "was not judged though it had enough requests"),
        (refuse_all, Version(), "a good canary was refused"),
    ],
    ids=("bad by errors", "bad by latency", "not judged", "good and refused"),
)
def test_a_wrong_judgement_is_found(
    wrong: object, version: Version, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["beanpole.operations.steps.watch"], "judge", wrong)
    history = run(msgspec.structs.replace(SPLIT, versions=(Version(), version)))
    assert any(sentence in words for words in history.broken), history.text()
