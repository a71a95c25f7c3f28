"""What git knows of a folder: its files, its branch, whether something is uncommitted. Git is never needed."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

LIMIT = 30.0
"""Seconds for one git command. Listing a large work tree takes some; more means that it hangs."""

DETACHED = "default"
"""The name that the EB CLI takes for the branch where there is none."""


@dataclass(frozen=True)
class Git:
    """A folder in a git work tree."""

    folder: Path

    @classmethod
    def of(cls, folder: Path) -> Git | None:
        """None where there is no git or no work tree, or where the work tree ignores this folder."""
        git = cls(folder)
        if shutil.which("git") is None or git._run("rev-parse", "--is-inside-work-tree") != "true":
            return None
        return git if git._run("check-ignore", "--quiet", ".") is None else None

    def branch(self) -> str:
        """The current branch; `default` on a detached head and before the first commit."""
        name = self._run("rev-parse", "--abbrev-ref", "HEAD")
        return DETACHED if name in (None, "", "HEAD") else str(name)

    def description(self) -> str:
        """The commit in a few characters, after a tag if there is one; '' before the first commit."""
        return self._run("describe", "--always", "--abbrev=4") or ""

    def subject(self) -> str:
        """The first line of the last commit's message."""
        return self._run("log", "-1", "--format=%s") or ""

    def uncommitted(self) -> list[str]:
        """Files below the folder that differ from the last commit or are new, without what git ignores."""
        listed = self._list("status", "--porcelain=v1", "-z", "--untracked-files=all", "--no-renames", "--", ".")
        top = self._run("rev-parse", "--show-prefix") or ""
        return [line[3:].removeprefix(top) for line in listed]

    def files(self) -> list[str]:
        """Tracked and new files below the folder that git does not ignore, with those of submodules."""
        listed = self._list("ls-files", "-z", "--cached", "--others", "--exclude-standard", "--deduplicate")
        found: list[str] = []
        for name in listed:
            path = self.folder / name
            if path.is_symlink() or not path.is_dir():
                found.append(name)
            elif (path / ".git").exists():
                inner = name.rstrip("/")
                found += [f"{inner}/{below}" for below in Git(path).files()]
        return found

    def _list(self, *words: str) -> list[str]:
        return [each for each in (self._run(*words, strip=False) or "").split("\0") if each]

    def _run(self, *words: str, strip: bool = True) -> str | None:
        """What git prints; None when it refuses or hangs."""
        # Status would otherwise write the index, which a user's own git may be doing at the same time.
        environment = os.environ | {"GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
        command = ["git", "-C", str(self.folder), *words]
        try:
            done = subprocess.run(command, capture_output=True, timeout=LIMIT, env=environment, check=False)
        except subprocess.TimeoutExpired:
            return None
        if done.returncode != 0:
            return None
        text = done.stdout.decode(errors="surrogateescape")
        return text.strip() if strip else text
