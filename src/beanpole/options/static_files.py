"""Which paths of a site are answered from which folders of the bundle, as the settings say it.

Three places may say so; of one path the newest namespace counts. An empty folder takes a path away again, and
ProxyServer `none` all of them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PYTHON = "aws:elasticbeanstalk:container:python"
PROXY = "aws:elasticbeanstalk:environment:proxy"
NAMESPACES = (f"{PYTHON}:staticfiles", f"{PROXY}:staticfiles")
"""Path to folder; the later one counts."""

LEGACY = (PYTHON, "StaticFiles")
"""`/path=folder,/path=folder`; its default is the platform's own."""

# Characters that mean themselves in a path: whoever routes compares with what the client wrote, undecoded.
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;:@/-]*")


class Folder(msgspec.Struct, frozen=True, order=True):
    """`path` begins with / and does not end so, but for `/` itself; `folder` is relative to the bundle."""

    path: str
    folder: str
    optional: bool = False
    """Nobody asked for it: where there is no such folder, the application has the path."""


DEFAULT = (Folder("/static", "static", optional=True),)
"""What the Python platform serves without being asked."""


def folders(rows: Iterable[tuple[str, str, str, str]]) -> tuple[Folder, ...]:
    """The folders that settings in force (namespace, name, resource, value) ask for, by path."""
    found: dict[str, Folder] = {}
    values = {(namespace, name): value for namespace, name, _, value in rows}
    if values.get((PROXY, "ProxyServer")) == "none":
        return ()
    listed = [_folder(path, folder) for path, folder in pairs(values.get(LEGACY, ""))]
    if {(each.path, each.folder) for each in listed} == {(each.path, each.folder) for each in DEFAULT}:
        listed = list(DEFAULT)
    found.update((each.path, each) for each in listed)
    for wanted in NAMESPACES:
        named = (_folder(name, value) for (namespace, name), value in values.items() if namespace == wanted)
        found.update((each.path, each) for each in named)
    return tuple(sorted(each for each in found.values() if each.folder))


def pairs(text: str) -> Iterator[tuple[str, str]]:
    """Paths and folders of the legacy option."""
    for item in filter(None, text.split(",")):
        path, _, folder = item.partition("=")
        yield path.strip(), folder.strip()


def wrong(path: str, folder: str) -> str | None:
    """Why that path cannot lead to that folder, or None."""
    if not _PATH.fullmatch(_folder(path, "").path) or "/../" in f"{path}/" or "//" in path:
        return "A path of static files has ASCII letters, digits and marks without % and ?, as in /static."
    if not folder:
        return None
    if ".." in folder.split("/") or "\0" in folder or "\\" in folder:
        return "The folder of static files must be inside the source bundle, and is written with / and without .. ."
    if not _folder(path, folder).folder:
        return "The folder of static files must be one below the source bundle: the bundle itself has the program."
    return None


def _folder(path: str, folder: str) -> Folder:
    parts = [part for part in folder.split("/") if part not in ("", ".")]
    return Folder(f"/{path.strip('/')}", "/".join(parts))
