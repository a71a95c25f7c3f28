"""Pipfile, Pipfile.lock and pyproject.toml as the lines of a requirement file, which every resolver understands."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DEFAULT_SOURCE = "pypi"
"""What pipenv calls the public index. It is left to the resolver's configuration, which may name a mirror of it."""

_MARKERS = (
    "os_name", "sys_platform", "platform_machine", "platform_python_implementation", "platform_release",
    "platform_system", "platform_version", "python_version", "python_full_version", "implementation_name",
    "implementation_version",
)  # fmt: skip


class UnreadableError(Exception):
    """The file is not what its name says; the text is the cause."""


def lock_lines(text: str) -> list[str]:
    """Pipfile.lock: its `default` packages with their hashes. Raises UnreadableError."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not valid JSON: {error}") from error
    sources = _table(_table(document, "_meta", optional=True), "sources", optional=True, kind=list)
    return [*_index_lines(sources), *_package_lines(_table(document, "default", optional=True))]


def pipfile_lines(text: str) -> list[str]:
    """Pipfile: its `packages`. Raises UnreadableError."""
    document = _toml(text)
    sources = _table(document, "source", optional=True, kind=list)
    return [*_index_lines(sources), *_package_lines(_table(document, "packages", optional=True))]


def project_lines(text: str) -> list[str]:
    """pyproject.toml: what `project.dependencies` says; none without that table. Raises UnreadableError."""
    document = _toml(text)
    project = _table(document, "project", optional=True)
    if "dependencies" in _table(project, "dynamic", optional=True, kind=list):
        raise UnreadableError("its dependencies are dynamic, known only to its build tool")
    if not project and _table(_table(document, "tool", optional=True), "poetry", optional=True).get("dependencies"):
        raise UnreadableError("its dependencies are in Poetry's own table [tool.poetry.dependencies]")
    uv = _table(_table(document, "tool", optional=True), "uv", optional=True)
    if "sources" in uv:
        raise UnreadableError("[tool.uv.sources] is for uv projects; `uv export > requirements.txt` writes it out")
    dependencies = _table(project, "dependencies", optional=True, kind=list)
    if not all(isinstance(dependency, str) for dependency in dependencies):
        raise UnreadableError("project.dependencies must be a list of texts")
    indexes = _index_lines(_table(uv, "index", optional=True, kind=list))
    return [*indexes, *(_one_line(dependency) for dependency in dependencies)]


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UnreadableError(f"not valid TOML: {error}") from error


def _table(parent: Any, name: str, *, optional: bool = False, kind: type = dict) -> Any:
    value = parent.get(name, kind() if optional else None) if isinstance(parent, dict) else None
    if not isinstance(value, kind):
        raise UnreadableError(f"{name!r} is not a {'list' if kind is list else 'table'}")
    return value


def _index_lines(sources: Iterable[Any]) -> Iterator[str]:
    for source in sources:
        if not isinstance(source, dict) or not isinstance(source.get("url"), str):
            raise UnreadableError("a source has no url")
        if source.get("name") != DEFAULT_SOURCE:
            yield f"--extra-index-url {_one_line(source['url'])}"


def _package_lines(packages: Mapping[str, Any]) -> Iterator[str]:
    for name, entry in packages.items():
        if isinstance(entry, str):
            entry = {"version": entry}
        if not isinstance(entry, dict):
            raise UnreadableError(f"{name!r} is neither a version nor a table")
        yield _package_line(name, {key: value for key, value in entry.items() if value is not None})


def _package_line(name: str, entry: dict[str, Any]) -> str:
    extras = f"[{','.join(map(str, entry['extras']))}]" if isinstance(entry.get("extras"), list) else ""
    if path := entry.get("path"):
        where = str(path) if str(path).startswith((".", "/")) else f"./{path}"
        return _one_line(f"{'-e ' if entry.get('editable') else ''}{where}{extras}")
    if git := entry.get("git"):
        reference = f"@{entry['ref']}" if entry.get("ref") else ""
        folder = f"#subdirectory={entry['subdirectory']}" if entry.get("subdirectory") else ""
        line = f"{name}{extras} @ git+{git}{reference}{folder}"
    elif url := entry.get("file") or entry.get("url"):
        line = f"{name}{extras} @ {url}"
    else:
        version = str(entry.get("version", "*"))
        line = f"{name}{extras}{'' if version == '*' else version}"
    markers = [f"({entry['markers']})"] if entry.get("markers") else []
    markers += [f"{marker} {entry[marker]}" for marker in _MARKERS if marker in entry]
    hashes = [f"--hash={value}" for value in entry.get("hashes", [])]
    return _one_line(" ".join([line, *([f"; {' and '.join(markers)}"] if markers else []), *hashes]))


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text:
        raise UnreadableError(f"a line break inside {text.split(chr(10))[0]!r}")
    return text
