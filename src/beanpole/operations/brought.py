"""A release as read from the store, with its settings ready to be asked."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from beanpole.operations import release
from beanpole.operations.work import Brought
from beanpole.options.settings import Settings
from beanpole.store import environments

if TYPE_CHECKING:
    import sqlalchemy as sa

    from beanpole.operations.release import Content
    from beanpole.options.registry import Registry


def brought(db: sa.Connection, registry: Registry, environment_id: str, number: int | None) -> Brought | None:
    """None for an environment that has no such release (yet)."""
    found = environments.find_release(db, environment_id, number)
    if found is None:
        return None
    content, settings = _read(registry, found.content)
    return Brought(found.number, found.digest, found.version_label, content, settings)


@lru_cache(maxsize=256)
def _read(registry: Registry, content: str) -> tuple[Content, Settings]:
    """Releases never change, and those that serve are read every second: both values are immutable and shared."""
    decoded = release.decode(content)
    return decoded, Settings.from_rows(registry, decoded.settings)
