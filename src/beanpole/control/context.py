"""What the verbs act on, and on whose behalf."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa

from beanpole.control import errors
from beanpole.fleet.balancers import Balancers
from beanpole.fleet.layers import Layers
from beanpole.options.registry import Registry
from beanpole.platforms.names import Platforms
from beanpole.store import environments
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database
from beanpole.store.environments import Environment
from beanpole.store.facts import Identity


@dataclass(frozen=True)
class By:
    """Who asked, and the id of the request, by which clients follow its events."""

    user: str
    request_id: str


class Objects(Protocol):
    """The object store: where clients put bundles and find logs."""

    def create_bucket(self, name: str) -> object: ...

    def get(self, bucket: str, key: str) -> Any: ...

    def content(self, found: Any) -> Path:
        """The file with the bytes of what `get` found."""
        ...

    def put(
        self, bucket: str, key: str, content: bytes | Path, content_type: str | None = None, expected: str | None = None
    ) -> object:
        """`expected`: the ETag of what is to be replaced, '' for nothing; PreconditionFailed when that is not so."""
        ...

    def read(self, bucket: str, key: str) -> bytes | None:
        """The content of a small object; None when there is none."""
        ...

    def delete(self, bucket: str, key: str) -> object: ...

    def expire_uploads(self, age: float) -> object: ...

    def sweep(self, now: float, age: float) -> object: ...


@dataclass(frozen=True)
class Control:
    database: Database
    blobs: Blobs
    objects: Objects
    registry: Registry
    platforms: Platforms
    identity: Identity
    balancers: Balancers
    layers: Layers
    wake: Callable[[], None]
    """Tell the engine that there is something to do; may be called from any thread."""
    resident: Callable[[str], int] = lambda _environment_id: 0
    """Bytes that the application takes on an instance of the environment; 0: nobody knows. From any thread."""

    @property
    def bucket(self) -> str:
        return self.identity.bucket

    def arn(self, kind: str, *names: str) -> str:
        path = "/".join((kind, *names))
        return f"arn:aws:elasticbeanstalk:{self.identity.region}:{self.identity.account}:{path}"


def the_environment(db: sa.Connection, *, name: str | None = None, id_: str | None = None) -> Environment:
    """The live environment of that name or id. Raises MissingParameter, or InvalidParameterValue when there is none."""
    if id_ is None and name is None:
        raise errors.missing("Either EnvironmentId or EnvironmentName must be specified.")
    found = environments.find(db, id_) if id_ is not None else environments.find_live(db, name or "")
    if found is None or found.terminated_at is not None or (name is not None and found.name != name):
        raise errors.no_environment(name or id_ or "")
    return found
