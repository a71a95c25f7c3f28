"""Reads the YAML of a saved configuration, as clients send it in a call: what it sets, with the text that it shows.

It is a stranger's text, so it is read within the bounds of `document`, as `.ebextensions` are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from beanpole.options import document
from beanpole.options.document import DocumentError
from beanpole.options.setting import Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = "OptionSettings"
"""The key of the settings. The others tell whence a configuration comes; a call tells that apart from it."""


def parse(text: str) -> list[Setting]:
    """The settings in their order; of a name that comes up twice the later one. Raises DocumentError."""
    found: dict[tuple[str, str, str], Setting] = {}
    for key, groups in _entries(document.compose(text.encode()), "the document"):
        if key.value != SETTINGS:
            continue
        for namespace, options in _entries(groups, SETTINGS):
            for name, value in _entries(options, namespace.value):
                setting = Setting.of(namespace.value, name.value, document.text(value))
                found[setting.key] = setting
    return list(found.values())


def _entries(node: yaml.Node | None, what: str) -> Iterator[document.Pair]:
    if node is None or document.is_empty(node):
        return
    if not isinstance(node, yaml.MappingNode):
        words = f"{what} must be a mapping, as in {SETTINGS}: {{namespace: {{option: value}}}}"
        raise DocumentError(words, document.line(node))
    yield from document.pairs(node, what)
