"""A blue/green deployment step by step: clone, prove, swap, keep. Each step looks at what is there and goes on from it.

Nothing of it lives in this process: stopped anywhere, it is gone on with, or back from, by whoever names it.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from beanpole.cli import names
from beanpole.cli.couple import TAG, Couple, find_couple, other_colour, prefix_of, serving_at, tags_of
from beanpole.cli.environment import find, the_environment
from beanpole.cli.errors import Busy, CommandFailed, Misused, WrongState
from beanpole.cli.operation import operation_of
from beanpole.cli.outcome import Change, concluded, followed
from beanpole.cli.settings import GROUP, least_of
from beanpole.cli.swap import begun as begun_swap
from beanpole.cli.version import known_versions

if TYPE_CHECKING:
    from beanpole.cli.client import Api
    from beanpole.cli.environment import Environment
    from beanpole.cli.terminal import Terminal

ILL = ("Severe", "Degraded")
"""Health with which no clone takes over."""


@dataclass(frozen=True)
class Going:
    """What the command line says. `keep`: seconds; None: the old one is not terminated by itself."""

    version: str | None
    keep: float | None
    keep_said: bool
    swap: bool
    clone: str | None
    limit: float
    settings: list[dict[str, str]] = field(default_factory=list)


class Succession:
    """`name`: of an environment, or its address."""

    def __init__(self, api: Api, terminal: Terminal, name: str, going: Going) -> None:
        self._api = api
        self._terminal = terminal
        self._name = name
        self._going = going
        self._couple: Couple | None = None
        """As last seen; None before there was a clone."""

    def begin(self) -> None:
        """Raises WrongState where one is under way already."""
        if self._couple is not None:
            self.resume()  # it was begun, and then something was busy
            return
        present = find_couple(self._api, self._name)
        if present is not None and present.stage != "kept":
            words = " ".join(present.words())
            raise WrongState(f"A blue/green deployment is under way. {words}", _ways(self._name, present))
        old = serving_at(self._api, self._name) or the_environment(self._api, self._name)
        self._clone(old)
        self._go_on()

    def resume(self) -> None:
        self._couple = self._known()
        if self._couple.stage == "kept" and not self._going.keep_said:
            self._conclude("unchanged")
            return
        self._go_on()

    def back(self) -> None:
        """The old one serves by its address, and the clone ends. Heard at every stage."""
        couple = self._couple = self._known()
        if couple.serving is couple.new:
            self._carry(begun_swap(self._api, couple.old, couple.new))
        clone = couple.new.name
        answer = self._api.beanstalk("TerminateEnvironment", EnvironmentName=clone)
        self._carry(self._change(answer, clone, f"Terminating {clone}", f"{clone} is terminated", "termination"))
        old = the_environment(self._api, couple.old.name)
        self._terminal.say(f"{old.url} leads to {old.name} ({old.version}), as before.")
        self._terminal.result(self._facts(couple) | {"outcome": "aborted", "url": old.url, "serving": old.name})

    def tell(self, failed: CommandFailed) -> None:
        """Where it stands, and both ways on from there, with what ended the command."""
        if self._couple is None:
            return
        with suppress(CommandFailed):  # where the control plane is away, what was last seen will do
            self._couple = find_couple(self._api, self._couple.new.name) or self._couple
        for line in self._couple.words():
            self._terminal.warn(line)
        cause = failed.remedy if isinstance(failed, Busy) or failed.exit_status == 1 else ""
        failed.remedy = f"{cause} {self._ways()}".strip()
        facts = {"outcome": "stopped", "stage": self._couple.stage, "error": failed.cause}
        self._terminal.result(self._facts(self._couple) | facts)

    # The steps

    def _clone(self, old: Environment) -> None:
        if old.status != "Ready":
            raise Busy(
                old.name,
                f"The environment {old.name} is busy: {old.status}.",
                f"Wait for it with --wait, or follow it with `beanpole events -f {old.name}`.",
            )
        version = self._version(old)
        clone = names.checked_environment(self._going.clone or other_colour(old.name))
        if (there := find(self._api, clone)) is not None:
            end = f"`beanpole terminate {clone}` ends it"
            raise WrongState(f"There is an environment {clone} already: {there.status}.", f"{end}; or choose --name.")
        settings = self._settings(old)
        count = self._count(old)
        least = least_of(settings) or "1"
        more = [_size(str(count))] if least.isdigit() and count > int(least) else []
        self._terminal.say(f"{old.url} leads to {old.name} ({old.version}). {clone} is made like it, with {version}.")
        kept = {key: value for key, value in tags_of(self._api, old).items() if not key.startswith(TAG)}
        tags = kept | {f"{TAG}of": old.name, f"{TAG}address": prefix_of(old)}
        answer = self._api.beanstalk(
            "CreateEnvironment",
            ApplicationName=old.application,
            EnvironmentName=clone,
            VersionLabel=version,
            SolutionStackName=old.stack,
            TemplateSpecification={"TemplateSource": {"EnvironmentName": old.name}},
            OptionSettings=[*more, *self._going.settings],
            Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
        )
        self._couple = Couple(old, the_environment(self._api, clone), prefix_of(old))
        title, success = f"Creating {clone} with {version}", f"{clone} is up with {version}"
        self._carry(self._change(answer, clone, title, success, "creation"))

    def _go_on(self) -> None:
        couple = self._look()
        if couple.serving is couple.old:
            couple = self._proven(couple)
            if not self._going.swap:
                self._conclude("made")
                return
            self._carry(begun_swap(self._api, couple.old, couple.new))
            couple = self._look()
        self._keep(couple)

    def _proven(self, couple: Couple) -> Couple:
        """The clone runs the version, has passed, and is as large as the original may be."""
        if couple.new.status != "Ready":
            self._follow_open(couple.new)
            couple = self._look()
        name = couple.new.name
        wanted = self._going.version or couple.new.version or self._tried(couple.new)
        if wanted != couple.new.version:
            answer = self._api.beanstalk(
                "UpdateEnvironment", EnvironmentName=name, VersionLabel=wanted, OptionSettings=self._going.settings
            )
            title, success = f"Deploying {wanted} to {name}", f"{name} runs {wanted}"
            self._carry(self._change(answer, name, title, success, "deployment"))
        least = [least_of(self._settings(each)) for each in (couple.old, couple.new)]
        if least[0] is not None and least[0] != least[1]:
            # It was raised so that the clone begins with as many instances as serve now.
            answer = self._api.beanstalk("UpdateEnvironment", EnvironmentName=name, OptionSettings=[_size(least[0])])
            success = f"{name} has the same settings as {couple.old.name}"
            self._carry(self._change(answer, name, f"Settling {name}", success, "update"))
        couple = self._look()
        if couple.new.health in ILL:
            raise CommandFailed(f"{name} runs {wanted}, and its health is {couple.new.health}: it does not take over.")
        return couple

    def _keep(self, couple: Couple) -> None:
        old, keep = couple.old, self._going.keep
        if keep == 0:
            answer = self._api.beanstalk("TerminateEnvironment", EnvironmentName=old.name)
            success = f"{old.name} is terminated"
            self._carry(self._change(answer, old.name, f"Terminating {old.name}", success, "termination"))
            self._terminal.say(f"{couple.url} leads to {couple.new.name} ({couple.new.version}).")
            self._terminal.result(self._facts(couple) | {"outcome": "succeeded", "kept_until": None})
            return
        seconds = {} if keep is None else {"Seconds": int(keep)}
        self._api.beanpole("ScheduleTermination", EnvironmentName=old.name, **seconds)
        self._look()
        self._conclude("succeeded")

    # What there is

    def _known(self) -> Couple:
        found = find_couple(self._api, self._name)
        if found is None:
            there = serving_at(self._api, self._name) or the_environment(self._api, self._name)
            raise WrongState(
                f"No blue/green deployment of {there.name} is under way: {there.url} leads to it ({there.version}).",
                f"`beanpole bluegreen {self._name} --version LABEL` begins one.",
            )
        return found

    def _look(self) -> Couple:
        if self._couple is None:
            raise LookupError("there is no clone yet")
        found = find_couple(self._api, self._couple.new.name)
        if found is None:
            raise WrongState(f"{self._couple.old.name} or {self._couple.new.name} was terminated meanwhile.")
        self._couple = found
        return found

    def _version(self, old: Environment) -> str:
        label = self._going.version
        if label is None:
            raise Misused("Which version is not said.", "Say --version LABEL; `beanpole releases` shows those so far.")
        known = known_versions(self._api, old.application)
        if label not in known:
            near = names.nearest(label, known)
            raise WrongState(f"The application {old.application} has no version {label}.", near)
        return label

    def _tried(self, new: Environment) -> str | None:
        """What the clone was made with, where that has not passed."""
        found = self._api.beanpole("DescribeReleases", EnvironmentName=new.name, MaxRecords=1).get("Releases", [])
        return found[0]["VersionLabel"] if found else None

    def _settings(self, of: Environment) -> list[dict[str, Any]]:
        answer = self._api.beanstalk(
            "DescribeConfigurationSettings", ApplicationName=of.application, EnvironmentName=of.name
        )
        found: list[dict[str, Any]] = answer["ConfigurationSettings"][0]["OptionSettings"]
        return found

    def _count(self, of: Environment) -> int:
        answer = self._api.beanstalk("DescribeEnvironmentResources", EnvironmentName=of.name)
        return len(answer["EnvironmentResources"].get("Instances", []))

    # Words

    def _follow_open(self, new: Environment) -> None:
        """What is under way on the clone, begun by this or by another command."""
        answer = self._api.beanpole("DescribeOperations", EnvironmentName=new.name, MaxRecords=5)
        for each in answer.get("Operations", []):
            if not operation_of(each).over and each.get("Origin", "user") == "user":
                kind = operation_of(each).kind
                change = Change(new.name, each["RequestId"], f"{kind} of {new.name}", f"{new.name} is ready", kind)
                self._carry(change)
                return

    def _change(self, answer: dict[str, Any], name: str, title: str, success: str, noun: str) -> Change:
        return Change(name, answer["ResponseMetadata"]["RequestId"], title, success, noun)

    def _carry(self, change: Change) -> None:
        concluded(self._terminal, change, followed(self._api, self._terminal, change, self._going.limit))

    def _conclude(self, outcome: str) -> None:
        couple = self._look()
        for line in couple.words():
            self._terminal.say(line)
        self._terminal.say(self._ways())
        until = couple.old.terminate_at
        self._terminal.result(self._facts(couple) | {"outcome": outcome, "kept_until": until})

    def _ways(self) -> str:
        return _ways(self._name, self._couple)

    def _facts(self, couple: Couple) -> dict[str, Any]:
        return {
            "environment": couple.old.name,
            "clone": couple.new.name,
            "application": couple.old.application,
            "version": couple.new.version,
            "serving": couple.serving.name,
            "url": couple.url,
        }


def _ways(name: str, couple: Couple | None) -> str:
    """What one can do from there."""
    back = f"Go back: `beanpole bluegreen {name} --abort`."
    if couple is not None and couple.stage == "kept":
        return back
    return f"Go on: `beanpole bluegreen {name} --resume`. {back}"


def _size(number: str) -> dict[str, str]:
    return {"Namespace": GROUP, "OptionName": "MinSize", "Value": number}
