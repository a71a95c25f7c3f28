"""Whatever a client of botocore may send, we read; whatever we may answer, it reads."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.model import OperationModel, ServiceModel
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from shape_values import structures

from beanpole.aws.form import parse_form
from beanpole.aws.models import load_model
from beanpole.aws.query import parse_parameters
from beanpole.aws.xml import result_document

pytestmark = pytest.mark.pure

BEANSTALK, BEANPOLE, IAM = load_model("elasticbeanstalk"), load_model("beanpole"), load_model("iam")

TRAITS = ServiceModel(
    {
        "metadata": {"protocol": "query", "apiVersion": "1", "xmlNamespace": "urn:traits", "serviceId": "traits"},
        "operations": {
            "Do": {
                "name": "Do",
                "http": {"method": "POST", "requestUri": "/"},
                "input": {"shape": "All"},
                "output": {"shape": "All", "resultWrapper": "DoResult"},
            }
        },
        "shapes": {
            "All": {
                "type": "structure",
                "members": {
                    "Flat": {"shape": "FlatList"},
                    "Named": {"shape": "NamedList"},
                    "Map": {"shape": "Map"},
                    "Renamed": {"shape": "Text", "locationName": "other"},
                    "Blob": {"shape": "Blob"},
                    "Double": {"shape": "Double"},
                    "Long": {"shape": "Long"},
                    "At": {"shape": "At"},
                    "Deep": {"shape": "Deep"},
                },
            },
            "Deep": {"type": "structure", "members": {"Maps": {"shape": "Maps"}, "Yes": {"shape": "Yes"}}},
            "Maps": {"type": "list", "member": {"shape": "Map"}},
            "FlatList": {"type": "list", "flattened": True, "member": {"shape": "Text", "locationName": "Item"}},
            "NamedList": {"type": "list", "member": {"shape": "Text", "locationName": "Entry"}},
            "Map": {"type": "map", "key": {"shape": "Text"}, "value": {"shape": "Long"}},
            "Text": {"type": "string"},
            "Blob": {"type": "blob"},
            "Double": {"type": "double"},
            "Long": {"type": "long"},
            "At": {"type": "timestamp"},
            "Yes": {"type": "boolean"},
        },
    },
    "traits",
)

OPERATIONS = [
    *((BEANSTALK, name) for name in BEANSTALK.operation_names),
    *((BEANPOLE, name) for name in BEANPOLE.operation_names),
    *((IAM, name) for name in ("CreateRole", "ListRoles", "ListInstanceProfiles", "ListAttachedRolePolicies")),
    (TRAITS, "Do"),
]

several = settings(
    max_examples=3 * settings.default.max_examples,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def without_lost_empties(value: Any) -> Any:
    """As the wire sees it: an empty flattened list is no element at all."""
    return {name: item for name, item in value.items() if not (name == "Flat" and item == [])}


@several
@given(of=st.sampled_from(OPERATIONS), data=st.data())
def test_parameters_arrive_as_they_were_sent(of: tuple[ServiceModel, str], data: st.DataObject) -> None:
    model, name = of
    operation: OperationModel = model.operation_model(name)
    if operation.input_shape is None:
        return
    params = data.draw(structures(operation.input_shape, empty=True))
    sent = create_serializer("query", include_validation=False).serialize_to_request(params, operation)["body"]
    form = parse_form(urlencode(sent).encode())
    assert form.children["Action"].value == name
    assert parse_parameters(operation, form) == without_lost_empties(params)


@several
@given(of=st.sampled_from(OPERATIONS), data=st.data())
def test_results_arrive_as_they_were_returned(of: tuple[ServiceModel, str], data: st.DataObject) -> None:
    model, name = of
    operation: OperationModel = model.operation_model(name)
    shape = operation.output_shape
    result = data.draw(structures(shape, empty=True)) if shape is not None else None
    body = result_document(operation, result, "the-id")
    parsed = create_parser("query").parse({"body": body, "headers": {}, "status_code": 200}, shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == "the-id"
    assert parsed == without_lost_empties(result or {})


@pytest.mark.parametrize("name", ["DescribeKeyPairs", "ImportKeyPair", "DescribeSecurityGroups"])
def test_the_dialect_of_ec2_too(name: str) -> None:
    operation = load_model("ec2").operation_model(name)

    @settings(several, max_examples=max(settings.default.max_examples // 20, 1))
    @given(st.data())
    def check(data: st.DataObject) -> None:
        # EC2 has no empty lists on the wire.
        params = data.draw(structures(operation.input_shape, empty=True, fewest=1))
        sent = create_serializer("ec2", include_validation=False).serialize_to_request(params, operation)["body"]
        assert parse_parameters(operation, parse_form(urlencode(sent).encode())) == params
        result = data.draw(structures(operation.output_shape, empty=True))
        body = result_document(operation, result, "the-id")
        parsed = create_parser("ec2").parse({"body": body, "headers": {}, "status_code": 200}, operation.output_shape)
        assert parsed.pop("ResponseMetadata")["RequestId"] == "the-id"
        assert parsed == result

    check()
