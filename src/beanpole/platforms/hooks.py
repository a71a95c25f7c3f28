"""Which files of a bundle are platform hooks: programs of the user's that an instance runs around a deployment.

Only the folders are known here. What lies in one is looked for on the instance when its turn comes, since commands
that ran before may have made or removed some of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

HOOKS: Final = "hooks"
CONFIGHOOKS: Final = "confighooks"
Hooks = Literal["", "hooks", "confighooks"]
"""A folder below .platform: that of deployments, that of changes of settings on instances that run; '' for neither."""

STAGES = ("prebuild", "predeploy", "postdeploy")

_ROOT = ".platform"


def has_hooks(paths: Iterable[str]) -> bool:
    """Whether anything among the paths of a bundle, links too, may be a hook."""
    folders = tuple(f"{_ROOT}/{name}/" for name in (HOOKS, CONFIGHOOKS))
    links = {_ROOT, *(folder.rstrip("/") for folder in folders)}
    return any(path in links or path.startswith(folders) for path in paths)


def never_run(paths: Iterable[str]) -> list[str]:
    """Files that lie among the hooks and in no stage's folder, sorted: nobody ever runs them."""
    folders = tuple(f"{_ROOT}/{name}/" for name in (HOOKS, CONFIGHOOKS))
    stages = tuple(f"{folder}{stage}/" for folder in folders for stage in STAGES)
    return sorted(path for path in paths if path.startswith(folders) and not path.startswith(stages))
