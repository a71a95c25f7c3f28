"""Whether a control plane runs on a home, asked of the home's lock: the only answer that cannot be out of date."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.cli.errors import CommandFailed

if TYPE_CHECKING:
    from beanpole.home import Home


def holder_of(home: Home) -> int | None:
    """The pid of the control plane that runs there, None when none does. Raises CommandFailed for a home of others."""
    try:
        return home.holder()
    except NotADirectoryError:
        return None
    except PermissionError as refused:
        raise CommandFailed(
            f"The home {home.root} belongs to another user.", "Use that user's account, or another home with --home."
        ) from refused
