"""Which change of settings needs what: a table, as the decision page has it."""

import pytest

from beanpole.options import catalogue
from beanpole.options.precedence import Context, resolve
from beanpole.options.setting import Setting
from beanpole.options.settings import Settings
from beanpole.policies.severity import severity

pytestmark = pytest.mark.pure

REGISTRY = catalogue.load()
LAUNCH = "aws:autoscaling:launchconfiguration"
INSTANCES = "aws:ec2:instances"
PROPERTIES = "aws:elasticbeanstalk:application:environment"
ENVIRONMENT = "aws:elasticbeanstalk:environment"
PYTHON = "aws:elasticbeanstalk:container:python"

Given = tuple[str, str, str]


def in_force(*given: Given) -> Settings:
    return resolve(REGISTRY, Context(), stored=[Setting(space, name, "", value) for space, name, value in given])


def needed(
    before: tuple[Given, ...], after: tuple[Given, ...], *, deploys: bool = False
) -> tuple[str, tuple[str, ...]]:
    found = severity(REGISTRY, in_force(*before), in_force(*after), deploys=deploys)
    return found.need, found.causes


@pytest.mark.parametrize(
    "change",
    [
        (LAUNCH, "InstanceType", "m5.large"),
        (LAUNCH, "ImageId", "ami-0123"),
        (LAUNCH, "RootVolumeSize", "100"),
        (LAUNCH, "SecurityGroups", "sg-1"),
        (LAUNCH, "IamInstanceProfile", "other"),
        (LAUNCH, "DisableIMDSv1", "true"),
        (LAUNCH, "LaunchTemplateTagPropagationEnabled", "true"),
        (INSTANCES, "EnableSpot", "true"),
        (INSTANCES, "SupportedArchitectures", "arm64"),
        ("aws:ec2:vpc", "VPCId", "vpc-1"),
        ("aws:ec2:vpc", "Subnets", "subnet-1"),
        ("aws:ec2:vpc", "AssociatePublicIpAddress", "true"),
    ],
)
def test_what_an_instance_is_made_of_replaces_it(change: Given) -> None:
    assert needed((), (change,)) == ("replacement", (change[1],))
    assert needed((), (change,), deploys=True) == ("replacement", (change[1],)), "the release comes with it"
    assert needed((change,), (change,)) == ("nothing", ())


@pytest.mark.parametrize(
    "change",
    [
        (LAUNCH, "EC2KeyName", "mine"),
        (LAUNCH, "SSHSourceRestriction", "tcp,22,22,10.0.0.0/8"),
        (LAUNCH, "MonitoringInterval", "1 minute"),
        ("aws:elasticbeanstalk:healthreporting:system", "SystemType", "enhanced"),
        (ENVIRONMENT, "EnvironmentType", "SingleInstance"),
        ("aws:ec2:vpc", "ELBScheme", "internal"),
        ("aws:autoscaling:asg", "MaxSize", "9"),
        ("aws:autoscaling:trigger", "UpperThreshold", "9"),
        ("aws:autoscaling:updatepolicy:rollingupdate", "MaxBatchSize", "2"),
        ("aws:elasticbeanstalk:command", "DeploymentPolicy", "Rolling"),
        ("aws:elasticbeanstalk:sns:topics", "Notification Endpoint", "ada@example.com"),
        ("aws:elasticbeanstalk:environment:process:default", "HealthCheckPath", "/health"),
        ("beanpole:deployment", "GateChecks", "9"),
        ("beanpole:fleet", "Labels", "gpu"),
    ],
)
def test_what_is_around_an_instance_touches_none(change: Given) -> None:
    assert needed((), (change,)) == ("nothing", ())


@pytest.mark.parametrize("change", [(PROPERTIES, "GREETING", "hello"), (PYTHON, "WSGIPath", "shop")])
def test_what_processes_notice_is_deployed(change: Given) -> None:
    assert needed((), (change,), deploys=True) == ("deployment", (change[1],))


def test_tags_of_launch_templates_replace_only_when_they_are_turned_on() -> None:
    on = (LAUNCH, "LaunchTemplateTagPropagationEnabled", "true")
    assert needed((on,), ()) == ("nothing", ())


def test_another_type_to_choose_from_replaces_nobody_and_one_less_does() -> None:
    one, two = (INSTANCES, "InstanceTypes", "t3.small"), (INSTANCES, "InstanceTypes", "t3.small, t3.medium")
    assert needed((one,), (two,)) == ("nothing", ())
    assert needed((two,), (one,)) == ("replacement", ("InstanceTypes",))


def test_a_release_that_knew_less_options_is_not_replaced_for_their_defaults() -> None:
    known = [row for row in in_force().rows() if row[0] != LAUNCH]
    found = severity(REGISTRY, Settings.from_rows(REGISTRY, known), in_force(), deploys=False)
    assert found.need == "nothing"


def test_the_first_version_is_deployed_whatever_the_settings_are() -> None:
    found = severity(REGISTRY, None, in_force((LAUNCH, "InstanceType", "m5.large")), deploys=True)
    assert (found.need, found.words()) == ("deployment", "")


def test_words_name_the_options_and_never_a_value() -> None:
    many = [(PROPERTIES, f"SECRET_{number}", "hunter2") for number in range(6)]
    found = severity(REGISTRY, in_force(), in_force(*many), deploys=True)
    assert found.words() == "SECRET_0, SECRET_1, SECRET_2, SECRET_3 and 2 more change"
    one = severity(REGISTRY, in_force(), in_force(many[0]), deploys=True)
    assert one.words() == "SECRET_0 changes"
