"""The folder of an application, and the file in it that remembers where it is deployed: shared with the EB CLI.

`.elasticbeanstalk/config.yml` has the same keys for both; what this module does not know stays as it is. Which
environment is meant may depend on the branch of git that is checked out.
"""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beanpole.cli.errors import WrongState
from beanpole.cli.git import DETACHED, Git

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = ".elasticbeanstalk"
FILE = "config.yml"

NEW: dict[str, Any] = {
    "application_name": None,
    "branch": None,
    "default_ec2_keyname": None,
    "default_platform": None,
    "default_region": None,
    "include_git_submodules": True,
    "instance_profile": None,
    "platform_name": None,
    "platform_version": None,
    "profile": None,
    "repository": None,
    "sc": None,
    "workspace_type": "Application",
}
"""The section `global` as `eb init` writes it. `profile: null` makes eb take the keys from the environment."""


@dataclass
class Workspace:
    root: Path
    settings: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def at(cls, root: Path) -> Workspace:
        """Of exactly this folder. Raises WrongState when its file cannot be understood."""
        return cls(root, _read(root / FOLDER / FILE))

    @classmethod
    def around(cls, folder: Path) -> Workspace:
        """Of the nearest folder above that has one, this one included; else of this one.

        The search ends at the home folder: a file there would make all of it one application.
        """
        folder = folder.absolute()
        for each in (folder, *folder.parents):
            if each == Path.home():
                break
            if (each / FOLDER / FILE).is_file():
                return cls.at(each)
        return cls.at(folder)

    @classmethod
    def nearby(cls, folder: Path, warn: Callable[[str], None]) -> Workspace:
        """As `around`; of a file that cannot be understood only a warning, for commands that can do without it."""
        try:
            return cls.around(folder)
        except WrongState as unreadable:
            warn(f"Warning: {unreadable.cause} {unreadable.remedy}")
            return cls(folder.absolute())

    @property
    def application(self) -> str | None:
        return _text(self._section("global").get("application_name"))

    @property
    def platform(self) -> str | None:
        return _text(self._section("global").get("default_platform"))

    @property
    def profile(self) -> str | None:
        """The AWS profile that eb takes its keys from, in this folder, whatever variables say."""
        return _text(self._branch_section().get("profile") or self._section("global").get("profile"))

    @property
    def artifact(self) -> Path | None:
        """A zip to deploy instead of the folder's files, relative to the folder."""
        name = _text(self._section("deploy").get("artifact"))
        return Path(name) if name else None

    @property
    def environment(self) -> str | None:
        """The default environment of the branch that is checked out."""
        return _text(self._branch_section().get("environment"))

    @property
    def branch(self) -> str:
        return Git(self.root).branch() if self.has_branches else DETACHED

    @property
    def has_branches(self) -> bool:
        """As the EB CLI decides it: where the file or a `.git` folder says that there is git."""
        return bool(self._section("global").get("sc")) or (self.root / ".git").is_dir()

    @property
    def remembers(self) -> bool:
        """Whether another branch, or this one, was deployed from here."""
        sections = self._section("branch-defaults").values()
        return any(isinstance(section, dict) and section.get("environment") for section in sections)

    def remember(self, *, application: str, environment: str, platform: str, region: str) -> bool:
        """Write down what is not there yet; whether that was anything. What the user chose before stays."""
        before = _copy(self.settings)
        known = self.settings["global"] = self._section("global")
        source_control = "git" if "sc" not in known and Git.of(self.root) is not None else None
        facts = {
            "application_name": application,
            "default_platform": platform,
            "default_region": region,
            "sc": source_control,
        }
        for key, value in (NEW | facts).items():
            if known.get(key) is None:
                known[key] = value
        branches = self.settings["branch-defaults"] = self._section("branch-defaults")
        mine = branches[self.branch] = self._branch_section()
        if not mine.get("environment"):
            mine["environment"] = environment
            mine.setdefault("group_suffix", None)
        return self._write(before)

    def forget(self, environment: str) -> bool:
        """The environment is gone: no branch has it as its default any more."""
        before = _copy(self.settings)
        for section in self._section("branch-defaults").values():
            if isinstance(section, dict) and section.get("environment") == environment:
                section["environment"] = None
        return self._write(before)

    def _branch_section(self) -> dict[str, Any]:
        section = self._section("branch-defaults").get(self.branch)
        return section if isinstance(section, dict) else {}

    def _section(self, name: str) -> dict[str, Any]:
        section = self.settings.get(name)
        return section if isinstance(section, dict) else {}

    def _write(self, before: dict[str, Any]) -> bool:
        if self.settings == before:
            return False
        import yaml

        folder = self.root / FOLDER
        try:
            folder.mkdir(exist_ok=True)
            text = yaml.safe_dump(self.settings, default_flow_style=False)
            _replace(folder / FILE, text)
        except OSError as problem:
            raise WrongState(
                f"{folder / FILE} cannot be written: {problem.strerror}.", "Make the folder writable, or deploy a copy."
            ) from problem
        return True


def _read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        found = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        return {}
    except OSError as problem:
        raise WrongState(f"{path} cannot be read: {problem.strerror}.", "Make it readable.") from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise WrongState(
            f"{path} is not YAML: {_reason(problem)}.", "Correct it, or delete it and deploy again."
        ) from problem
    if found is not None and not isinstance(found, dict):
        raise WrongState(f"{path} has no sections.", "Correct it, or delete it and deploy again.")
    return found or {}


def _reason(problem: Exception) -> str:
    """In one line, with the number of the line at fault where it is known."""
    import yaml

    if isinstance(problem, yaml.MarkedYAMLError) and problem.problem_mark is not None:
        words = ", ".join(filter(None, (problem.context, problem.problem)))
        return f"line {problem.problem_mark.line + 1}: {' '.join(words.split())}"
    if isinstance(problem, yaml.reader.ReaderError):
        return f"character {problem.position + 1}: {problem.reason}"
    return " ".join(str(problem).split())


def _replace(path: Path, text: str) -> None:
    """Whole or not at all, with the mode that it had."""
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o644
    descriptor, fresh = tempfile.mkstemp(dir=path.parent, prefix=f".{FILE}-")
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        Path(fresh).chmod(mode)
        Path(fresh).replace(path)
    except OSError:
        Path(fresh).unlink(missing_ok=True)
        raise


def _copy(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in settings.items()}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
