from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beanpole.aws.errors import AwsError
from beanpole.aws.form import parse_form
from beanpole.aws.models import load_model
from beanpole.aws.query import parse_parameters

pytestmark = pytest.mark.pure

MODEL = load_model("elasticbeanstalk")


def read(operation: str, form: str | bytes) -> dict[str, Any]:
    tree = parse_form(form if isinstance(form, bytes) else form.encode())
    return parse_parameters(MODEL.operation_model(operation), tree)


def test_the_empty_list_of_the_eb_cli() -> None:
    assert read("CreateApplication", "ApplicationName=a&Tags=") == {"ApplicationName": "a", "Tags": []}
    assert read("UpdateEnvironment", "OptionSettings=") == {"OptionSettings": []}


def test_entries_come_in_the_order_of_their_numbers() -> None:
    form = "&".join(f"EnvironmentNames.member.{n}=name{n}" for n in (10, 2, 1))
    assert read("DescribeEnvironments", form) == {"EnvironmentNames": ["name1", "name2", "name10"]}


def test_equal_entries_are_kept() -> None:
    form = "".join(f"&OptionSettings.member.{n}.Namespace=n&OptionSettings.member.{n}.Value=1" for n in (1, 2))
    setting = {"Namespace": "n", "Value": "1"}
    assert read("UpdateEnvironment", form.lstrip("&")) == {"OptionSettings": [setting, setting]}


def test_what_the_eb_cli_adds() -> None:
    form = (
        "ApplicationName=a&EnvironmentName=name&TemplateSpecification.TemplateSource.EnvironmentName=other"
        "&TemplateSpecification.TemplateSnippets.member.1.Order=10000&Tier.Name=WebServer"
    )
    assert read("CreateEnvironment", form) == {
        "ApplicationName": "a",
        "EnvironmentName": "name",
        "TemplateSpecification": {
            "TemplateSource": {"EnvironmentName": "other"},
            "TemplateSnippets": [{"Order": 10000}],
        },
        "Tier": {"Name": "WebServer"},
    }
    assert read("ValidateConfigurationSettings", "ApplicationName=a") == {"ApplicationName": "a"}


def test_unknown_parameters_are_ignored() -> None:
    form = "Action=x&Version=y&Nonsense=1&Tier.Nonsense=2&EnvironmentNames.member.1=name&" + ".".join("a" * 60) + "=1"
    assert read("DescribeEnvironments", form) == {"EnvironmentNames": ["name"]}


@pytest.mark.parametrize(
    ("sent", "time"),
    [
        ("2026-10-12T08:29:31.693029Z", datetime(2026, 10, 12, 8, 29, 31, 693029, UTC)),
        ("2026-10-12T08:29:31Z", datetime(2026, 10, 12, 8, 29, 31, 0, UTC)),
        ("2026-10-12T10:29:31.5%2B02:00", datetime(2026, 10, 12, 8, 29, 31, 500000, UTC)),
        ("2026-10-12+08:29:31.693029", datetime(2026, 10, 12, 8, 29, 31, 693029, UTC)),
        ("2026-10-12", datetime(2026, 10, 12, tzinfo=UTC)),
        ("1792000000.25", datetime(2026, 10, 14, 17, 46, 40, 250000, UTC)),
    ],
)
def test_times(sent: str, time: datetime) -> None:
    assert read("DescribeEvents", f"StartTime={sent}") == {"StartTime": time}


@pytest.mark.parametrize(
    ("operation", "form", "code", "named"),
    [
        ("CreateApplication", "", "MissingParameter", "ApplicationName"),
        ("CreateApplication", "ApplicationName=", "ValidationError", "ApplicationName"),
        ("CreateApplication", "ApplicationName=" + "x" * 101, "ValidationError", "ApplicationName"),
        ("CreateApplication", "ApplicationName=a&ApplicationName=b", "MalformedQueryString", "ApplicationName"),
        ("CreateApplication", "ApplicationName.member.1=a", "InvalidParameterValue", "ApplicationName"),
        ("CreateApplication", "ApplicationName=%00", "InvalidParameterValue", "U+0000"),
        ("CreateApplication", "ApplicationName=%EF%BF%BF", "InvalidParameterValue", "U+FFFF"),
        ("CreateApplication", "ApplicationName=%ff", "MalformedQueryString", "UTF-8"),
        ("CreateApplication", b"ApplicationName=\xff", "MalformedQueryString", "UTF-8"),
        ("CreateApplication", "ApplicationName=%ED%A0%80", "MalformedQueryString", "UTF-8"),
        ("CreateApplication", "&".join(f"a{n}=" for n in range(20_001)), "MalformedQueryString", "20000"),
        ("CreateApplication", "ApplicationName=a&Tags=x", "InvalidParameterValue", "Tags"),
        ("CreateApplication", "ApplicationName=a&Tags.1.Key=x", "InvalidParameterValue", "Tags"),
        ("CreateApplication", "ApplicationName=a&Tags.member.x.Key=x", "InvalidParameterValue", "Tags.member"),
        ("CreateApplication", "ApplicationName=a&Tags.member.0.Key=x", "InvalidParameterValue", "Tags.member"),
        ("UpdateEnvironment", f"OptionSettings.member.{'9' * 5000}=x", "InvalidParameterValue", "Settings.member"),
        ("CreateApplication", f"ApplicationName=a&Tags.member.3.Key={'k' * 129}", "ValidationError", ".member.3.Key"),
        ("CreateEnvironment", "ApplicationName=a&EnvironmentName=abc", "ValidationError", "EnvironmentName"),
        ("CreateEnvironment", "ApplicationName=a&Tier=x", "InvalidParameterValue", "Tier"),
        ("DescribeEvents", "MaxRecords=many", "InvalidParameterValue", "MaxRecords"),
        ("DescribeEvents", "MaxRecords=%D9%A3", "InvalidParameterValue", "MaxRecords"),
        ("DescribeEvents", "MaxRecords=0", "ValidationError", "MaxRecords"),
        ("DescribeEvents", "MaxRecords=1001", "ValidationError", "MaxRecords"),
        ("DescribeEvents", "MaxRecords=99999999999", "InvalidParameterValue", "MaxRecords"),
        ("DescribeEvents", "MaxRecords=" + "9" * 9999, "InvalidParameterValue", "MaxRecords"),
        ("DescribeEvents", "Severity=LOUD", "ValidationError", "Severity"),
        ("DescribeEvents", "StartTime=yesterday", "InvalidParameterValue", "StartTime"),
        ("DescribeEvents", "StartTime=0001-01-01T00:00:00%2B14:00", "InvalidParameterValue", "StartTime"),
        ("DescribeEvents", "StartTime=999999999999", "InvalidParameterValue", "StartTime"),
        ("DescribeEnvironments", "IncludeDeleted=maybe", "InvalidParameterValue", "IncludeDeleted"),
    ],
)
def test_bad_input_is_named(operation: str, form: str | bytes, code: str, named: str) -> None:
    with pytest.raises(AwsError) as raised:
        read(operation, form)
    assert raised.value.code == code
    assert raised.value.status == 400
    assert named in raised.value.message


def test_values_are_not_repeated_in_errors() -> None:
    with pytest.raises(AwsError) as raised:
        read("DescribeEvents", "MaxRecords=hunter2")
    assert "hunter2" not in raised.value.message


@settings(max_examples=150, deadline=None, database=None)
@given(st.binary(max_size=200) | st.from_regex(rb"(Tags|ApplicationName)(\.(member|1|x)){0,3}=[a%&=]*", fullmatch=True))
def test_any_bytes_give_parameters_or_a_clear_error(form: bytes) -> None:
    try:
        read("CreateApplication", form)
    except AwsError as error:
        assert error.status == 400
