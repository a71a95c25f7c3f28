"""Reads `.ebextensions/*.config` of a bundle: option settings and container commands, and a word on everything else.

Nothing in these files is ignored in silence: a key that is not built yet gives a warning that names the file, and a
file that cannot be read gives an error with file, line and cause. Files are taken in alphabetical order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import yaml

from beanpole.options import document
from beanpole.options.document import DocumentError
from beanpole.options.problem import Problem
from beanpole.options.setting import ENVIRONMENT_PROPERTIES, Setting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

FOLDER = ".ebextensions/"
SUFFIX = ".config"

TOTAL_LIMIT = 512 * 1024
"""Bytes of all configuration files of a bundle together: what takes a few seconds to parse."""

NOT_BUILT = frozenset({
    "packages", "groups", "users", "sources", "files", "commands", "services",
    "Resources", "Parameters", "Outputs", "Mappings", "Conditions",
})  # fmt: skip
"""Keys of Elastic Beanstalk that Beanpole does not carry out yet."""

_COMMAND_KEYS = frozenset({"command", "cwd", "env", "test", "leader_only", "ignoreErrors"})
_FUNCTION = re.compile(r"`\s*\{[^`]*\}\s*`")


@dataclass(frozen=True, slots=True)
class ContainerCommand:
    """One entry of `container_commands`: a shell line, or the words of one program.

    `env` overrides single environment properties; `cwd` None is the application's folder; `test` is a shell line that
    must exit 0 for the command to run, and is not asked when `leader_only` is set.
    """

    name: str
    command: str | tuple[str, ...]
    cwd: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    test: str | None = None
    leader_only: bool = False
    ignore_errors: bool = False


@dataclass(frozen=True, slots=True)
class Extensions:
    """`settings` in the order in which later ones win; `commands` sorted by name, as they have to run."""

    settings: tuple[Setting, ...] = ()
    commands: tuple[ContainerCommand, ...] = ()
    problems: tuple[Problem, ...] = ()


def names(paths: Iterable[str]) -> list[str]:
    """The configuration files among the paths of a bundle, in the order in which they apply."""
    return sorted(
        path
        for path in paths
        if path.startswith(FOLDER) and path.endswith(SUFFIX) and "/" not in path.removeprefix(FOLDER)
    )


def parse(files: Mapping[str, bytes]) -> Extensions:
    """What the configuration files among `files` (path in the bundle → content) say.

    A later file replaces a container command of the same name. An invalid file contributes nothing but its problem.
    """
    settings: list[Setting] = []
    commands: dict[str, ContainerCommand] = {}
    problems: list[Problem] = []
    total = 0
    for path in names(files):
        reader = _File(path)
        total += len(files[path])
        try:
            if total > TOTAL_LIMIT:
                raise DocumentError(f"the configuration files together have more than {TOTAL_LIMIT} bytes")
            reader.read(files[path])
        except DocumentError as error:
            reader.problem("error", str(error), error.line)
        else:
            settings += reader.settings
            commands.update(reader.commands)
        problems += reader.problems
    return Extensions(tuple(settings), tuple(commands[name] for name in sorted(commands)), tuple(problems))


@dataclass
class _File:
    path: str
    settings: list[Setting] = field(default_factory=list)
    commands: dict[str, ContainerCommand] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, severity: Literal["error", "warning"], words: str, line: int, name: str = "") -> None:
        where = f"{self.path}, line {line}" if line else self.path
        self.problems.append(Problem(severity, f"{where}: {words}", name=name, file=self.path, line=line))

    def read(self, content: bytes) -> None:
        for key, node in self._entries(document.compose(content), "the file"):
            if key.value == "option_settings":
                self._option_settings(node)
            elif key.value == "container_commands":
                self._container_commands(node)
            elif key.value in NOT_BUILT:
                words = f"Beanpole does not carry out {key.value!r} yet; it is left out."
                self.problem("warning", words, document.line(key), key.value)
            else:
                words = f"{key.value!r} is no key of a configuration file; it is left out."
                self.problem("warning", words, document.line(key), key.value)

    def _option_settings(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self._listed_setting(item)
            return
        for namespace, options in self._entries(node, "option_settings"):
            for name, value in self._entries(options, namespace.value):
                self._setting(namespace.value, name.value, value)

    def _listed_setting(self, node: yaml.Node) -> None:
        fields = {key.value: value for key, value in self._entries(node, "an entry of option_settings")}
        if "option_name" not in fields or "value" not in fields:
            raise DocumentError("an entry of option_settings needs option_name and value", document.line(node))
        namespace, name, resource = (
            self._text(fields[key], key) if key in fields else ""
            for key in ("namespace", "option_name", "resource_name")
        )
        self._setting(namespace, name, fields["value"], resource)

    def _setting(self, namespace: str, name: str, node: yaml.Node, resource: str = "") -> None:
        value = document.text(node)
        if _FUNCTION.search(value):
            words = f"Beanpole does not work out functions in backquotes yet; {name!r} is left out."
            self.problem("warning", words, document.line(node), name)
            return
        self.settings.append(Setting.of(namespace or ENVIRONMENT_PROPERTIES, name, value, resource))

    def _container_commands(self, node: yaml.Node) -> None:
        for key, entry in self._entries(node, "container_commands"):
            fields = {field.value: value for field, value in self._entries(entry, f"the command {key.value!r}")}
            if "command" not in fields:
                raise DocumentError(f"the command {key.value!r} has no 'command'", document.line(key))
            for unknown in sorted(fields.keys() - _COMMAND_KEYS):
                words = f"{unknown!r} is no key of a container command; it is left out of {key.value!r}."
                self.problem("warning", words, document.line(fields[unknown]), key.value)
            self.commands[key.value] = ContainerCommand(
                name=key.value,
                command=self._command(fields["command"]),
                cwd=self._text(fields["cwd"], "cwd") if "cwd" in fields else None,
                env=tuple(
                    (name.value, document.text(value)) for name, value in self._entries(fields.get("env"), "env")
                ),
                test=self._text(fields["test"], "test") if "test" in fields else None,
                leader_only=self._flag(fields.get("leader_only"), "leader_only"),
                ignore_errors=self._flag(fields.get("ignoreErrors"), "ignoreErrors"),
            )

    def _command(self, node: yaml.Node) -> str | tuple[str, ...]:
        if isinstance(node, yaml.SequenceNode) and node.value:
            return tuple(self._text(word, "a word of a command") for word in node.value)
        return self._text(node, "command")

    def _text(self, node: yaml.Node, what: str) -> str:
        if not isinstance(node, yaml.ScalarNode) or document.is_empty(node):
            raise DocumentError(f"{what} must be text", document.line(node))
        return document.text(node)

    def _flag(self, node: yaml.Node | None, what: str) -> bool:
        if node is None:
            return False
        text = document.text(node).lower()
        if text not in ("true", "false"):
            raise DocumentError(f"{what} must be true or false", document.line(node))
        return text == "true"

    def _entries(self, node: yaml.Node | None, what: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
        """The pairs of a mapping; nothing for an empty one. A key given twice warns, and the last one counts."""
        if node is None or document.is_empty(node):
            return
        if not isinstance(node, yaml.MappingNode):
            raise DocumentError(f"{what} must be a mapping of names to values", document.line(node))
        last: dict[str, document.Pair] = {}
        for key, value in document.pairs(node, what):
            if key.value in last:
                words = f"{key.value!r} is given twice; the last one counts."
                self.problem("warning", words, document.line(key), key.value)
            last[key.value] = (key, value)
        yield from last.values()
