"""Whether a control plane runs on a home, asked of the home's lock: the only answer that cannot be out of date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.cli.errors import CommandFailed, WrongState

if TYPE_CHECKING:
    from beanpole.home import Home


def holder_of(home: Home) -> int | None:
    """The pid of the control plane that runs there, None when none does.

    Raises CommandFailed for a home of others, WrongState for one that is no folder.
    """
    try:
        return home.holder()
    except NotADirectoryError as no_folder:
        raise WrongState(*no_folder_at(home)) from no_folder
    except PermissionError as refused:
        raise CommandFailed(
            f"The home {home.root} belongs to another user.", "Use that user's account, or another home with --home."
        ) from refused


def no_folder_at(home: Home) -> tuple[str, str]:
    """Cause and remedy where a file is in the way."""
    cause = f"The home {home.root} cannot be used: {home.obstacle()} is a file, not a folder."
    return cause, "Name another home with --home or BEANPOLE_HOME."
