"""A full disk: how it is told from other errors, and the words for it. What fails for it can be tried again later."""

from __future__ import annotations

import errno

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
REMEDY = "Free some space there (old releases, logs, other programs' files) or use a larger disk, then try again."


def is_full(error: OSError) -> bool:
    """Whether it says that the disk, or what of it this user may fill, is full."""
    return error.errno in FULL


def words(error: OSError) -> str:
    """The cause in one sentence, without a full stop."""
    return f"the disk of this instance is full ({error.strerror or error})"
