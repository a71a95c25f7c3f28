"""Names: made valid from what a folder is called, checked when a person gives them, and the nearest known one. Pure."""

from __future__ import annotations

import difflib
import re
import unicodedata
from typing import TYPE_CHECKING

from beanpole.cli.errors import Misused

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST = 40
"""Characters of an environment's name, at most; at least four. The API's rule."""

SUFFIX = "-dev"
"""What the first environment of an application is called behind the application's name, as the EB CLI proposes it."""

_ENVIRONMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{2,38}[A-Za-z0-9]")
_PLAIN = re.compile(r"[^/\x00-\x1f\x7f]{1,100}")
_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9]+")


def application_from(folder: str) -> str:
    """A valid application name from a folder's: `My Shop (é)` → `My-Shop-e`; '' where nothing of it can be used.

    Leaves room for SUFFIX.
    """
    ascii_only = unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode()
    return _NOT_ALLOWED.sub("-", ascii_only)[: LONGEST - len(SUFFIX)].strip("-")


def environment_from(application: str) -> str:
    """'' where nothing of the application's name can be used."""
    valid = application_from(application)
    return f"{valid}{SUFFIX}" if valid else ""


def is_environment_name(name: str) -> bool:
    return _ENVIRONMENT.fullmatch(name) is not None


def checked_environment(name: str) -> str:
    """The name itself. Raises Misused, with a name that would be valid."""
    if is_environment_name(name):
        return name
    valid = application_from(name)
    valid = valid if is_environment_name(valid) else environment_from(name)
    raise Misused(
        f"{name!r} is no name for an environment: 4 to 40 letters, digits and hyphens, no hyphen at either end.",
        f"A valid name would be {valid or 'application-dev'}.",
    )


def checked_label(label: str) -> str:
    if _PLAIN.fullmatch(label):
        return label
    raise Misused(f"{label!r} is no label for a version: 1 to 100 characters without a slash.", "Choose another label.")


def checked_application(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return name
    raise Misused(
        f"{name!r} is no name for an application: 1 to 100 characters without a slash.", "Choose another name."
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence that helps whoever mistyped: the nearest known name, else all of them."""
    names = sorted(known)
    by_lower = {each.lower(): each for each in names}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1)
    if close:
        return f"Did you mean {by_lower[close[0]]}?"
    return f"Known: {', '.join(names)}." if names else ""
