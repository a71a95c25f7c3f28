"""A deployment, step by step, in the order of what it costs to be wrong.

Names, settings and files are checked before anything is sent, the plan is shown before anything is switched, and a
folder that already runs touches nothing.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beanpole.cli import names, plan, version
from beanpole.cli.bundle import Bundle, bundle_of, words_of_size
from beanpole.cli.crowd import agree, crowd
from beanpole.cli.errors import WrongState
from beanpole.cli.outcome import Change, carry_through
from beanpole.cli.platform import chosen_stack, python_of, shorthand
from beanpole.cli.settings import DEPLOYMENT, LOCATION, Wanted, least_of, location_of
from beanpole.cli.target import Named, Target, target_of
from beanpole.cli.terminal import printable

if TYPE_CHECKING:
    from pathlib import Path

    from beanpole.cli.client import Api
    from beanpole.cli.environment import Environment
    from beanpole.cli.terminal import Terminal
    from beanpole.cli.workspace import Workspace

UNCOMMITTED_SHOWN = 3
"""Names of uncommitted files that are said; the rest is counted."""


@dataclass(frozen=True)
class Choice:
    """What the command line says; None: as it is, or as we name it."""

    settings: Wanted
    named: Named
    label: str | None = None
    python: str | None = None
    artifact: Path | None = None
    allow_downtime: bool = False
    ask: bool = True
    limit: float = 3600.0


@dataclass(frozen=True)
class Content:
    """What will run: a version that is there already, or a bundle that becomes one under this label."""

    label: str
    bundle: Bundle
    stored: bool


class Deployment:
    def __init__(self, api: Api, terminal: Terminal, workspace: Workspace, choice: Choice) -> None:
        self._api = api
        self._terminal = terminal
        self._workspace = workspace
        self._choice = choice

    def run(self) -> None:
        target = self._target()
        target.settle(self._terminal, ask=self._choice.ask)
        target.refuse_busy()
        content = self._content(target)
        agree(self._terminal, self._crowd(target), ask=self._choice.ask)
        if target.present is None:
            self._store(target, content)
            self._create(target, content)
            return
        changes = self._changes(target.present)
        # What is stored already can be planned with before anything is sent.
        planned = self._planned(target.present, changes, content.label) if content.stored else None
        if planned is not None and not changes and self._runs_already(target.present, planned):
            self._unchanged(target, target.present)
            return
        self._store(target, content)
        planned = planned or self._planned(target.present, changes, content.label)
        self._show(planned, changes, whole=not self._terminal.live)
        if planned.get("Downtime") and not self._agreed(target.present):
            plan.ask_for_consent(self._terminal, planned, ask=self._choice.ask)
        self._update(target, target.present, content, changes)

    def rehearse(self) -> None:
        """Show what `run` would do, or refuse. A version that only the planning needed is removed again."""
        target = self._target()
        if target.doubt and self._terminal.asks:
            self._terminal.say(f"{target.doubt}: a deployment asks first.")
        else:
            target.settle(self._terminal, ask=False)
        target.refuse_busy()
        content = self._content(target)
        if said := self._crowd(target):
            self._terminal.warn(f"Warning: {said}.")
        if target.present is None:
            self._rehearse_creation(target, content)
            return
        changes = self._changes(target.present)
        self._store(target, content)
        try:
            answer = self._plan(target.present, changes, content.label, Preflight=True)
        finally:
            if not content.stored:
                version.remove(self._api, target.application, content.label)
        planned, findings = answer.get("Plan", {}), answer.get("Findings", [])
        self._show(planned, changes)
        for each in findings:
            self._terminal.warn(f"Preflight: {printable(each)}")
        self._terminal.say("This was a rehearsal: nothing was changed.")
        facts = {"outcome": "rehearsed", "plan": plan.as_json(planned), "findings": findings}
        self._terminal.result(_facts(target, content) | facts)

    def _target(self) -> Target:
        if self._choice.label is not None:
            names.checked_label(self._choice.label)
        return target_of(self._api, self._workspace, self._choice.named)

    def _crowd(self, target: Target) -> str:
        """What is to be said of the number of instances that is asked for; '' where that is nothing."""
        wanted = self._choice.settings.least
        if wanted is None:
            return ""
        current = self._settings_of(target.present) if target.present else []
        location = location_of(current) or self._choice.settings.values.get(LOCATION)
        return crowd(self._api, wanted, least_of(current), location)

    def _content(self, target: Target) -> Content:
        root = self._workspace.root
        bundle = bundle_of(root, self._choice.artifact)
        self._say_bundle(bundle)
        known = version.known_versions(self._api, target.application)
        label = self._choice.label
        if label is not None:
            version.check_label(label, bundle.digest, known)
        else:
            same = version.with_content(known, bundle.digest)
            label = same or version.new_label(root, known, dt.datetime.now())
        return Content(label, bundle, stored=label in known)

    def _changes(self, present: Environment) -> dict[str, Any]:
        """Parameters of an update, beyond the version, that would change something."""
        wanted = self._choice.settings
        put, gone = wanted.changes(self._settings_of(present)) if wanted.values else ([], [])
        changes: dict[str, Any] = {"OptionSettings": put} if put else {}
        if gone:
            changes["OptionsToRemove"] = gone
        if self._choice.python not in (None, python_of(present.stack)):
            changes["SolutionStackName"] = chosen_stack(self._api, self._choice.python, None)
        return changes

    def _settings_of(self, present: Environment) -> list[dict[str, Any]]:
        answer = self._api.beanstalk(
            "DescribeConfigurationSettings", ApplicationName=present.application, EnvironmentName=present.name
        )
        return [each for described in answer["ConfigurationSettings"][:1] for each in described["OptionSettings"]]

    def _runs_already(self, present: Environment, planned: dict[str, Any]) -> bool:
        """On every instance: one that was left behind is a reason to deploy the same again.

        Another client may have stored the same content under its own label: unless ours was asked for, that will do.
        """
        same = present.version is not None and self._choice.label in (None, present.version)
        return same and not planned.get("Steps")

    def _store(self, target: Target, content: Content) -> None:
        if content.stored:
            self._terminal.say(f"The version {content.label} has this content already.")
        else:
            version.store(self._api, self._terminal, target.application, content.label, content.bundle)

    def _planned(self, present: Environment, changes: dict[str, Any], label: str) -> dict[str, Any]:
        planned: dict[str, Any] = self._plan(present, changes, label).get("Plan", {})
        return planned

    def _plan(self, present: Environment, changes: dict[str, Any], label: str, **more: Any) -> dict[str, Any]:
        # The planning call has no platform: it plans for the one that the environment has.
        known = {key: value for key, value in changes.items() if key != "SolutionStackName"}
        return self._api.beanpole(
            "PlanEnvironmentUpdate", EnvironmentName=present.name, VersionLabel=label, **known, **more
        )

    def _agreed(self, present: Environment) -> bool:
        """To downtime: on the command line, or once for all in the environment's settings."""
        if self._choice.allow_downtime:
            return True
        standing = {"Namespace": DEPLOYMENT, "OptionName": "AllowDowntime", "Value": "true"}
        return any(standing.items() <= each.items() for each in self._settings_of(present))

    def _create(self, target: Target, content: Content) -> None:
        name = target.environment
        stack = chosen_stack(self._api, self._choice.python, self._workspace.platform)
        answer = self._api.beanstalk(
            "CreateEnvironment",
            ApplicationName=target.application,
            EnvironmentName=name,
            VersionLabel=content.label,
            SolutionStackName=stack,
            OptionSettings=self._choice.settings.for_new(),
        )
        self._remember(target, stack)
        title, success = f"Creating {name} with {content.label}", f"{name} is up with {content.label}"
        self._finish(target, content, answer, title, success, "creation")

    def _update(self, target: Target, present: Environment, content: Content, changes: dict[str, Any]) -> None:
        name = target.environment
        answer = self._api.beanstalk("UpdateEnvironment", EnvironmentName=name, VersionLabel=content.label, **changes)
        self._remember(target, present.stack)
        title, success = f"Deploying {content.label} to {name}", f"{name} runs {content.label}"
        self._finish(target, content, answer, title, success, "deployment")

    def _finish(
        self, target: Target, content: Content, answer: dict[str, Any], title: str, success: str, noun: str
    ) -> None:
        url = f"http://{answer['CNAME']}" if answer.get("CNAME") else None
        request_id = answer["ResponseMetadata"]["RequestId"]
        facts = _facts(target, content) | {"url": url}
        change = Change(target.environment, request_id, title, success, noun, facts)
        carry_through(self._api, self._terminal, change, self._choice.limit)
        if url is not None:
            self._terminal.say(url)

    def _remember(self, target: Target, stack: str) -> None:
        try:
            self._workspace.remember(
                application=target.application,
                environment=target.environment,
                platform=shorthand(stack),
                region=self._api.endpoint.region,
            )
        except WrongState as unwritable:
            # What was begun goes on; that the folder forgets it is no reason not to follow.
            names_it = f"The next deployment of this folder needs --environment {target.environment}."
            self._terminal.warn(f"Warning: {unwritable.cause} {names_it}")

    def _unchanged(self, target: Target, present: Environment) -> None:
        self._remember(target, present.stack)
        health = "" if present.health in ("Ok", "Info") else f" Its health is {present.health}."
        self._terminal.say(f"{present.name} runs exactly this as {present.version}: nothing was touched.{health}")
        if present.url is not None:
            self._terminal.say(present.url)
        facts = {"application": target.application, "environment": present.name, "version": present.version}
        self._terminal.result(facts | {"outcome": "unchanged", "url": present.url})

    def _rehearse_creation(self, target: Target, content: Content) -> None:
        # Imported here: no other command needs the rules of the platform.
        from beanpole.cli.rehearsal import creation

        stack = chosen_stack(self._api, self._choice.python, self._workspace.platform)
        settings = self._choice.settings.for_new()
        self._terminal.say(
            f"This would create the environment {target.environment} of the application {target.application} "
            f"({shorthand(stack)}) with the version {content.label}."
        )
        self._say_settings(settings)
        planned = creation(content.bundle, settings)
        plan.show(self._terminal, planned)
        self._terminal.say("This was a rehearsal: nothing was changed.")
        facts = {"outcome": "rehearsed", "plan": plan.as_json(planned), "platform": stack}
        self._terminal.result(_facts(target, content) | facts)

    def _show(self, planned: dict[str, Any], changes: dict[str, Any], *, whole: bool = True) -> None:
        self._say_settings(changes.get("OptionSettings", []))
        for each in changes.get("OptionsToRemove", []):
            self._terminal.say(f"Setting {each['Namespace']} {each['OptionName']}: back to its default")
        if "SolutionStackName" in changes:
            self._terminal.say(f"Platform: {shorthand(changes['SolutionStackName'])}")
        plan.show(self._terminal, planned, whole=whole)

    def _say_settings(self, settings: list[dict[str, str]]) -> None:
        for each in settings:
            # The values of environment properties may be secrets.
            value = "(set)" if each["Namespace"].endswith(":application:environment") else each["Value"]
            self._terminal.say(f"Setting {each['Namespace']} {each['OptionName']}: {value}")

    def _say_bundle(self, bundle: Bundle) -> None:
        if bundle.artifact is not None:
            self._terminal.say(f"Deploying {bundle.artifact} as it is.")
            return
        files = plan.counted(len(bundle.entries), "file")
        self._terminal.say(f"{files}, {words_of_size(bundle.size)}, from {bundle.root}.")
        if bundle.uncommitted:
            shown = ", ".join(bundle.uncommitted[:UNCOMMITTED_SHOWN])
            rest = len(bundle.uncommitted) - UNCOMMITTED_SHOWN
            more = f" and {rest} more" if rest > 0 else ""
            self._terminal.say(f"Uncommitted changes are part of it: {shown}{more}.")


def _facts(target: Target, content: Content) -> dict[str, Any]:
    return {"application": target.application, "environment": target.environment, "version": content.label}
