"""A YAML 1.1 or JSON text from a stranger, read within bounds: no tags that build objects, no depth, no alias bombs.

The tree keeps the text of each value and its line, so that 010 stays "010" and a message can say where.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE_LIMIT = 128 * 1024
"""Bytes of one text. Ordinary ones have a few hundred; the parser takes about ten seconds for a megabyte."""

DEPTH_LIMIT = 50
"""Levels of nesting, aliases written out: whoever reads a tree recurses."""

EXPANDED_LIMIT = 4 * 1024 * 1024
"""Characters of the text with every alias written out, each node counted as NODE_WEIGHT more."""

NODE_WEIGHT = 16
"""Characters that a value costs besides its own text."""

_BOOLEAN = "tag:yaml.org,2002:bool"
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"
_TRUE = frozenset({"yes", "true", "on"})

Pair = tuple[yaml.ScalarNode, yaml.Node]


class DocumentError(Exception):
    """The text cannot be read. `line` counts from 1; 0: unknown."""

    def __init__(self, cause: str, line: int = 0) -> None:
        super().__init__(cause)
        self.line = line


def compose(content: bytes) -> yaml.Node | None:
    """The tree of the one document in `content`; None for an empty one. Raises DocumentError."""
    if len(content) > SIZE_LIMIT:
        raise DocumentError(f"the file has {len(content)} bytes; the limit is {SIZE_LIMIT}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DocumentError("the file is not UTF-8", content[: error.start].count(b"\n") + 1) from error
    if text.lstrip().startswith("{"):
        # JSON may be indented with tabs, which YAML forbids; inside its strings JSON allows none.
        text = text.replace("\t", " ")
    try:
        _check_events(text)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        cause = error.problem or error.context or "unknown cause"
        raise DocumentError(f"not valid YAML: {cause}", mark.line + 1 if mark else 0) from error
    except yaml.YAMLError as error:
        raise DocumentError(f"not valid YAML: {str(error).partition(chr(10))[0]}") from error
    if node is not None:
        _measure(node, {}, frozenset())
    return node


def line(node: yaml.Node) -> int:
    return node.start_mark.line + 1 if node.start_mark else 0


def is_empty(node: yaml.Node | None) -> bool:
    """Whether there is nothing, or YAML's null."""
    return node is None or node.tag == _NULL


def pairs(node: yaml.MappingNode, what: str) -> Iterator[Pair]:
    """The pairs of a mapping in their order, those that `<<` merges in first. A name may come up more than once."""
    merged: list[Pair] = []
    own: list[Pair] = []
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise DocumentError(f"a name in {what} must be text", line(key))
        if key.tag != _MERGE:
            own.append((key, value))
            continue
        for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
            if not isinstance(source, yaml.MappingNode):
                raise DocumentError("'<<' merges mappings only", line(key))
            merged += pairs(source, what)
    names = {key.value for key, _ in own}
    yield from (pair for pair in merged if pair[0].value not in names)
    yield from own


def text(node: yaml.Node) -> str:
    """A value as the file shows it: 010 stays "010" and 1.10 stays "1.10"; yes and on become "true".

    A list of plain values is joined by commas, as options that take lists want it; anything deeper becomes JSON.
    """
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node)
    if isinstance(node, yaml.SequenceNode) and all(isinstance(item, yaml.ScalarNode) for item in node.value):
        return ",".join(_scalar(item) for item in node.value)
    return json.dumps(_plain(node), ensure_ascii=False, separators=(",", ":"))


def _check_events(text: str) -> None:
    """Refuses depth and own tags before anything recurses: the parser's events come one after the other."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        where = event.start_mark.line + 1 if event.start_mark else 0
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEPTH_LIMIT:
                raise DocumentError(f"the file has more than {DEPTH_LIMIT} levels", where)
        tag = event.tag if isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent) else None
        if tag and tag.startswith("!") and tag != "!":
            raise DocumentError(f"the tag {tag} means nothing here", where)


def _measure(node: yaml.Node, known: dict[int, tuple[int, int]], above: frozenset[int]) -> tuple[int, int]:
    """(characters, levels) of a node with its aliases written out, without writing them out."""
    if id(node) in above:
        raise DocumentError("an alias contains itself", line(node))
    if id(node) not in known:
        weight, levels = NODE_WEIGHT + (len(node.value) if isinstance(node, yaml.ScalarNode) else 0), 0
        for child in _children(node):
            more, below = _measure(child, known, above | {id(node)})
            weight, levels = weight + more, max(levels, below)
        if weight > EXPANDED_LIMIT:
            raise DocumentError(f"its aliases stand for more than {EXPANDED_LIMIT} characters", line(node))
        if levels >= DEPTH_LIMIT:
            raise DocumentError(f"the file has more than {DEPTH_LIMIT} levels", line(node))
        known[id(node)] = (weight, levels + 1)
    return known[id(node)]


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _scalar(node: yaml.ScalarNode) -> str:
    if node.tag == _BOOLEAN:
        return "true" if node.value.lower() in _TRUE else "false"
    return "" if node.tag == _NULL else str(node.value)


def _plain(node: yaml.Node) -> object:
    if isinstance(node, yaml.MappingNode):
        return {key.value: _plain(value) for key, value in pairs(node, "a value")}
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    if node.tag == _BOOLEAN:
        return node.value.lower() in _TRUE
    if node.tag.endswith(":int") and re.fullmatch(r"-?(0|[1-9]\d{0,18})", node.value):
        return int(node.value)
    return None if node.tag == _NULL else str(node.value)
