"""What a first deployment would do, found without sending anything: is the bundle one that can run, and in which steps?

The control plane plans an update itself. For an environment that is not there yet, this asks the same rules that it
will ask: those of settings, of `.ebextensions` and of the platform.
"""

from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING, Any

from beanpole.cli.errors import CommandFailed, Misused
from beanpole.options import catalogue
from beanpole.options.precedence import Context
from beanpole.options.setting import Setting
from beanpole.options.smoke import tests_of
from beanpole.platforms.bundle import Bundle as Files
from beanpole.platforms.hooks import HOOKS, has_hooks
from beanpole.platforms.problem import Problem
from beanpole.policies import capacity
from beanpole.policies.candidate import candidate
from beanpole.policies.change import Target
from beanpole.policies.plan import Plan
from beanpole.policies.smoke import with_smoke

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from beanpole.cli.bundle import Bundle
    from beanpole.options.ebextensions import Extensions
    from beanpole.platforms.hooks import Hooks

GROUP = "aws:autoscaling:asg"


def creation(bundle: Bundle, option_settings: Iterable[dict[str, str]]) -> dict[str, Any]:
    """The plan of a creation, in the structure that the API has for plans.

    Raises CommandFailed for a bundle that cannot be deployed, Misused for settings that cannot be.
    """
    files = _of_zip(bundle.artifact) if bundle.artifact is not None else _of_folder(bundle)
    given = [Setting.of(each["Namespace"], each["OptionName"], each["Value"], "") for each in option_settings]
    found = candidate(catalogue.load(), Context(), files, given, given)
    if wrong := [problem.message for problem in found.of_changes if problem.severity == "error"]:
        raise Misused(" ".join(wrong), "Correct the settings of the command line.")
    if wrong := [problem.message for problem in found.of_files if problem.severity == "error"]:
        raise CommandFailed(" ".join(wrong), "Correct the files below .ebextensions.")
    application = found.application()
    if isinstance(application, Problem):
        raise CommandFailed(f"The source bundle cannot be deployed: {application.message}", application.remedy)
    steps = capacity.grow(max(found.in_force.integer(GROUP, "MinSize"), 1), _target(found.extensions, files))
    tests = [test.words for test in tests_of(found.in_force)]
    made = with_smoke(Plan(policy="AllAtOnce", steps=tuple(steps)), tests)
    warnings = [problem.message for problem in (*found.of_files, *found.of_changes)]
    return {
        "Policy": made.policy,
        "Notes": list(dict.fromkeys(warnings)),
        "Steps": [
            {"Key": step.key, "Kind": type(step).__name__, "Slots": list(step.slots), "Words": step.words}
            for step in made.steps
        ],
    }


def _target(extensions: Extensions, files: Files) -> Target:
    leader = any(command.leader_only for command in extensions.commands)
    hooks: Hooks = HOOKS if has_hooks(files.files) else ""
    return Target("", once=leader, hooks=hooks)


def _of_folder(bundle: Bundle) -> Files:
    """Links to files are files, as they are once they are unpacked."""
    paths = {entry.name: entry.digest or f"link {entry.target}" for entry in bundle.entries}
    inside = {name: digest for name, digest in paths.items() if (bundle.root / name).is_file()}
    return Files(inside, lambda path: (bundle.root / path).read_bytes())


def _of_zip(path: Path) -> Files:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {each.filename: f"{each.CRC:08x}" for each in archive.infolist() if not each.is_dir()}
    except zipfile.BadZipFile as damaged:
        raise CommandFailed(f"{path} is not a zip, or a damaged one: {damaged}.", "Make it once more.") from damaged

    def read(name: str) -> bytes:
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)

    return Files(members, read)
