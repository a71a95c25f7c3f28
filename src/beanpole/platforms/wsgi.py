"""What `WSGIPath` means: the module and the object in it that answer requests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Container

DEFAULT = "application"
"""The documented default of WSGIPath; it stands for `application:application`."""

_MODULE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)
_OBJECT = re.compile(r"[A-Za-z_][\w.]*(\(.*\))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Target:
    """`module` dotted, `callable` a name in it or a call of a factory."""

    module: str
    callable: str = DEFAULT

    def __str__(self) -> str:
        return f"{self.module}:{self.callable}"

    @property
    def files(self) -> tuple[str, ...]:
        """Where the module may lie in a bundle."""
        path = self.module.replace(".", "/")
        return (f"{path}.py", f"{path}/__init__.py")

    def is_in(self, files: Container[str]) -> bool:
        return any(path in files for path in self.files)


def parse(path: str) -> Target | None:
    """The meaning of `application`, `app.py`, `project.wsgi`, `project/wsgi.py` and `project.wsgi:app`; None: no sense.

    Without an object, the object is called `application`.
    """
    module, colon, name = path.strip().partition(":")
    module = module.removeprefix("./").removesuffix(".py").replace("/", ".")
    if not _MODULE.fullmatch(module) or (colon and not _OBJECT.fullmatch(name)):
        return None
    return Target(module, name or DEFAULT)
