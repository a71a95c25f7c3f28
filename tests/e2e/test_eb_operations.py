"""The API by other clients than eb: every operation that is built, and a clear refusal of every one that is not."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest
from beanpole_site import Site, app, wait_for, zipped
from botocore.exceptions import ClientError
from botocore.model import Shape

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

NOT_BUILT = {
    "AssociateEnvironmentOperationsRole",
    "CreatePlatformVersion",
    "DeletePlatformVersion",
    "DisassociateEnvironmentOperationsRole",
}


def test_every_operation_that_is_built_serves_boto3(site: Site) -> None:
    eb = Recording(site.client())
    stack = site.stack()
    assert eb.call("ListAvailableSolutionStacks")["SolutionStacks"] == [stack]
    (platform,) = eb.call("ListPlatformVersions")["PlatformSummaryList"]
    assert (
        eb.call("ListPlatformBranches")["PlatformBranchSummaryList"][0]["BranchName"] == platform["PlatformBranchName"]
    )
    arn = platform["PlatformArn"]
    assert eb.call("DescribePlatformVersion", PlatformArn=arn)["PlatformDescription"]["SolutionStackName"] == stack
    options = eb.call("DescribeConfigurationOptions", SolutionStackName=stack)["Options"]
    assert ("aws:autoscaling:asg", "MinSize") in {(each["Namespace"], each["Name"]) for each in options}

    made = eb.call("CreateApplication", ApplicationName="shop", Description="beans")["Application"]
    assert (made["ApplicationName"], made["Description"]) == ("shop", "beans")
    assert eb.call("UpdateApplication", ApplicationName="shop", Description="more beans")["Application"][
        "Description"
    ] == ("more beans")
    bucket = eb.call("CreateStorageLocation")["S3Bucket"]
    for label in ("v1", "v2"):
        site.client("s3").put_object(Bucket=bucket, Key=label, Body=zipped(app("probe", label)))
        source = {"S3Bucket": bucket, "S3Key": label}
        eb.call("CreateApplicationVersion", ApplicationName="shop", VersionLabel=label, SourceBundle=source)
    named = {"ApplicationName": "shop", "VersionLabel": "v2"}
    assert eb.call("UpdateApplicationVersion", **named, Description="new")["ApplicationVersion"]["Description"] == "new"
    versions = eb.call("DescribeApplicationVersions", ApplicationName="shop")["ApplicationVersions"]
    assert [version["VersionLabel"] for version in versions] == ["v2", "v1"]
    assert eb.call("DescribeApplications", ApplicationNames=["shop"])["Applications"][0]["Versions"] == ["v2", "v1"]

    assert eb.call("CheckDNSAvailability", CNAMEPrefix="shop-dev")["Available"] is True
    greeting = option("aws:elasticbeanstalk:application:environment", "GREETING", "hello")
    environment = eb.call(
        "CreateEnvironment",
        ApplicationName="shop",
        EnvironmentName="shop-dev",
        VersionLabel="v1",
        PlatformArn=arn,
        OptionSettings=[greeting],
        Tags=[{"Key": "team", "Value": "pets"}],
    )
    assert (environment["Status"], environment["VersionLabel"]) == ("Launching", "v1")
    site.ended(request_id=environment["ResponseMetadata"]["RequestId"])
    assert eb.call("CheckDNSAvailability", CNAMEPrefix="shop-dev")["Available"] is False
    name = {"EnvironmentName": "shop-dev"}
    assert eb.call("DescribeEnvironments", EnvironmentNames=["shop-dev"])["Environments"][0]["Status"] == "Ready"
    tags = eb.call("ListTagsForResource", ResourceArn=environment["EnvironmentArn"])["ResourceTags"]
    assert {"Key": "team", "Value": "pets"} in tags
    (instance,) = eb.call("DescribeEnvironmentResources", **name)["EnvironmentResources"]["Instances"]
    (settings,) = eb.call("DescribeConfigurationSettings", ApplicationName="shop", **name)["ConfigurationSettings"]
    assert greeting in settings["OptionSettings"]
    wrong = option("aws:autoscaling:asg", "MinSize", "many")
    (problem,) = eb.call("ValidateConfigurationSettings", ApplicationName="shop", OptionSettings=[wrong])["Messages"]
    assert (problem["Severity"], problem["OptionName"]) == ("error", "MinSize")
    health = eb.call("DescribeEnvironmentHealth", **name, AttributeNames=["All"])
    assert sum(health["InstancesHealth"].values()) == 1
    found = eb.call("DescribeInstancesHealth", **name, AttributeNames=["All"])["InstanceHealthList"]
    assert [each["InstanceId"] for each in found] == [instance["Id"]]

    asked = eb.call("RequestEnvironmentInfo", **name, InfoType="tail")["ResponseMetadata"]["RequestId"]
    wait_for("the logs", lambda: "Pulled logs for environment instances." in site.events(RequestId=asked))
    (info,) = eb.call("RetrieveEnvironmentInfo", **name, InfoType="tail")["EnvironmentInfo"]
    with urllib.request.urlopen(info["Message"], timeout=10) as answer:
        assert b"probe v1 listens on" in answer.read()

    slow = option("aws:elasticbeanstalk:application:environment", "GREETING", "hello again")
    update = eb.call("UpdateEnvironment", **name, VersionLabel="v2", OptionSettings=[slow])
    assert update["Status"] == "Updating"
    site.ended(request_id=update["ResponseMetadata"]["RequestId"])
    told = eb.call("DescribeEvents", RequestId=update["ResponseMetadata"]["RequestId"])["Events"]
    assert told[0]["Message"] == "Environment update completed successfully."
    restarted = eb.call("RestartAppServer", **name)["ResponseMetadata"]["RequestId"]
    assert site.ended(request_id=restarted)["Outcome"] == "succeeded"
    told = eb.call("DescribeEvents", RequestId=restarted)["Events"]
    assert told[0]["Message"] == "restartAppServer completed successfully."
    refused(eb, "AbortEnvironmentUpdate", "InvalidParameterValue", **name)
    saved_and_kept(eb, environment["EnvironmentArn"], stack)
    itself = {"SourceEnvironmentName": "shop-dev", "DestinationEnvironmentName": "shop-dev"}
    refused(eb, "SwapEnvironmentCNAMEs", "InvalidParameterValue", **itself)
    rebuilding = eb.call("RebuildEnvironment", **name)
    site.ended(request_id=rebuilding["ResponseMetadata"]["RequestId"])
    (another,) = eb.call("DescribeEnvironmentResources", **name)["EnvironmentResources"]["Instances"]
    assert another != instance
    ending = eb.call("TerminateEnvironment", **name)
    assert ending["Status"] == "Terminating"
    refused(eb, "TerminateEnvironment", "InvalidParameterValue", **name)
    site.ended(request_id=ending["ResponseMetadata"]["RequestId"])
    eb.call("DeleteApplicationVersion", ApplicationName="shop", VersionLabel="v1", DeleteSourceBundle=True)
    assert eb.call("DescribeApplicationVersions")["ApplicationVersions"][0]["VersionLabel"] == "v2"
    eb.call("DeleteApplication", ApplicationName="shop")
    assert eb.call("DescribeApplications")["Applications"] == []
    assert eb.called == set(eb.client.meta.service_model.operation_names) - NOT_BUILT


def test_every_operation_that_is_not_built_says_so(site: Site) -> None:
    eb = Recording(site.client())
    model = eb.client.meta.service_model
    for operation in sorted(NOT_BUILT):
        shape = model.operation_model(operation).input_shape
        with pytest.raises(ClientError) as refusal:
            eb.call(operation, **(smallest(shape) if shape is not None else {}))
        error = refusal.value.response["Error"]
        assert error["Code"] == "UnsupportedOperation", (operation, error)
        assert error["Message"] == f"Beanpole does not have the operation {operation} yet."
        assert refusal.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


def saved_and_kept(eb: Recording, arn: str, stack: str) -> None:
    """What is kept about an environment and an application besides running them."""
    of, name = {"ApplicationName": "shop"}, {"EnvironmentName": "shop-dev"}
    eb.call("CreateConfigurationTemplate", **of, TemplateName="mine", SolutionStackName=stack)
    changed = eb.call("UpdateConfigurationTemplate", **of, TemplateName="mine", Description="empty")
    assert changed["Description"] == "empty"
    assert eb.call("DescribeApplications")["Applications"][0]["ConfigurationTemplates"] == ["mine"]
    eb.call("DeleteConfigurationTemplate", **of, TemplateName="mine")
    eb.call("DeleteEnvironmentConfiguration", **of, **name)
    role = "arn:aws:iam::123456789012:role/keeper"
    rules = {"ServiceRole": role, "VersionLifecycleConfig": {"MaxCountRule": {"Enabled": True, "MaxCount": 9}}}
    kept = eb.call("UpdateApplicationResourceLifecycle", **of, ResourceLifecycleConfig=rules)
    assert kept["ResourceLifecycleConfig"]["VersionLifecycleConfig"]["MaxCountRule"]["MaxCount"] == 9
    eb.call("UpdateTagsForResource", ResourceArn=arn, TagsToRemove=["team"])
    assert eb.call("DescribeAccountAttributes")["ResourceQuotas"]["EnvironmentQuota"] == {"Maximum": 200}
    assert eb.call("DescribeEnvironmentManagedActions", **name)["ManagedActions"] == []
    assert eb.call("DescribeEnvironmentManagedActionHistory", **name)["ManagedActionHistoryItems"] == []
    refused(eb, "ApplyEnvironmentManagedAction", "ManagedActionInvalidStateException", **name, ActionId="a")
    refused(eb, "ComposeEnvironments", "InvalidParameterValue", **of, VersionLabels=["v2"])


class Recording:
    """A client that is called by the operations' own names, and remembers them."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.called: set[str] = set()
        self._methods = {operation: method for method, operation in client.meta.method_to_api_mapping.items()}

    def call(self, operation: str, **parameters: Any) -> Any:
        self.called.add(operation)
        return getattr(self.client, self._methods[operation])(**parameters)


def refused(eb: Recording, operation: str, code: str, **parameters: Any) -> None:
    with pytest.raises(ClientError) as refusal:
        eb.call(operation, **parameters)
    assert refusal.value.response["Error"]["Code"] == code


def option(namespace: str, name: str, value: str) -> dict[str, str]:
    return {"Namespace": namespace, "OptionName": name, "Value": value}


def smallest(shape: Shape) -> Any:
    """A value with what the model requires; of a structure that requires nothing one member, else it is not sent."""
    match shape.type_name:
        case "structure":
            names = shape.required_members or list(shape.members)[:1]
            return {name: smallest(shape.members[name]) for name in names}
        case "list":
            return [smallest(shape.member)]
        case "boolean":
            return True
        case "integer":
            return 1
        case _:
            return (shape.metadata.get("enum") or ["nobody"])[0]
