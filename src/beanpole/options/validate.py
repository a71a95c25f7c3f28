"""Refuses settings that cannot be: each given value on its own, then the values in force together.

The sentences are Elastic Beanstalk's own wherever they are known, because people search for them. Values of
environment properties never appear in a sentence: they may be secrets, and sentences end up in events and logs.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from beanpole.options import smoke, static_files
from beanpole.options.option import Option
from beanpole.options.precedence import GROUP, ROLLING_UPDATE
from beanpole.options.problem import Problem
from beanpole.options.setting import ENVIRONMENT_PROPERTIES, Setting
from beanpole.options.settings import ENVIRONMENT, Settings, duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from beanpole.options.precedence import Context
    from beanpole.options.registry import Registry

PROPERTIES_LIMIT = 4096
"""Bytes of all `key=value` strings of the environment properties together."""

COMMAND = "aws:elasticbeanstalk:command"
PROCESS = "aws:elasticbeanstalk:environment:process:"
SCHEDULED = "aws:autoscaling:scheduledaction"
HEALTH = "aws:elasticbeanstalk:healthreporting:system"
HOUR = 3600

REGEX_LIMIT = 1000
"""Characters of a value that is held against a regular expression: some of them take quadratic time."""

PATH_RULE = "The path of a health check starts with / and has ASCII characters without spaces"
# What a balancer can be told to ask for; one check that it refuses would keep it from taking any change at all.
_PATH = re.compile(r"/[\x21-\x7e]*")
_OLD_CHECK = re.compile(r"(?:(?:HTTP|TCP|SSL|HTTPS):)?\d*(?:/[\x21-\x7e]*)?")
_PROPERTY_NAME = re.compile(r"[A-Za-z0-9_.:/+\\@-]+")
_CRON = re.compile(r"\S+(?: +\S+){4}")
_CRON_FIELD = re.compile(r"[0-9A-Za-z*,/-]+")
_FIXED = {
    (ENVIRONMENT, "LoadBalancerType"),
    (ENVIRONMENT, "LoadBalancerIsShared"),
    ("aws:elbv2:loadbalancer", "SharedLoadBalancer"),
}

Origin = Literal["api", "saved", "file"]


def validate(
    registry: Registry,
    context: Context,
    given: Iterable[Setting],
    merged: Settings,
    *,
    origin: Origin = "api",
    previous: Settings | None = None,
) -> list[Problem]:
    """Everything wrong with `given`, the worst first; an empty list lets it pass.

    `merged` are the settings as they would be in force with `given` among them; `previous` those of the environment
    before, where there is one. Combinations are judged on `merged`, so one option alone can conflict with a default.
    """
    given = list({setting.key: setting for setting in given}.values())
    problems = [problem for setting in given for problem in _alone(registry, context, setting, origin)]
    if not any(problem.severity == "error" for problem in problems):
        problems += _Together(given, merged, context.tier).problems()
        if previous is not None:
            problems += _fixed(given, merged, previous)
    return sorted(problems, key=lambda problem: problem.severity)


def _alone(registry: Registry, context: Context, setting: Setting, origin: Origin) -> Iterator[Problem]:
    if setting.namespace == SCHEDULED and not setting.resource:
        yield _invalid(setting, "The scheduled action name cannot be blank")
        return
    option = registry.find(*setting.key)
    if option is None:
        yield _unknown(registry, setting)
        return
    if option.platform and context.platform not in option.platform:
        yield _problem(setting, f"Unknown or duplicate parameter: {setting.name}")
        return
    if option.tier and context.tier not in option.tier:
        words = f"The option has no effect in the tier {context.tier}."
        yield _problem(setting, words, severity="warning")
    if setting.name.startswith("ExternalExtensions") and origin != "api":
        yield _invalid(setting, "External extensions can only be applied from the API")
    if setting.namespace == ENVIRONMENT_PROPERTIES:
        yield from _property(setting)
    elif reason := _reason(option, setting.value):
        yield _invalid(setting, reason)
    if note := registry.not_built(setting.namespace, setting.name, option.canonical(setting.value)):
        yield _problem(setting, _specification(setting, note.message), severity=note.severity)


def _unknown(registry: Registry, setting: Setting) -> Problem:
    words = _specification(setting, "Unknown configuration setting.")
    near = registry.suggestion(setting.namespace, setting.name)
    return _problem(setting, f"{words} Did you mean {near!r}?" if near else words)


def _property(setting: Setting) -> Iterator[Problem]:
    if not _PROPERTY_NAME.fullmatch(setting.name):
        allowed = r"letters, digits and _ . : / + \ - @"
        yield _problem(setting, _specification(setting, f"The name of an environment property holds {allowed} only."))
    if "\0" in setting.value:
        yield _problem(setting, _specification(setting, "The value holds a NUL byte, which no environment can carry."))


def _reason(option: Option, value: str) -> str | None:
    """Why the option cannot have that value, or None."""
    if value == "" and option.type != "Boolean" and not option.choices and option.min is None:
        return None
    if option.choices and option.enforced and not _among(option, value):
        return f"Value is not one of the allowed values: [{', '.join(option.choices)}]"
    if (option.min is not None or option.max is not None) and (reason := _out_of_range(option, value)):
        return reason
    if option.max_length is not None and len(value) > option.max_length:
        return f"Value is longer than maximum allowed length: {option.max_length}"
    if option.regex and len(value) > REGEX_LIMIT:
        return f"Value is longer than maximum allowed length: {REGEX_LIMIT}"
    if option.regex and not re.fullmatch(option.regex, value):
        return f"Value does not satisfy regex: '{option.regex}' [{option.name}]"
    if (option.namespace, option.name) == (smoke.NAMESPACE, smoke.OPTION):
        try:
            smoke.parse(value)
        except smoke.BadSmokeTests as problem:
            return str(problem)
    return None


def _among(option: Option, value: str) -> bool:
    values = value.split(",") if option.type == "CommaSeparatedList" else [value]
    if option.case_sensitive:
        return all(part in option.choices for part in values)
    allowed = {choice.lower() for choice in option.choices}
    return all(part.strip().lower() in allowed for part in values)


def _out_of_range(option: Option, value: str) -> str | None:
    fractions = isinstance(option.min, float) or isinstance(option.max, float)
    if not re.fullmatch(r"-?\d{1,19}(\.\d{1,9})?" if fractions else r"-?\d{1,19}", value, re.ASCII):
        return "Value is not a number" if fractions else "Value is not a whole number"
    number = float(value) if fractions else int(value)
    if option.min is not None and number < option.min:
        return f"Value is less than minimum allowed value: {option.min}"
    if option.max is not None and number > option.max:
        return f"Value is greater than maximum allowed value: {option.max}"
    return None


def _fixed(given: Iterable[Setting], merged: Settings, previous: Settings) -> Iterator[Problem]:
    for setting in given:
        key = setting.key
        if key[:2] in _FIXED and merged.get(*key) != previous.get(*key):
            yield _invalid(setting, "The value is fixed when the environment is created. Create another environment.")


@dataclass(frozen=True)
class _Together:
    """The rules that need more than one value. Each is asked only when the call gives one of its options."""

    given: list[Setting]
    merged: Settings
    tier: str

    def problems(self) -> Iterator[Problem]:
        yield from self._policy()
        yield from self._sizes()
        yield from self._rolling_update()
        yield from self._processes()
        yield from self._static_files()
        yield from self._schedule()
        yield from self._others()
        yield from self._properties()

    def _given(self, namespace: str, *names: str) -> Iterator[Setting]:
        return (setting for setting in self.given if setting.namespace == namespace and setting.name in names)

    def _number(self, namespace: str, name: str) -> float:
        """The value in force; one that is no number (of a file that is refused on its own) breaks no rule here."""
        text = self.merged.text(namespace, name)
        return int(text) if re.fullmatch(r"-?\d{1,19}", text, re.ASCII) else math.nan

    def _policy(self) -> Iterator[Problem]:
        if self.merged.text(COMMAND, "DeploymentPolicy") == "TrafficSplitting":
            yield from self._splitting()
        for setting in self._given(COMMAND, "BatchSize", "BatchSizeType"):
            percentage = self.merged.text(COMMAND, "BatchSizeType") == "Percentage"
            if percentage and self._number(COMMAND, "BatchSize") > 100:
                yield _invalid(setting, "Value is greater than maximum allowed value: 100")

    def _splitting(self) -> Iterator[Problem]:
        """Said of whatever the call gives that makes it impossible, once."""
        needed = (COMMAND, "DeploymentPolicy"), (ENVIRONMENT, "EnvironmentType"), (ENVIRONMENT, "LoadBalancerType")
        given = [each for key in (*needed, (HEALTH, "SystemType")) for each in self._given(*key)]
        if not given:
            return
        single = self.merged.text(ENVIRONMENT, "EnvironmentType") == "SingleInstance"
        balanced = self.merged.text(ENVIRONMENT, "LoadBalancerType") == "application" and not single
        if not balanced or self.tier != "WebServer":
            yield _invalid(
                given[0], "Traffic Splitting deployments are compatible only with Application Load Balancers"
            )
        elif self.merged.text(HEALTH, "SystemType") != "enhanced":
            yield _invalid(given[0], "Traffic Splitting deployments require enhanced SystemType.")

    def _sizes(self) -> Iterator[Problem]:
        for setting in self._given(GROUP, "MinSize", "MaxSize"):
            if self._number(GROUP, "MinSize") > self._number(GROUP, "MaxSize"):
                yield _invalid(setting, "MinSize is greater than MaxSize")
                return

    def _rolling_update(self) -> Iterator[Problem]:
        enabled = self.merged.boolean(ROLLING_UPDATE, "RollingUpdateEnabled")
        single = self.merged.text(ENVIRONMENT, "EnvironmentType") == "SingleInstance"
        for setting in self._given(ROLLING_UPDATE, "RollingUpdateEnabled"):
            if enabled and single:
                yield _invalid(setting, "You can't enable rolling updates for a single-instance environment")
        for setting in self._given(ROLLING_UPDATE, "MinInstancesInService"):
            if enabled and int(setting.value) >= self._number(GROUP, "MaxSize"):
                words = "should be less than the maximum instance count for the Autoscaling group"
                yield _invalid(setting, f"Value {words}")
        for setting in self._given(ROLLING_UPDATE, "PauseTime"):
            pause = duration(setting.value)
            # With its shape checked, what has no length in seconds has too many digits.
            if setting.value and (pause is None or pause > HOUR):
                yield _invalid(setting, "Value should not be longer than an hour")
        for setting in self._given(ROLLING_UPDATE, "Timeout"):
            if not 5 * 60 <= (duration(setting.value) or 0) <= HOUR:
                yield _invalid(setting, "Value should be between 5 minutes to an hour")

    def _processes(self) -> Iterator[Problem]:
        for setting in self.given:
            if not setting.namespace.startswith(PROCESS):
                continue
            if setting.name == "HealthCheckPath" and not _PATH.fullmatch(setting.value):
                yield _invalid(
                    setting, "The path of a health check starts with / and has ASCII characters without spaces"
                )
            if setting.name == "MatcherHTTPCode" and not _is_matcher(setting.value):
                yield _invalid(setting, "Status codes are written as 200, as 200,204 or as 200-299, within 100-599")
            if setting.name in ("HealthCheckTimeout", "HealthCheckInterval") and self._number(
                setting.namespace, "HealthCheckTimeout"
            ) >= self._number(setting.namespace, "HealthCheckInterval"):
                yield _invalid(setting, "HealthCheckTimeout must be less than HealthCheckInterval")

        for setting in self._given("aws:elasticbeanstalk:application", "Application Healthcheck URL"):
            if not _OLD_CHECK.fullmatch(setting.value):
                yield _invalid(
                    setting, "The path of a health check starts with / and has ASCII characters without spaces"
                )

    def _static_files(self) -> Iterator[Problem]:
        for setting in self.given:
            if setting.namespace in static_files.NAMESPACES:
                pairs = [(setting.name, setting.value)]
            elif (setting.namespace, setting.name) == static_files.LEGACY:
                pairs = list(static_files.pairs(setting.value))
            else:
                continue
            for reason in filter(None, (static_files.wrong(path, folder) for path, folder in pairs)):
                yield _invalid(setting, reason)

    def _schedule(self) -> Iterator[Problem]:
        for setting in self._given(SCHEDULED, "Recurrence"):
            fields = setting.value.split()
            if not _CRON.fullmatch(setting.value.strip()) or not all(_CRON_FIELD.fullmatch(field) for field in fields):
                yield _invalid(setting, "Value doesn't comply the cron expression")

    def _others(self) -> Iterator[Problem]:
        for setting in self._given("aws:elasticbeanstalk:cloudwatch:logs:health", "HealthStreamingEnabled"):
            enhanced = self.merged.text(HEALTH, "SystemType") == "enhanced"
            if self.merged.boolean(setting.namespace, setting.name) and not enhanced:
                yield _invalid(setting, "Health transition option settings require enhanced SystemType.")
        for setting in self._given("aws:ec2:vpc", "VPCId"):
            if setting.value and not self.merged.text("aws:ec2:vpc", "Subnets"):
                yield _invalid(setting, "Specify the subnets for the VPC.")
        trigger = "aws:autoscaling:trigger"
        for setting in self._given(trigger, "BreachDuration", "Period", "EvaluationPeriods"):
            if self._number(trigger, "Period") * self._number(trigger, "EvaluationPeriods") > 600:
                yield _invalid(setting, "Period times EvaluationPeriods is greater than 600")
                return
        actions = "aws:elasticbeanstalk:managedactions"
        for setting in self._given(actions, "ManagedActionsEnabled"):
            level = self.merged.text(f"{actions}:platformupdate", "UpdateLevel")
            if self.merged.boolean(*setting.key) and not (level and self.merged.text(actions, "PreferredStartTime")):
                yield _invalid(setting, "Specify PreferredStartTime and UpdateLevel too.")

    def _properties(self) -> Iterator[Problem]:
        size = sum(len(f"{name}={value}".encode()) for name, value in self.merged.environment().items())
        given = [setting for setting in self.given if setting.namespace == ENVIRONMENT_PROPERTIES]
        if given and size > PROPERTIES_LIMIT:
            longest = max(given, key=lambda setting: len(setting.name) + len(setting.value))
            words = f"The environment properties take {size} bytes as key=value; the limit is {PROPERTIES_LIMIT}."
            yield _problem(longest, _specification(longest, words))


def _specification(setting: Setting, reason: str) -> str:
    where = f"(Namespace: '{setting.namespace}', OptionName: '{setting.name}')"
    return f"Invalid option specification {where}: {reason}"


def _invalid(setting: Setting, reason: str) -> Problem:
    where = f"(Namespace: '{setting.namespace}', OptionName: '{setting.name}')"
    return _problem(setting, f"Invalid option value: '{setting.value}' {where}: {reason}")


def _problem(setting: Setting, message: str, severity: Literal["error", "warning"] = "error") -> Problem:
    return Problem(severity, message, setting.namespace, setting.name)


def _is_matcher(text: str) -> bool:
    """Whether every code and both ends of every range are status codes, in order."""
    ranges = [part.partition("-")[::2] for part in text.split(",")]
    return all(
        low.isdecimal() and (high or low).isdecimal() and 100 <= int(low) <= int(high or low) <= 599
        for low, high in ranges
    )
