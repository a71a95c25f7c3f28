"""What a bundle would be under settings: what its files set, what is in force then, what is wrong, and what would run.

Asked by the control plane for every release, and by the command line for one that is only rehearsed: both refuse the
same things.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from beanpole.options import ebextensions
from beanpole.options.precedence import resolve
from beanpole.options.problem import Problem
from beanpole.options.validate import validate
from beanpole.platforms import python
from beanpole.platforms.hooks import STAGES, never_run

if TYPE_CHECKING:
    from collections.abc import Collection

    from beanpole.options.ebextensions import Extensions
    from beanpole.options.precedence import Context
    from beanpole.options.registry import Registry
    from beanpole.options.setting import Setting
    from beanpole.options.settings import Settings
    from beanpole.platforms import problem
    from beanpole.platforms.bundle import Bundle

PYTHON = "aws:elasticbeanstalk:container:python"

NOT_BUILT = ("nginx", "httpd")
"""Folders below .platform that Elastic Beanstalk acts on, and Beanpole does not."""


@dataclass(frozen=True)
class Candidate:
    bundle: Bundle
    extensions: Extensions
    in_force: Settings
    of_files: tuple[Problem, ...]
    """What is wrong with the files below .ebextensions, and with what they set; and what is left out of .platform."""
    of_changes: tuple[Problem, ...]
    """What is wrong with the settings that came with the call."""

    def application(self) -> python.Application | problem.Problem:
        """What would run, or why nothing can. Only for settings in which no error was found."""
        options = python.ServerOptions(
            self.in_force.text(PYTHON, "WSGIPath"),
            self.in_force.integer(PYTHON, "NumProcesses"),
            self.in_force.integer(PYTHON, "NumThreads"),
        )
        return python.read(self.bundle, options)


def candidate(
    registry: Registry,
    context: Context,
    bundle: Bundle,
    stored: Collection[Setting],
    changes: Collection[Setting],
    previous: Settings | None = None,
) -> Candidate:
    """`changes` are those of `stored` that are new; `previous` are the settings in force until now."""
    extensions = ebextensions.parse({path: bundle.read(path) for path in ebextensions.names(bundle.files)})
    in_force = resolve(registry, context, stored=stored, files=extensions.settings)
    of_files = validate(registry, context, extensions.settings, in_force, origin="file")
    of_changes = validate(registry, context, changes, in_force, previous=previous)
    return Candidate(
        bundle, extensions, in_force, (*extensions.problems, *of_files, *_left_out(bundle)), tuple(of_changes)
    )


def _left_out(bundle: Bundle) -> list[Problem]:
    """A hook that never runs is worse than one that is refused: whoever counts on it is told."""
    folders = [f".platform/{name}" for name in NOT_BUILT if bundle.below(f".platform/{name}")]
    stages = ", ".join(STAGES)
    return [
        *(
            Problem("warning", f"{folder}: Beanpole does not act on these files yet; they are left out.", file=folder)
            for folder in folders
        ),
        *(
            Problem("warning", f"{path} is in none of the folders {stages}: it never runs as a hook.", file=path)
            for path in never_run(bundle.files)
        ),
    ]
