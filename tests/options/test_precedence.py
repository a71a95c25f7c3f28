"""Which value is in force, what is listed, and what a change of values means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.options import catalogue
from beanpole.options.changes import Changes, diff
from beanpole.options.precedence import Context, resolve
from beanpole.options.registry import Registry
from beanpole.options.setting import Setting
from beanpole.options.settings import Settings, duration

pytestmark = pytest.mark.pure

ASG = "aws:autoscaling:asg"
COMMAND = "aws:elasticbeanstalk:command"
ENVIRONMENT = "aws:elasticbeanstalk:environment"
PROCESS = "aws:elasticbeanstalk:environment:process:"
PROPERTIES = "aws:elasticbeanstalk:application:environment"
PYTHON = "aws:elasticbeanstalk:container:python"
REGISTRY: Registry = catalogue.load()


def settings(*stored: tuple[str, ...], saved: tuple = (), files: tuple = (), tier: str = "WebServer") -> Settings:  # type: ignore[type-arg]
    return resolve(
        REGISTRY,
        Context(tier=tier),
        stored=[Setting.of(*setting) for setting in stored],
        saved=[Setting.of(*setting) for setting in saved],
        files=[Setting.of(*setting) for setting in files],
    )


@pytest.mark.parametrize(
    ("stored", "saved", "files", "in_force"),
    [
        ("1", "2", "3", 1),
        (None, "2", "3", 2),
        (None, None, "3", 3),
        (None, None, None, 600),
        ("1", None, "3", 1),
    ],
)
def test_call_beats_saved_configuration_beats_file_beats_default(
    stored: str | None, saved: str | None, files: str | None, in_force: int
) -> None:
    def timeout(value: str | None) -> tuple[tuple[str, str, str], ...]:
        return () if value is None else ((COMMAND, "Timeout", value),)

    result = settings(*timeout(stored), saved=timeout(saved), files=timeout(files))
    assert result.integer(COMMAND, "Timeout") == in_force


def test_the_later_of_two_values_of_one_source_wins() -> None:
    assert settings((ASG, "MaxSize", "2"), (ASG, "MaxSize", "7")).integer(ASG, "MaxSize") == 7


def test_single_instance_has_one_whatever_the_sizes_say() -> None:
    result = settings((ENVIRONMENT, "EnvironmentType", "singleinstance"), (ASG, "MinSize", "3"), (ASG, "MaxSize", "9"))
    assert (result.integer(ASG, "MinSize"), result.integer(ASG, "MaxSize")) == (1, 1)
    assert result.text(ENVIRONMENT, "EnvironmentType") == "SingleInstance"


def test_values_are_kept_in_the_documented_spelling() -> None:
    result = settings((COMMAND, "IgnoreHealthCheck", "TRUE"), (PROPERTIES, "SHOUT", "TRUE"))
    assert result.text(COMMAND, "IgnoreHealthCheck") == "true"
    assert result.boolean(COMMAND, "IgnoreHealthCheck") is True
    assert result.environment() == {"SHOUT": "TRUE"}


def test_a_process_of_ones_own_gets_the_other_values_of_a_process() -> None:
    result = settings((f"{PROCESS}api", "Port", "9000"))
    assert result.integer(f"{PROCESS}api", "Port") == 9000
    assert result.text(f"{PROCESS}api", "HealthCheckPath") == "/"
    assert result.seconds(f"{PROCESS}api", "DeregistrationDelay") == 60.0
    assert (f"{PROCESS}api", "HealthCheckPath", "") in {(line.namespace, line.name, "") for line in result.listed()}


def test_typed_getters() -> None:
    result = settings()
    assert result.seconds("beanpole:deployment", "GateInterval") == 0.5
    assert result.seconds("aws:autoscaling:updatepolicy:rollingupdate", "Timeout") == 1800.0
    assert result.boolean("beanpole:deployment", "AutoRollback") is True
    assert result.text("aws:autoscaling:launchconfiguration", "ImageId") == ""
    assert result.get("aws:autoscaling:launchconfiguration", "ImageId") is None
    with pytest.raises(KeyError, match="no option 'Nope'"):
        result.text(COMMAND, "Nope")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90.0), ("0.5", 0.5), ("PT5M", 300.0), ("PT1H30M", 5400.0), ("PT", None), ("", None), ("5 min", None)],
)
def test_lengths_of_time(text: str, seconds: float | None) -> None:
    assert duration(text) == seconds


def test_properties_are_those_that_somebody_set() -> None:
    assert settings().environment() == {}
    result = settings((PROPERTIES, "B", "2"), files=((PROPERTIES, "A", "1"), (PROPERTIES, "B", "file")))
    assert result.environment() == {"A": "1", "B": "2"}


def test_settings_survive_storing() -> None:
    result = settings((PROPERTIES, "A", "1"), (f"{PROCESS}api", "Port", "1"), (ASG, "MaxSize", "9"))
    again = Settings.from_rows(REGISTRY, result.rows())
    assert again.rows() == result.rows()
    assert again.environment() == {"A": "1"}
    assert again.integer(ASG, "MaxSize") == 9


# -- what is listed ------------------------------------------------------------------------------------------------


def test_eb_scale_finds_environment_type_first_with_a_value() -> None:
    lines = [line for line in settings().listed() if line.namespace == ENVIRONMENT]
    assert (lines[0].name, lines[0].value) == ("EnvironmentType", "LoadBalanced")


@pytest.mark.parametrize("environment_type", ["LoadBalanced", "SingleInstance"])
@pytest.mark.parametrize("balancer", ["classic", "application"])
def test_eb_terminate_always_finds_whether_the_balancer_is_shared(environment_type: str, balancer: str) -> None:
    result = settings((ENVIRONMENT, "EnvironmentType", environment_type), (ENVIRONMENT, "LoadBalancerType", balancer))
    assert [line.value for line in result.listed() if line.name == "LoadBalancerIsShared"] == ["false"]


def test_every_listed_property_has_a_value() -> None:
    lines = [line for line in settings((PROPERTIES, "A", "")).listed() if line.namespace == PROPERTIES]
    assert [(line.name, line.value) for line in lines] == [("A", "")]


def test_listed_is_sorted_has_no_placeholder_and_nothing_twice() -> None:
    lines = settings((PROPERTIES, "Z", "1"), ("aws:elbv2:listener:443", "Protocol", "HTTPS")).listed()
    keys = [(line.namespace, line.name, line.resource) for line in lines]
    assert keys == sorted(set(keys))
    assert not [key for key in keys if key[1] == "*" or key[0].endswith(("_name", "_port"))]


def test_only_options_of_the_platform_tier_and_balancer_are_listed() -> None:
    web = {line.namespace for line in settings((ENVIRONMENT, "LoadBalancerType", "application")).listed()}
    assert PYTHON in web
    assert "aws:elbv2:loadbalancer" in web
    assert "aws:elb:loadbalancer" not in web
    assert "aws:elasticbeanstalk:sqsd" not in web
    assert "aws:elasticbeanstalk:container:nodejs" not in web
    single = {line.namespace for line in settings((ENVIRONMENT, "EnvironmentType", "SingleInstance")).listed()}
    assert f"{PROCESS}default" not in single
    assert "aws:elasticbeanstalk:sqsd" in {line.namespace for line in settings(tier="Worker").listed()}


def test_what_was_set_is_listed_even_where_it_has_no_meaning() -> None:
    result = settings((ENVIRONMENT, "LoadBalancerType", "application"), ("aws:elb:loadbalancer", "CrossZone", "true"))
    assert [line.value for line in result.listed() if line.name == "CrossZone"] == ["true"]


# -- what a change means -------------------------------------------------------------------------------------------


def change(*new: tuple[str, ...], old: tuple[tuple[str, ...], ...] = ()) -> Changes:
    return diff(REGISTRY, settings(*old), settings(*old, *new))


@pytest.mark.parametrize(
    ("setting", "release", "balancer", "scale", "severity"),
    [
        ((PROPERTIES, "A", "1"), True, False, False, "RestartApplicationServer"),
        ((PYTHON, "WSGIPath", "app"), True, False, False, "RestartApplicationServer"),
        ((PYTHON, "NumThreads", "3"), True, False, False, "RestartApplicationServer"),
        ((f"{PROCESS}default", "HealthCheckPath", "/up"), False, True, False, "NoInterruption"),
        ((f"{PROCESS}default", "DeregistrationDelay", "5"), False, True, False, "NoInterruption"),
        (("aws:elbv2:listener:443", "Protocol", "HTTPS"), False, True, False, "NoInterruption"),
        ((ASG, "MaxSize", "9"), False, False, True, "NoInterruption"),
        ((ENVIRONMENT, "EnvironmentType", "SingleInstance"), False, False, True, "RestartEnvironment"),
        ((COMMAND, "BatchSize", "30"), False, False, False, "NoInterruption"),
        (("beanpole:deployment", "GateChecks", "9"), False, False, False, "NoInterruption"),
        (("aws:autoscaling:launchconfiguration", "InstanceType", "t3.nano"), False, False, False, "RestartEnvironment"),
    ],
)
def test_who_has_to_act(setting: tuple[str, ...], release: bool, balancer: bool, scale: bool, severity: str) -> None:
    found = change(setting)
    assert found
    assert (found.needs_release, found.touches_balancer, found.touches_scale) == (release, balancer, scale)
    assert found.severity == severity


def test_setting_a_default_changes_nothing() -> None:
    found = change((COMMAND, "Timeout", "600"), (ASG, "EnableCapacityRebalancing", "FALSE"))
    assert not found
    assert found.severity == "NoInterruption"


def test_removing_a_property_is_a_change() -> None:
    found = diff(REGISTRY, settings((PROPERTIES, "A", "1")), settings())
    assert [(each.name, each.old, each.new) for each in found.options] == [("A", "1", None)]
    assert found.needs_release


def test_the_worst_severity_counts() -> None:
    assert change((ASG, "MaxSize", "9"), (PROPERTIES, "A", "1")).severity == "RestartApplicationServer"


SETTING = st.builds(
    Setting,
    st.just(PROPERTIES),
    st.text("ABC", min_size=1, max_size=2),
    st.just(""),
    st.text(max_size=5),
)


@given(stored=st.lists(SETTING), files=st.lists(SETTING))
def test_stored_values_always_hide_file_values(stored: list[Setting], files: list[Setting]) -> None:
    result = resolve(REGISTRY, Context(), stored=stored, files=files).environment()
    assert result == {each.name: each.value for each in files} | {each.name: each.value for each in stored}


@pytest.mark.parametrize(
    ("namespace", "resource", "key"),
    [
        ("nightly.aws:autoscaling:scheduledaction", "", ("aws:autoscaling:scheduledaction", "MinSize", "nightly")),
        ("aws:autoscaling:scheduledaction", "nightly", ("aws:autoscaling:scheduledaction", "MinSize", "nightly")),
        (ASG, "AWSEBAutoScalingGroup", (ASG, "MinSize", "")),
        ("", "", ("", "MinSize", "")),
    ],
)
def test_how_clients_spell_a_setting(namespace: str, resource: str, key: tuple[str, str, str]) -> None:
    assert Setting.of(namespace, "MinSize", "1", resource).key == key
