"""The registry holds every ordinary option, finds names that have a name inside, and suggests what was meant."""

from __future__ import annotations

import pytest

from beanpole.options import catalogue
from beanpole.options.registry import Registry

pytestmark = pytest.mark.pure

PROPERTIES = "aws:elasticbeanstalk:application:environment"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return catalogue.load()


def test_every_ordinary_option_is_there_and_none_for_clusters(registry: Registry) -> None:
    options = list(registry)
    assert len([option for option in options if not option.namespace.startswith("beanpole:")]) == 260
    assert not [option for option in options if "eks" in option.namespace]


def test_our_own_options_and_their_defaults(registry: Registry) -> None:
    ours = {option.name: option.default for option in registry if option.namespace == "beanpole:deployment"}
    assert ours == {
        "AutoRollback": "true",
        "AllowDowntime": "false",
        "GateChecks": "3",
        "GateInterval": "0.5",
        "StartTimeout": "60",
        "WatchMinutes": "5",
        "KeepReleases": "5",
        "StopGrace": "10",
        "SmokeTests": "",
        "LogErrors": "warn",
    }


@pytest.mark.parametrize("process", ["default", "web", "api-2"])
def test_draining_takes_longer_than_the_documented_20_s(registry: Registry, process: str) -> None:
    option = registry.find(f"aws:elasticbeanstalk:environment:process:{process}", "DeregistrationDelay")
    assert option is not None
    assert option.default == "60"


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("aws:autoscaling:asg", "MinSize"),
        ("aws:autoscaling:asg", "Availability Zones"),
        ("aws:elbv2:listener:443", "Protocol"),
        ("aws:elb:listener:8080", "InstancePort"),
        ("aws:elb:policies:sticky", "CookieName"),
        ("aws:elbv2:listenerrule:admin", "PathPatterns"),
        ("aws:elasticbeanstalk:environment:process:web", "Port"),
        (PROPERTIES, "ANYTHING"),
        ("aws:elasticbeanstalk:environment:proxy:staticfiles", "/static"),
        ("aws:elasticbeanstalk:customoption", "Mine"),
    ],
)
def test_found_under_the_name_asked_for(registry: Registry, namespace: str, name: str) -> None:
    option = registry.find(namespace, name)
    assert option is not None
    assert (option.namespace, option.name) == (namespace, name)


@pytest.mark.parametrize(
    ("namespace", "name"),
    [
        ("aws:autoscaling:asg", "MaximumSize"),
        ("aws:autoscaling:asg", "*"),
        ("aws:autoscaling:asg", ""),
        (PROPERTIES, ""),
        (PROPERTIES, "*"),
        ("aws:elbv2:listener:https", "Protocol"),
        ("aws:elbv2:listener:listener_port", "Protocol"),
        ("aws:elasticbeanstalk:environment:process:process_name", "Port"),
        ("aws:elasticbeanstalk:eks", "ClusterName"),
        ("", "MinSize"),
    ],
)
def test_unknown(registry: Registry, namespace: str, name: str) -> None:
    assert registry.find(namespace, name) is None


def test_only_options_of_named_resources_take_a_resource(registry: Registry) -> None:
    assert registry.find("aws:autoscaling:scheduledaction", "MinSize", "nightly")
    assert registry.find("aws:autoscaling:asg", "MinSize", "nightly") is None


def test_the_samples_lower_case_rules_means_rules(registry: Registry) -> None:
    option = registry.find("aws:elbv2:listener:443", "rules")
    assert option is not None
    assert option.name == "Rules"


@pytest.mark.parametrize(
    ("namespace", "name", "meant"),
    [
        ("aws:autoscaling:asg", "minsize", "MinSize"),
        ("aws:autoscaling:asg", "MaxSze", "MaxSize"),
        ("aws:elasticbeanstalk:comand", "Timeout", "aws:elasticbeanstalk:command"),
        ("beanpole:deployments", "AutoRollback", "beanpole:deployment"),
        ("aws:autoscaling:asg", "Zebra", None),
        ("completely:different", "x", None),
    ],
)
def test_suggestion(registry: Registry, namespace: str, name: str, meant: str | None) -> None:
    assert registry.suggestion(namespace, name) == meant


@pytest.mark.parametrize(
    ("given", "stored"), [("TRUE", "true"), ("False", "false"), ("maybe", "maybe"), ("true", "true")]
)
def test_booleans_in_any_case(registry: Registry, given: str, stored: str) -> None:
    option = registry.find("aws:autoscaling:asg", "EnableCapacityRebalancing")
    assert option is not None
    assert option.canonical(given) == stored
