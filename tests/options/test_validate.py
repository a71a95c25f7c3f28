"""Bad settings are refused in Elastic Beanstalk's words, alone and together, and good ones pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.options import catalogue
from beanpole.options.precedence import Context, resolve
from beanpole.options.problem import Problem
from beanpole.options.registry import Registry
from beanpole.options.setting import Setting
from beanpole.options.validate import PROPERTIES_LIMIT, Origin, validate

pytestmark = pytest.mark.pure

ASG = "aws:autoscaling:asg"
COMMAND = "aws:elasticbeanstalk:command"
ENVIRONMENT = "aws:elasticbeanstalk:environment"
HEALTH = "aws:elasticbeanstalk:healthreporting:system"
LAUNCH = "aws:autoscaling:launchconfiguration"
PROCESS = "aws:elasticbeanstalk:environment:process:default"
PROPERTIES = "aws:elasticbeanstalk:application:environment"
ROLLING = "aws:autoscaling:updatepolicy:rollingupdate"
SCHEDULED = "aws:autoscaling:scheduledaction"
TRIGGER = "aws:autoscaling:trigger"
REGISTRY: Registry = catalogue.load()


def problems(
    *settings: tuple[str, ...],
    stored: tuple[tuple[str, ...], ...] = (),
    context: Context | None = None,
    origin: Origin = "api",
) -> list[Problem]:
    """Of (namespace, name, value[, resource]) given on top of what is stored."""
    context = context or Context()
    new = [Setting.of(*setting) for setting in settings]
    before = [Setting.of(*setting) for setting in stored]
    merged = resolve(REGISTRY, context, stored=[*before, *new])
    previous = resolve(REGISTRY, context, stored=before) if stored else None
    return validate(REGISTRY, context, new, merged, origin=origin, previous=previous)


def messages(*settings: tuple[str, ...], **options: object) -> list[str]:
    return [problem.message for problem in problems(*settings, **options)]  # type: ignore[arg-type]


def frame(namespace: str, name: str, value: str, reason: str) -> str:
    return f"Invalid option value: '{value}' (Namespace: '{namespace}', OptionName: '{name}'): {reason}"


EB_CREATE = [
    (HEALTH, "SystemType", "enhanced"),
    (COMMAND, "BatchSize", "30"),
    (COMMAND, "BatchSizeType", "Percentage"),
    ("aws:elb:policies", "ConnectionDrainingEnabled", "true"),
    ("aws:elb:loadbalancer", "CrossZone", "true"),
    (ROLLING, "RollingUpdateEnabled", "true"),
    (ROLLING, "RollingUpdateType", "Health"),
    (LAUNCH, "IamInstanceProfile", "aws-elasticbeanstalk-ec2-role"),
    (ENVIRONMENT, "ServiceRole", "aws-elasticbeanstalk-service-role"),
    (ENVIRONMENT, "LoadBalancerType", "application"),
    (ASG, "MaxSize", "3"),
    (ASG, "MinSize", "3"),
    (ASG, "MaxSize", "3"),
    (ASG, "MinSize", "3"),
]


def test_what_eb_create_sends_passes_duplicates_and_all() -> None:
    assert problems(*EB_CREATE) == []


def test_single_instance_with_a_batch_size_passes() -> None:
    assert problems((ENVIRONMENT, "EnvironmentType", "SingleInstance"), (COMMAND, "BatchSize", "30")) == []


PATH_RULE = "The path of a health check starts with / and has ASCII characters without spaces"
MATCHER_RULE = "Status codes are written as 200, as 200,204 or as 200-299, within 100-599"
APPLICATION = "aws:elasticbeanstalk:application"


@pytest.mark.parametrize(
    ("namespace", "name", "value", "reason"),
    [
        (COMMAND, "Timeout", "0", "Value is less than minimum allowed value: 1"),
        (COMMAND, "Timeout", "3601", "Value is greater than maximum allowed value: 3600"),
        (ASG, "MaxSize", "10001", "Value is greater than maximum allowed value: 10000"),
        (ASG, "MinSize", "-1", "Value is less than minimum allowed value: 0"),
        (ASG, "MinSize", "two", "Value is not a whole number"),
        (ASG, "MinSize", "1.5", "Value is not a whole number"),
        (ASG, "MinSize", "", "Value is not a whole number"),
        (ASG, "MinSize", "٣", "Value is not a whole number"),
        ("beanpole:deployment", "GateInterval", "0.01", "Value is less than minimum allowed value: 0.1"),
        ("beanpole:deployment", "GateInterval", "fast", "Value is not a number"),
        ("beanpole:deployment", "AutoRollback", "perhaps", "Value is not one of the allowed values: [true, false]"),
        (HEALTH, "SystemType", "best", "Value is not one of the allowed values: [basic, enhanced]"),
        (LAUNCH, "RootVolumeType", "GP2", "Value is not one of the allowed values: [standard, gp2, gp3, io1]"),
        (LAUNCH, "ImageId", "image", "Value does not satisfy regex: '^ami-[a-z0-9]+$' [ImageId]"),
        (LAUNCH, "EC2KeyName", "k" * 201, "Value is longer than maximum allowed length: 200"),
        (COMMAND, "BatchSize", "101", "Value is greater than maximum allowed value: 100"),
        (ROLLING, "PauseTime", "PT2H", "Value should not be longer than an hour"),
        (ROLLING, "Timeout", "PT1M", "Value should be between 5 minutes to an hour"),
        (PROCESS, "HealthCheckPath", "health", PATH_RULE),
        (PROCESS, "HealthCheckPath", "/a b", PATH_RULE),
        (PROCESS, "HealthCheckPath", "/\u00e9", PATH_RULE),
        (APPLICATION, "Application Healthcheck URL", "HTTP:80/a b", PATH_RULE),
        (PROCESS, "MatcherHTTPCode", "600", MATCHER_RULE),
        (PROCESS, "MatcherHTTPCode", "300-200", MATCHER_RULE),
        (PROCESS, "HealthCheckTimeout", "15", "HealthCheckTimeout must be less than HealthCheckInterval"),
        ("aws:ec2:vpc", "VPCId", "vpc-1", "Specify the subnets for the VPC."),
        (
            "aws:elasticbeanstalk:managedactions",
            "ManagedActionsEnabled",
            "true",
            "Specify PreferredStartTime and UpdateLevel too.",
        ),
        (
            "aws:elasticbeanstalk:cloudwatch:logs:health",
            "HealthStreamingEnabled",
            "true",
            "Health transition option settings require enhanced SystemType.",
        ),
    ],
)
def test_refused_with_the_reason(namespace: str, name: str, value: str, reason: str) -> None:
    found = [problem for problem in problems((namespace, name, value)) if problem.severity == "error"]
    assert [problem.message for problem in found] == [frame(namespace, name, value, reason)]
    assert (found[0].namespace, found[0].name) == (namespace, name)


@pytest.mark.parametrize(
    "setting",
    [
        (HEALTH, "SystemType", "ENHANCED"),
        (ASG, "EnableCapacityRebalancing", "TRUE"),
        ("aws:ec2:instances", "EnableSpot", "whatever"),
        (LAUNCH, "MonitoringInterval", "2 minute"),
        ("aws:ec2:vpc", "ELBScheme", "inside out"),
        ("aws:ec2:instances", "SupportedArchitectures", "arm64,x86_64"),
        (LAUNCH, "ImageId", ""),
        (ASG, "MinSize", "0"),
        (PROCESS, "DeregistrationDelay", "0"),
        ("aws:elasticbeanstalk:environment:process:api", "HealthCheckPath", "/up"),
        (PROPERTIES, "EMPTY", ""),
        (PROPERTIES, "JSON", '{"a": ["ünï", 1]}\n'),
        (PROPERTIES, "with.dots:/+\\-@", "x"),
        (SCHEDULED, "MinSize", "2", "nightly"),
    ],
)
def test_passes(setting: tuple[str, ...]) -> None:
    assert [problem for problem in problems(setting) if problem.severity == "error"] == []


def test_unknown_option_names_the_nearest_one() -> None:
    assert messages((ASG, "Minsize", "1")) == [
        "Invalid option specification (Namespace: 'aws:autoscaling:asg', OptionName: 'Minsize'): "
        "Unknown configuration setting. Did you mean 'MinSize'?"
    ]
    assert messages(("no:such", "thing", "1")) == [
        "Invalid option specification (Namespace: 'no:such', OptionName: 'thing'): Unknown configuration setting."
    ]


def test_minimum_over_maximum_counts_defaults_in() -> None:
    assert messages((ASG, "MinSize", "5")) == [frame(ASG, "MinSize", "5", "MinSize is greater than MaxSize")]
    assert messages((ASG, "MinSize", "5"), (ASG, "MaxSize", "5")) == []
    assert messages((ASG, "MaxSize", "1"), stored=((ASG, "MinSize", "2"),)) == [
        frame(ASG, "MaxSize", "1", "MinSize is greater than MaxSize")
    ]


def test_an_old_conflict_does_not_stop_another_change() -> None:
    assert messages((PROPERTIES, "A", "1"), stored=((ASG, "MinSize", "9"), (ASG, "MaxSize", "1"))) == []


def test_another_platforms_option() -> None:
    assert messages(
        ("aws:elasticbeanstalk:container:python", "WSGIPath", "app"), context=Context(platform="docker")
    ) == ["Unknown or duplicate parameter: WSGIPath"]


def test_another_tiers_option_only_warns() -> None:
    found = problems(("aws:elasticbeanstalk:sqsd", "HttpPath", "/jobs"))
    assert [problem.severity for problem in found] == ["warning"]
    assert problems(("aws:elasticbeanstalk:sqsd", "HttpPath", "/jobs"), context=Context(tier="Worker")) == []


@pytest.mark.parametrize("policy", ["AllAtOnce", "Rolling", "rolling", "RollingWithAdditionalBatch", "Immutable"])
def test_policies_that_work(policy: str) -> None:
    assert messages((COMMAND, "DeploymentPolicy", policy)) == []


SPLITTING = (
    (COMMAND, "DeploymentPolicy", "TrafficSplitting"),
    (ENVIRONMENT, "LoadBalancerType", "application"),
    (HEALTH, "SystemType", "enhanced"),
)


def test_traffic_splitting_with_all_that_it_needs() -> None:
    assert messages(*SPLITTING) == []


@pytest.mark.parametrize(
    ("change", "tier", "reason"),
    [
        ((ENVIRONMENT, "EnvironmentType", "SingleInstance"), "WebServer", "only with Application Load Balancers"),
        ((ENVIRONMENT, "LoadBalancerType", "network"), "WebServer", "only with Application Load Balancers"),
        ((HEALTH, "SystemType", "basic"), "WebServer", "require enhanced SystemType"),
        ((COMMAND, "Timeout", "600"), "Worker", "only with Application Load Balancers"),
    ],
)
def test_traffic_splitting_where_it_cannot_be(change: tuple[str, str, str], tier: str, reason: str) -> None:
    (found,) = messages(*SPLITTING, change, context=Context(tier=tier))
    assert reason in found


def test_what_makes_a_splitting_impossible_later_is_refused_as_well() -> None:
    single = (ENVIRONMENT, "EnvironmentType", "SingleInstance")
    (found,) = messages(single, stored=SPLITTING)
    assert "only with Application Load Balancers" in found


def test_traffic_splitting_without_application_load_balancer() -> None:
    assert frame(
        COMMAND,
        "DeploymentPolicy",
        "TrafficSplitting",
        "Traffic Splitting deployments are compatible only with Application Load Balancers",
    ) in messages((COMMAND, "DeploymentPolicy", "TrafficSplitting"))


def test_rolling_updates_on_a_single_instance() -> None:
    found = messages((ROLLING, "RollingUpdateEnabled", "true"), (ENVIRONMENT, "EnvironmentType", "SingleInstance"))
    reason = "You can't enable rolling updates for a single-instance environment"
    assert found == [frame(ROLLING, "RollingUpdateEnabled", "true", reason)]


def test_instances_in_service_below_the_maximum() -> None:
    found = messages((ROLLING, "RollingUpdateEnabled", "true"), (ROLLING, "MinInstancesInService", "4"))
    reason = "Value should be less than the maximum instance count for the Autoscaling group"
    assert found == [frame(ROLLING, "MinInstancesInService", "4", reason)]


def test_scheduled_actions_need_a_name_and_a_cron_expression() -> None:
    blank = "The scheduled action name cannot be blank"
    assert messages((SCHEDULED, "MinSize", "1")) == [frame(SCHEDULED, "MinSize", "1", blank)]
    wrong = "Value doesn't comply the cron expression"
    assert frame(SCHEDULED, "Recurrence", "daily", wrong) in messages((SCHEDULED, "Recurrence", "daily", "n"))
    assert [p.severity for p in problems((SCHEDULED, "Recurrence", "0 22 * * 1-5", "n"))] == ["warning"]


def test_external_extensions_only_through_the_api() -> None:
    setting = (ENVIRONMENT, "ExternalExtensionsS3Key", "key")
    assert messages(setting) == []
    reason = "External extensions can only be applied from the API"
    assert messages(setting, origin="file") == [frame(*setting[:2], setting[2], reason)]


def test_what_is_fixed_at_creation_cannot_change() -> None:
    stored = ((ENVIRONMENT, "LoadBalancerType", "application"),)
    found = problems((ENVIRONMENT, "LoadBalancerType", "classic"), stored=stored)
    assert [problem.severity for problem in found] == ["error"]
    assert problems((ENVIRONMENT, "LoadBalancerType", "Application"), stored=stored) == []


def test_secrets_by_arn_are_refused_and_tracing_only_noted() -> None:
    secrets = "aws:elasticbeanstalk:application:environmentsecrets"
    assert [p.severity for p in problems((secrets, "PASSWORD", "arn:aws:ssm:x"))] == ["error"]
    assert [p.severity for p in problems(("aws:elasticbeanstalk:xray", "XRayEnabled", "true"))] == ["warning"]
    assert problems(("aws:elasticbeanstalk:xray", "XRayEnabled", "False")) == []


@pytest.mark.parametrize("name", ["A B", "A=B", "é", "A\n", "$HOME", "A'"])
def test_property_names(name: str) -> None:
    found = messages((PROPERTIES, name, "hunter2"))
    assert len(found) == 1
    assert "holds letters, digits and" in found[0]
    assert "hunter2" not in found[0]


def test_properties_together_have_a_limit_in_bytes() -> None:
    fits = "é" * ((PROPERTIES_LIMIT - 2) // 2)
    assert messages((PROPERTIES, "A", fits)) == []
    over = messages((PROPERTIES, "AB", fits))
    assert len(over) == 1
    assert "4097 bytes" in over[0]
    assert fits not in over[0]


def test_nul_in_a_property_is_refused_without_showing_it() -> None:
    found = messages((PROPERTIES, "A", "sec\0ret"))
    assert len(found) == 1
    assert "sec" not in found[0].replace("secrets", "")


def test_invalid_number_of_a_file_does_not_break_the_judging_of_a_call() -> None:
    context = Context()
    given_now = [Setting.of(ASG, "MinSize", "2")]
    merged = resolve(REGISTRY, context, stored=given_now, files=[Setting.of(ASG, "MaxSize", "lots")])
    assert validate(REGISTRY, context, given_now, merged) == []


def test_errors_come_before_warnings() -> None:
    found = problems(("aws:elasticbeanstalk:xray", "XRayEnabled", "true"), (COMMAND, "Timeout", "0"))
    assert [problem.severity for problem in found] == ["error", "warning"]


@given(
    namespace=st.sampled_from(sorted({option.namespace for option in REGISTRY})) | st.text(max_size=20),
    name=st.sampled_from(sorted({option.name for option in REGISTRY})) | st.text(max_size=20),
    value=st.text(max_size=60) | st.integers().map(str) | st.floats().map(str),
    resource=st.sampled_from(["", "x"]),
)
def test_no_setting_breaks_it_and_default_values_pass(namespace: str, name: str, value: str, resource: str) -> None:
    for problem in problems((namespace, name, value, resource)):
        assert problem.severity in ("error", "warning")
        assert problem.message


@pytest.mark.parametrize("option", [option for option in REGISTRY.ordinary() if option.default is not None], ids=str)
def test_every_default_passes_its_own_rules(option: object) -> None:
    from beanpole.options.option import Option
    from beanpole.options.validate import _reason

    assert isinstance(option, Option)
    assert _reason(option, option.default or "") is None
