"""Platforms by every name that clients use, and ARNs and solution stacks that the EB CLI can parse."""

from __future__ import annotations

import re

import pytest

from beanpole.platforms.names import Platform, Platforms

pytestmark = pytest.mark.pure

OURS = Platforms(["3.9.2", "3.11.7", "3.13", "3.11.2"])
P311 = Platform("3.11")


def test_newest_first_and_one_for_each_version() -> None:
    assert [platform.python for platform in OURS] == ["3.13", "3.11", "3.9"]
    assert len(OURS) == 3


def test_the_forms_that_clients_parse() -> None:
    assert P311.branch == "Python 3.11 running on 64bit Amazon Linux 2023"
    assert P311.solution_stack == "64bit Amazon Linux 2023 v4.1.0 running Python 3.11"
    arn = P311.arn("local-1")
    assert arn == f"arn:aws:elasticbeanstalk:local-1::platform/{P311.branch}/4.1.0"
    assert re.fullmatch(r"arn:[^:]+:elasticbeanstalk:[^:]+:[^:]*:platform/[^/]+/\d+\.\d+\.\d+", arn)
    assert re.fullmatch(r"\d{2}bit Amazon Linux \d{4} v\d+\.\d+\.\d+ running (.+)", P311.solution_stack)


@pytest.mark.parametrize(
    "name",
    [
        "Python 3.11",
        "python-3.11",
        "PYTHON 3.11",
        " Python 3.11 running on 64bit amazon linux 2023 ",
        "64bit Amazon Linux 2023 v4.1.0 running Python 3.11",
    ],
)
def test_found_by_name(name: str) -> None:
    assert OURS.named(name) == P311


def test_the_family_alone_means_the_newest() -> None:
    assert OURS.named("Python") == Platform("3.13")
    assert Platforms([]).named("python") is None


@pytest.mark.parametrize("name", ["", "Python 3.1", "Python 3", "Node.js 20", "Python 3.12", "python-3.11-x"])
def test_not_ours(name: str) -> None:
    assert OURS.named(name) is None


def test_by_arn() -> None:
    assert OURS.by_arn(P311.arn("eu-west-1"), "eu-west-1") == P311


@pytest.mark.parametrize(
    "arn",
    [
        P311.arn("us-east-1"),
        P311.arn("eu-west-1").replace("4.1.0", "4.0.9"),
        P311.arn("eu-west-1").replace("::", ":123456789012:"),
        Platform("3.12").arn("eu-west-1"),
        "arn:aws:elasticbeanstalk:eu-west-1::platform/x",
        "Python 3.11",
    ],
)
def test_other_arns(arn: str) -> None:
    assert OURS.by_arn(arn, "eu-west-1") is None


@pytest.mark.parametrize("version", ["", "three", "3"])
def test_not_a_version(version: str) -> None:
    with pytest.raises(ValueError, match="not a Python version"):
        Platforms([version])


@pytest.mark.parametrize(
    ("name", "python"),
    [
        (P311.arn("eu-west-1"), "3.11"),
        (P311.arn("eu-west-1").replace("4.1.0", "3.9.9"), "3.11"),
        ("64bit Amazon Linux 2023 v3.0.1 running Python 3.13", "3.13"),
        ("python-3.13", "3.13"),
        ("64bit Amazon Linux 2 v3.0.1 running Python 3.12", None),
        ("64bit Amazon Linux 2023 v3.0.1 running PHP 8.1", None),
        ("arn:aws:elasticbeanstalk:eu-west-1:123456789012:platform/Mine/1.0.0", None),
        ("", None),
    ],
)
def test_names_in_files_outlive_region_and_version(name: str, python: str | None) -> None:
    found = OURS.of_file(name)
    assert (found.python if found else None) == python


@pytest.mark.parametrize(
    ("version", "known"), [("4.0.9", True), ("3.10.0", True), ("4.1.0", False), ("4.1.1", False), ("5.0.0", False)]
)
def test_an_older_version_is_known_and_not_to_be_had(version: str, known: bool) -> None:
    arn = P311.arn("local-1").replace("4.1.0", version)
    former = OURS.former(arn, "local-1")
    assert (former is not None) is known
    assert OURS.former(arn, "elsewhere") is None
    if former is not None:
        assert (former.arn("local-1"), former.solution_stack.split()[4]) == (arn, f"v{version}")
        assert OURS.by_arn(arn, "local-1") is None
