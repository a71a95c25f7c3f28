"""Events about an environment's health: when, in which words, and never in those that end a client's wait."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.health.rules.facts import EnvironmentHealth
from beanpole.health.rules.status import STATUSES
from beanpole.health.rules.transition import Said, Transition, said_by, transition

pytestmark = pytest.mark.pure

NOW = 1_800_000_000.0
LONG_AGO = NOW - 3600


def test_the_first_status_has_no_origin() -> None:
    health = EnvironmentHealth(
        "Pending", ("Initialization in progress (running for 3 seconds). There are no instances.",)
    )
    assert transition(Said(), health, NOW) == Transition(
        "Environment health has transitioned to Pending. Initialization in progress (running for 3 seconds). "
        "There are no instances.",
        "INFO",
    )


@pytest.mark.parametrize(
    ("old", "new", "severity"),
    [
        ("Ok", "Info", "INFO"),
        ("Severe", "Ok", "INFO"),
        ("Info", "Pending", "INFO"),
        ("Ok", "Warning", "WARN"),
        ("Ok", "NoData", "WARN"),
        ("Warning", "Degraded", "WARN"),
        ("Degraded", "Severe", "WARN"),
    ],
)
def test_words_and_severity(old: str, new: str, severity: str) -> None:
    found = transition(Said(old, LONG_AGO), EnvironmentHealth(new, ("A cause.", "Another.")), NOW)
    words = f"Environment health has transitioned from {old} to {new}. A cause. Another."
    assert found == Transition(words, severity)


def test_nothing_new_is_not_told() -> None:
    assert transition(Said("Ok", LONG_AGO), EnvironmentHealth("Ok", ("A cause.",)), NOW) is None


def test_that_nothing_is_known_is_not_told() -> None:
    assert transition(Said("Ok", LONG_AGO), EnvironmentHealth("Unknown"), NOW) is None


def test_at_most_one_a_minute() -> None:
    said = Said("Ok", NOW - 59.9)
    assert transition(said, EnvironmentHealth("Warning"), NOW) is None
    assert transition(said, EnvironmentHealth("Warning"), NOW + 0.1) is not None


def test_severe_does_not_wait() -> None:
    assert transition(Said("Ok", NOW - 1), EnvironmentHealth("Severe"), NOW) is not None


statuses = st.sampled_from(STATUSES)


@given(st.none() | statuses, statuses, st.lists(st.text(max_size=40), max_size=3))
def test_what_was_said_can_be_read_back(old: str | None, new: str, causes: list[str]) -> None:
    found = transition(Said(old, LONG_AGO), EnvironmentHealth(new, tuple(causes)), NOW)
    if found is not None:
        assert said_by(found.message, NOW) == Said(new, NOW)
        assert "has been set to" not in found.message.split(".")[0]


def test_other_messages_say_nothing() -> None:
    assert said_by("Environment health has transitioned to Purple.", NOW) == Said(None, NOW)
