"""What a command line asks for: names and option settings."""

from __future__ import annotations

import pytest

from beanpole.cli import names
from beanpole.cli.errors import Misused
from beanpole.cli.settings import FIRST, PROPERTIES, Policy, wanted

pytestmark = pytest.mark.pure


@pytest.mark.parametrize(
    ("folder", "application", "environment"),
    [
        ("shop", "shop", "shop-dev"),
        ("My Shop (é)", "My-Shop-e", "My-Shop-e-dev"),
        ("_x_", "x", "x-dev"),
        ("a" * 60, "a" * 36, "a" * 36 + "-dev"),
        ("b" * 35 + "--c", "b" * 35, "b" * 35 + "-dev"),
    ],
)
def test_names_from_folders_are_valid(folder: str, application: str, environment: str) -> None:
    assert names.application_from(folder) == application
    assert names.environment_from(application) == environment
    assert names.checked_environment(environment) == environment


@pytest.mark.parametrize("folder", ["東京", "", "--"])
def test_of_some_folders_no_name_can_be_made(folder: str) -> None:
    assert names.application_from(folder) == names.environment_from(folder) == ""


@pytest.mark.parametrize("label", ["a/b", "", "a\n", "x" * 101])
def test_labels_that_are_none(label: str) -> None:
    with pytest.raises(Misused, match="is no label for a version"):
        names.checked_label(label)
    assert names.checked_label("v 1.0-ü") == "v 1.0-ü"


@pytest.mark.parametrize(
    ("name", "valid"),
    [("東京", "application-dev"), ("abc", "abc-dev"), ("my_shop", "my-shop"), ("-shop-", "shop"), ("a" * 41, "a" * 36)],
)
def test_an_invalid_name_comes_with_a_valid_one(name: str, valid: str) -> None:
    with pytest.raises(Misused) as refused:
        names.checked_environment(name)
    assert refused.value.remedy == f"A valid name would be {valid}."


def test_nearest() -> None:
    assert names.nearest("Shop-dve", ["shop-dev", "bakery"]) == "Did you mean shop-dev?"
    assert names.nearest("zzz", ["b", "a"]) == "Known: a, b."
    assert names.nearest("zzz", []) == ""


def test_settings_by_namespace_and_name() -> None:
    found = wanted(
        instances=3,
        policy=Policy.ALL_AT_ONCE,
        batch_size=2,
        properties=["A=1=2", "B="],
        options=["aws:elasticbeanstalk:command:Timeout=300"],
    )
    assert found.values == {
        (PROPERTIES, "A"): "1=2",
        (PROPERTIES, "B"): None,
        ("aws:elasticbeanstalk:command", "Timeout"): "300",
        ("aws:autoscaling:asg", "MinSize"): "3",
        ("aws:autoscaling:asg", "MaxSize"): "3",
        ("aws:elasticbeanstalk:command", "DeploymentPolicy"): "AllAtOnce",
        ("aws:elasticbeanstalk:command", "BatchSizeType"): "Fixed",
        ("aws:elasticbeanstalk:command", "BatchSize"): "2",
    }


def test_policies_are_named_as_people_would() -> None:
    values = {
        policy.value: wanted(policy=policy).values["aws:elasticbeanstalk:command", "DeploymentPolicy"]
        for policy in Policy
    }
    assert values == {
        "rolling": "Rolling",
        "all-at-once": "AllAtOnce",
        "additional-batch": "RollingWithAdditionalBatch",
        "immutable": "Immutable",
        "traffic-splitting": "TrafficSplitting",
    }


def test_what_is_chosen_outranks_what_is_first() -> None:
    new = {(each["Namespace"], each["OptionName"]): each["Value"] for each in wanted(batch_size=2).for_new()}
    assert new == FIRST | {("aws:elasticbeanstalk:command", "BatchSize"): "2"}


def test_a_refusal_does_not_repeat_a_secret() -> None:
    with pytest.raises(Misused) as refused:
        wanted(properties=["=hunter2"])
    assert "hunter2" not in refused.value.cause
