"""Saved configurations and environment manifests as YAML: the one form in which both are kept, read and written.

A saved configuration lies in the bucket, where anybody who may write there can put one; a manifest (`env.yaml`) lies in
a bundle; a call carries the text of either. All are strangers' texts, read within the bounds of `document`, as
`.ebextensions` are. Keys that mean nothing here are left out in silence: AWS writes some that only it understands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from beanpole.options import document
from beanpole.options.document import DocumentError
from beanpole.options.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = "OptionSettings"
METADATA = "EnvironmentConfigurationMetadata"
FORMAT = "1.1.0.0"
"""What AWSConfigurationTemplateVersion says in every file of AWS's."""

_MILLISECONDS = re.compile(r"\d{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Saved:
    """What such a document says. None and empty: it says nothing of that.

    `settings` are in the document's order, of a name that comes up twice only the later one. Times are milliseconds
    since 1970. `platform` is any of a platform's names: an ARN, a solution stack. `name`, `cname` and `links` (property
    to environment) are a manifest's; the first two and the links' environments may end in +, for a group's name.
    """

    settings: tuple[Setting, ...] = ()
    description: str | None = None
    created_at: int | None = None
    modified_at: int | None = None
    platform: str | None = None
    tier: str | None = None
    name: str | None = None
    cname: str | None = None
    links: tuple[tuple[str, str], ...] = ()


def read(content: bytes) -> Saved:
    """Raises DocumentError for what is no such document."""
    top = {key.value: value for key, value in _entries(document.compose(content), "the document")}
    about = _texts(top.get(METADATA), METADATA)
    return Saved(
        settings=_settings(top.get(SETTINGS)),
        description=about.get("Description"),
        created_at=_moment(about.get("DateCreated")),
        modified_at=_moment(about.get("DateModified")),
        platform=_texts(top.get("Platform"), "Platform").get("PlatformArn") or _text(top, "SolutionStack"),
        tier=_texts(top.get("EnvironmentTier"), "EnvironmentTier").get("Name"),
        name=_text(top, "EnvironmentName"),
        cname=_text(top, "CName"),
        links=tuple(_texts(top.get("EnvironmentLinks"), "EnvironmentLinks").items()),
    )


def write(saved: Saved, tier_type: str) -> bytes:
    """The document of a saved configuration, as `eb config get` fetches it; `read` gives the same settings back."""
    groups: dict[str, dict[str, str]] = {}
    for setting in sorted(saved.settings):
        prefix = f"{setting.resource}." if setting.resource else ""
        groups.setdefault(f"{prefix}{setting.namespace}", {})[setting.name] = setting.value
    about = {
        "Description": saved.description,
        "DateCreated": str(saved.created_at) if saved.created_at is not None else None,
        "DateModified": str(saved.modified_at) if saved.modified_at is not None else None,
    }
    whole = {
        METADATA: {name: value for name, value in about.items() if value is not None},
        "Platform": {"PlatformArn": saved.platform},
        SETTINGS: groups,
        "EnvironmentTier": {"Type": tier_type, "Name": saved.tier},
        "AWSConfigurationTemplateVersion": FORMAT,
    }
    return yaml.safe_dump(whole, sort_keys=False, allow_unicode=True, width=10**6, encoding="utf-8")


def _settings(node: yaml.Node | None) -> tuple[Setting, ...]:
    found: dict[tuple[str, str, str], Setting] = {}
    for namespace, options in _entries(node, SETTINGS):
        for name, value in _entries(options, namespace.value):
            setting = Setting.of(namespace.value, name.value, document.text(value))
            found[setting.key] = setting
    return tuple(found.values())


def _text(top: dict[str, yaml.Node], name: str) -> str | None:
    node = top.get(name)
    if node is None or document.is_empty(node):
        return None
    if not isinstance(node, yaml.ScalarNode):
        raise DocumentError(f"{name} must be text", document.line(node))
    return document.text(node)


def _texts(node: yaml.Node | None, what: str) -> dict[str, str]:
    """The pairs of a mapping whose values are text; those without a value are left out."""
    found: dict[str, str] = {}
    for key, value in _entries(node, what):
        if document.is_empty(value):
            continue
        if not isinstance(value, yaml.ScalarNode):
            raise DocumentError(f"{key.value} in {what} must be text", document.line(value))
        found[key.value] = document.text(value)
    return found


def _moment(text: str | None) -> int | None:
    return int(text) if text is not None and _MILLISECONDS.fullmatch(text) else None


def _entries(node: yaml.Node | None, what: str) -> Iterator[document.Pair]:
    if node is None or document.is_empty(node):
        return
    if not isinstance(node, yaml.MappingNode):
        words = f"{what} must be a mapping, as in {SETTINGS}: {{namespace: {{option: value}}}}"
        raise DocumentError(words, document.line(node))
    yield from document.pairs(node, what)
