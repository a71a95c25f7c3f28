"""What a release would be: a version's files, the settings in force, and what the platform makes of both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from beanpole.control import errors, settings
from beanpole.control.applications import manifest_of
from beanpole.operations.release import Content, Process
from beanpole.options.precedence import resolve
from beanpole.options.setting import Setting
from beanpole.options.settings import Settings
from beanpole.options.validate import validate
from beanpole.platforms.bundle import Bundle
from beanpole.platforms.hooks import has_hooks
from beanpole.platforms.problem import Problem
from beanpole.policies.candidate import candidate

if TYPE_CHECKING:
    from beanpole.control.context import Control
    from beanpole.operations.work import Brought
    from beanpole.platforms.python import Application
    from beanpole.policies.candidate import Candidate
    from beanpole.store.applications import Version
    from beanpole.store.environments import OptionKey


@dataclass(frozen=True)
class Composed:
    version_label: str
    content: Content
    settings: Settings
    warnings: tuple[str, ...] = ()
    """Sentences for the user about what was understood and is not acted on."""


def compose(
    control: Control,
    version: Version,
    branch: str,
    stored: Mapping[OptionKey, str],
    changes: Iterable[Setting],
    previous: Settings | None,
    *,
    platform_version: str | None = None,
) -> Composed:
    """The release that this version would be. Raises the API's errors for settings or a bundle that cannot be.

    `platform_version`: the one that the environment stays on; None for the newest.
    """
    manifest = manifest_of(control, version)
    bundle = Bundle(manifest.files, lambda path: manifest.read(path, control.blobs))
    found = candidate(control.registry, settings.CONTEXT, bundle, settings.as_settings(stored), list(changes), previous)
    problems = [*found.of_files, *found.of_changes]
    settings.refuse(problems)
    application = _application(found)
    version_of_python = _python_of(control, branch)
    content = Content(
        manifest=version.manifest,
        files=manifest.digest,
        python=version_of_python,
        platform=branch,
        platform_version=platform_version or control.platforms.version,
        processes=tuple(Process(each.name, each.command) for each in application.processes),
        layer=control.layers.key(application.requirements, version_of_python),
        commands=found.extensions.commands,
        hooks=has_hooks(entry.path for entry in manifest.entries),
        stop_first=_stop_first(application),
        fixed_port=application.port.number,
        from_files=tuple((*setting.key, setting.value) for setting in found.extensions.settings),
        settings=tuple(found.in_force.rows()),
    )
    warnings = tuple(problem.message for problem in problems if problem.severity == "warning")
    return Composed(version.label, content, found.in_force, tuple(dict.fromkeys(warnings)))


def recompose(
    control: Control, release: Brought, stored: Mapping[OptionKey, str], changes: Iterable[Setting]
) -> Composed:
    """The same files and processes under other stored settings; what its files set stays as it was."""
    in_force = in_force_with(control, release, stored)
    settings.refuse(validate(control.registry, settings.CONTEXT, changes, in_force, previous=release.settings))
    content = msgspec.structs.replace(release.content, settings=tuple(in_force.rows()))
    return Composed(release.version_label, content, in_force)


def as_it_runs(composed: Composed, current: Brought | None) -> Composed:
    """The same, in the turn that runs: what is no other release is not started once more."""
    if current is None:
        return composed
    content = msgspec.structs.replace(composed.content, turn=current.content.turn)
    return replace(composed, content=content) if content.digest() == current.digest else composed


def in_force_with(control: Control, release: Brought, stored: Mapping[OptionKey, str]) -> Settings:
    """What is in force when these settings are stored and the files are the release's."""
    files = [Setting(*row) for row in release.content.from_files]
    return settings_in_force(control, stored, files)


def settings_in_force(control: Control, stored: Mapping[OptionKey, str], files: Iterable[Setting]) -> Settings:
    return resolve(control.registry, settings.CONTEXT, stored=settings.as_settings(stored), files=files)


def _application(of: Candidate) -> Application:
    found = of.application()
    if isinstance(found, Problem):
        raise errors.invalid(f"The source bundle cannot be deployed: {found.message} {found.remedy}")
    return found


def _python_of(control: Control, branch: str) -> str:
    platform = control.platforms.named(branch)
    if platform is None:
        raise errors.invalid(f"The platform '{branch}' is not on this machine any more. Choose another platform.")
    return platform.python


def _stop_first(application: Application) -> str | None:
    if application.port.number is None:
        return None
    return f"the web process listens on port {application.port.number} whatever PORT says"
