"""The files that Envoy watches, and what it says of them: which version of each it applied, which it refused.

A file is replaced by a rename in its folder, so Envoy never reads half of one. It reports versions and refusals in its
statistics, under names that follow from the file's name, and the reason of a refusal in its own log.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional
from urllib.parse import quote

from . import durable
from .admin import Admin
from .http import HttpError

NAME = re.compile(r"(?:cds|rds|lds)\.json|eds/[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.json")
QUERY_NAMES = 40  # files asked for by name in one question; for more, everything is asked for

_EMPTY = '{"version_info":"none","resources":[]}\n'
_REFUSAL = re.compile(r"Filesystem config update (?:rejected|failure): (.*)")


@dataclass(frozen=True)
class Standing:
    """What Envoy says of one file: the version that is in use (None: none yet), and how many it refused so far."""

    version: Optional[str]
    refused: int


class Xds:
    """The folder `xds` of that home."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "xds"

    def prepare(self) -> None:
        """Makes the folder. An Envoy can start with it: without listener, routes and clusters."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        (self._folder / "eds").mkdir(mode=0o700, exist_ok=True)
        for name in ("cds.json", "lds.json"):
            if not (self._folder / name).exists():
                self.write(name, _EMPTY)

    def read(self) -> Dict[str, str]:
        """The text of every file."""
        paths = [*self._folder.glob("*.json"), *self._folder.glob("eds/*.json")]
        return {str(path.relative_to(self._folder)): path.read_text() for path in paths}

    def write(self, name: str, text: str) -> None:
        durable.write(self._folder / name, text.encode())

    def remove(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    async def lagging(self, admin: Admin) -> List[str]:
        """Files on disk that this Envoy has not applied, sorted. AdminError when it does not answer."""
        files = self.read()
        known = clusters(files.get("cds.json", _EMPTY))
        names = [name for name in files if not name.startswith("eds/") or name[4:-5] in known]
        if files.get("lds.json", _EMPTY) == _EMPTY and "rds.json" in names:
            names.remove("rds.json")  # nothing refers to the routes yet
        standings = await standing(admin, names)
        return sorted(name for name in names if standings[name].version != version(files[name]))


async def standing(admin: Admin, names: Iterable[str]) -> Dict[str, Standing]:
    """What that Envoy says of those files."""
    stats_of = {name: _stat(name) for name in names}
    what = "(version_text|update_rejected|update_failure)$"
    if len(stats_of) <= QUERY_NAMES:
        what = f"^({'|'.join(re.escape(stat) for stat in stats_of.values())})\\.{what}"
    stats = await admin.stats(quote(what, safe=""))
    return {
        name: Standing(
            stats.get(f"{stat}.version_text") or None,
            int(stats.get(f"{stat}.update_rejected", 0)) + int(stats.get(f"{stat}.update_failure", 0)),
        )
        for name, stat in stats_of.items()
    }


def version(text: str) -> str:
    """The version that a file carries."""
    return str(json.loads(text)["version_info"])


def clusters(text: str) -> List[str]:
    """The names of the clusters in cds.json."""
    return [resource["name"] for resource in json.loads(text)["resources"]]


def reason(log: str) -> str:
    """Why Envoy refused a file, out of what it wrote to its log."""
    found: List[str] = _REFUSAL.findall(log)
    return found[-1].replace("\\n", " ").strip()[:1000] if found else "Envoy gave no reason in its log"


def check(files: Dict[str, str]) -> None:
    """HttpError 400 for files that are no snapshot. A route to an unknown cluster is refused: Envoy would take it."""
    for name, text in files.items():
        if not NAME.fullmatch(name):
            raise HttpError(400, f"{name!r} is not a file of a snapshot")
        try:
            content = json.loads(text)
            if not isinstance(content["version_info"], str) or not isinstance(content["resources"], list):
                raise TypeError("version_info must be text and resources a list")
        except (ValueError, TypeError, KeyError) as error:
            raise HttpError(400, f"{name} is not a snapshot's file: {error!r}") from error
    for name in ("cds.json", "rds.json", "lds.json"):
        if name not in files:
            raise HttpError(400, f"the snapshot has no {name}")
    known = clusters(files["cds.json"])
    for cluster in known:
        if f"eds/{cluster}.json" not in files:
            raise HttpError(400, f"the snapshot has no endpoints for its cluster {cluster}")
    unknown = sorted(set(_routed(json.loads(files["rds.json"]))) - set(known))
    if unknown:
        raise HttpError(400, f"the snapshot routes to unknown clusters: {', '.join(unknown)}")


def _routed(value: Any) -> Iterable[str]:
    """Every cluster that a route names."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "cluster" and isinstance(inner, str):
                yield inner
            else:
                yield from _routed(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _routed(inner)


def _stat(name: str) -> str:
    """How Envoy's statistics call the subscription to that file."""
    fixed = {"cds.json": "cluster_manager.cds", "lds.json": "listener_manager.lds", "rds.json": "http.edge.rds.routes"}
    return fixed.get(name) or f"cluster.{name[len('eds/') : -len('.json')]}"
