import botocore.session
import pytest

from beanpole.aws.models import client_loader, load_model

pytestmark = pytest.mark.pure


def members(service: str, shape: str) -> set[str]:
    return set(load_model(service).shape_for(shape).members)


def test_the_additions_of_the_eb_cli_are_there() -> None:
    assert "Tier" in members("elasticbeanstalk", "ConfigurationSettingsDescription")
    assert "Alerts" in members("elasticbeanstalk", "EnvironmentDescription")
    assert "DeleteResources" in members("elasticbeanstalk", "DeletePlatformVersionRequest")
    assert members("elasticbeanstalk", "DescribeConfigurationOptionsMessage") >= {"Tier", "OptionSettings"}
    for message in ("CreateEnvironment", "UpdateEnvironment", "CreateConfigurationTemplate"):
        assert "TemplateSpecification" in members("elasticbeanstalk", f"{message}Message")
    validate = load_model("elasticbeanstalk").shape_for("ValidateConfigurationSettingsMessage")
    assert validate.required_members == ["ApplicationName"]


def test_the_public_model_stays_whole() -> None:
    assert len(load_model("elasticbeanstalk").operation_names) >= 47
    assert "Description" in members("elasticbeanstalk", "ConfigurationSettingsDescription")


def test_prose_is_left_out() -> None:
    assert load_model("iam").operation_model("GetRole").documentation == ""


def test_our_own_service_can_be_used_with_botocore() -> None:
    session = botocore.session.Session()
    session.register_component("data_loader", client_loader())
    session.set_credentials("AK", "secret")
    client = session.create_client("beanpole", region_name="local-1", endpoint_url="http://127.0.0.1:1")
    assert client.meta.service_model.signing_name == "beanpole"
    assert set(client.meta.service_model.operation_names) == {
        "DescribeControlPlane",
        "PlanEnvironmentUpdate",
        "PromoteEnvironment",
        "ScheduleTermination",
        "DescribeOperations",
        "DescribeReleases",
        "RollbackEnvironment",
        "DescribeRequests",
        "TailLogs",
        "DescribeHostKeys",
        "AddHosts",
        "DescribeHosts",
        "CheckHosts",
        "RemoveHost",
        "SetDefaultLocation",
        "DescribeEdges",
        "MoveEdge",
        "EndFormerEdges",
        "DescribeHistory",
        "PlanAdoption",
        "AdoptUnit",
        "DescribeAdoption",
        "EjectHost",
        "EjectEnvironment",
        "DescribeEjection",
    }


def test_every_shape_of_our_own_service_resolves() -> None:
    model = load_model("beanpole")
    for name in model.shape_names:
        shape = model.shape_for(name)
        if shape.type_name == "structure":
            assert all(member.type_name for member in shape.members.values())
