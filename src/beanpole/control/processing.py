"""What CreateApplicationVersion looks for when a version is to be processed: the files that configure environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.control import settings
from beanpole.options import saved
from beanpole.options.document import DocumentError
from beanpole.platforms.bundle import Bundle
from beanpole.policies.candidate import candidate
from beanpole.store.bundles import Manifest

if TYPE_CHECKING:
    from beanpole.control.context import Control
    from beanpole.options.saved import Saved
    from beanpole.store.applications import Version

MANIFEST = "env.yaml"
"""In the top folder of a bundle: which environment its version belongs in."""


class BadManifest(Exception):
    """The bundle has no manifest, or one that cannot be read; the message says where."""


def wrong(control: Control, version: Version) -> list[str]:
    """Sentences about what is wrong with the manifest and the files below .ebextensions; none: it may be deployed."""
    bundle = _bundle(control, version)
    found = candidate(control.registry, settings.CONTEXT, bundle, [], [])
    problems = [problem.message for problem in found.of_files if problem.severity == "error"]
    if MANIFEST in bundle.files:
        try:
            manifest(control, version)
        except BadManifest as problem:
            problems.append(str(problem))
    return problems


def manifest(control: Control, version: Version) -> Saved:
    """The environment manifest of a version's bundle. Raises BadManifest."""
    bundle = _bundle(control, version)
    if MANIFEST not in bundle.files:
        raise BadManifest(f"the version {version.label} has no {MANIFEST} in the top folder of its bundle")
    try:
        return saved.read(bundle.read(MANIFEST))
    except DocumentError as problem:
        where = f"{MANIFEST}, line {problem.line}" if problem.line else MANIFEST
        raise BadManifest(f"{where}: {problem}") from problem


def _bundle(control: Control, version: Version) -> Bundle:
    files = Manifest.from_json(control.blobs.path(version.manifest).read_text())
    return Bundle(files.files, lambda path: files.read(path, control.blobs))
