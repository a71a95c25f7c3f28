"""A folder is handed over to a user, with all that is in it."""

from __future__ import annotations

import os
from pathlib import Path


def hand_over(folder: Path, user: int, group: int) -> None:
    """Folder, files and links belong to the user then; what links lead to does not change.

    Nothing is reached by a path that the user could change meanwhile: each folder is held open while it is looked at.
    """
    for _, folders, files, descriptor in os.fwalk(folder, follow_symlinks=False):
        for name in [*folders, *files]:
            os.chown(name, user, group, dir_fd=descriptor, follow_symlinks=False)
        os.fchown(descriptor, user, group)
