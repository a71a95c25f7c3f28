from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import Any
from xml.etree import ElementTree

import pytest
from botocore.parsers import create_parser

from beanpole.aws.errors import AwsError
from beanpole.aws.models import load_model
from beanpole.aws.xml import Dialect, error_document, result_document

pytestmark = pytest.mark.pure

MODEL = load_model("elasticbeanstalk")


def answer(operation: str, result: dict[str, Any] | None) -> bytes:
    return result_document(MODEL.operation_model(operation), result, "id-1")


def parsed(operation: str, result: dict[str, Any] | None) -> dict[str, Any]:
    shape = MODEL.operation_model(operation).output_shape
    found = create_parser("query").parse({"body": answer(operation, result), "headers": {}, "status_code": 200}, shape)
    found.pop("ResponseMetadata")
    return dict(found)


def test_the_frame_of_an_answer() -> None:
    root = ElementTree.fromstring(answer("CreateStorageLocation", {"S3Bucket": "b"}))
    namespace, _, root_name = root.tag.rpartition("}")
    assert namespace == "{http://elasticbeanstalk.amazonaws.com/docs/2010-12-01/"
    assert root_name == "CreateStorageLocationResponse"
    assert [element.tag.removeprefix(f"{namespace}}}") for element in root.iter()][1:] == [
        "CreateStorageLocationResult",
        "S3Bucket",
        "ResponseMetadata",
        "RequestId",
    ]


def test_an_operation_without_output() -> None:
    assert parsed("RebuildEnvironment", None) == {}


def test_none_is_left_out_and_an_empty_list_is_not() -> None:
    result = {"Environments": [{"EnvironmentName": "e", "CNAME": None, "Alerts": []}]}
    assert parsed("DescribeEnvironments", result) == {"Environments": [{"EnvironmentName": "e", "Alerts": []}]}
    assert parsed("DescribeEnvironments", {"Environments": []}) == {"Environments": []}


def test_times_have_milliseconds_and_z() -> None:
    at = datetime(2026, 10, 12, 10, 29, 31, 693999, timezone(timedelta(hours=2)))
    written = answer("DescribeEvents", {"Events": [{"EventDate": at}]})
    assert b"<EventDate>2026-10-12T08:29:31.693Z</EventDate>" in written


def test_text_that_xml_cannot_carry() -> None:
    text = "\x1b[31mred\x1b[0m\r\n<&>\"' \ud800 \uffff end  "
    shown = parsed("DescribeEvents", {"Events": [{"Message": text}]})["Events"][0]["Message"]
    assert shown == "\ufffd[31mred\ufffd[0m\r\n<&>\"' \ufffd \ufffd end  "


@pytest.mark.parametrize(
    "result",
    [
        {"Evnets": []},
        {"Events": [{"Mesage": "m"}]},
        {"Events": "no list"},
        {"Events": [["no mapping"]]},
        {"Events": [{"Message": 1}]},
        {"Events": [{"EventDate": datetime(2026, 1, 1)}]},
        {"Events": [{"EventDate": "2026-01-01"}]},
    ],
)
def test_a_result_of_another_shape_is_our_mistake(result: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        answer("DescribeEvents", result)


@pytest.mark.parametrize("protocol", ["query", "ec2", "rest-xml", "json"])
def test_error_documents_of_every_dialect(protocol: str) -> None:
    dialect: Dialect = {"rest-xml": "s3"}.get(protocol, protocol)  # type: ignore[assignment]
    error = AwsError("InvalidParameterValue", "No Application named 'a<b>' found.", 400, Key="k&")
    body = error_document(dialect, error, "id-1")
    shape = MODEL.operation_model("DescribeEvents").output_shape
    response = {"body": body, "headers": {}, "status_code": 400, "context": {}}
    found = create_parser(protocol).parse(response, shape)
    assert found["Error"]["Code"] == "InvalidParameterValue"
    assert found["Error"]["Message"] == "No Application named 'a<b>' found."
    if dialect == "json":
        assert json.loads(body)["__type"] == "InvalidParameterValue"
    else:
        assert b"id-1" in body


def test_the_fault_says_who_has_to_change_something() -> None:
    assert b"<Type>Sender</Type>" in error_document("query", AwsError("A", "b", 403), "id")
    assert b"<Type>Receiver</Type>" in error_document("query", AwsError("A", "b", 500), "id")
