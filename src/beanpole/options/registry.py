"""All options there are, and how to find one: by its own name, by an open name, or in a namespace with a name inside.

`aws:elbv2:listener:443` is found as `aws:elbv2:listener:listener_port`; any name is found in the namespace of
environment properties. What is not found gets the nearest known name, so that a message can name it.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

import msgspec

from beanpole.options.option import ANY_NAME, NotBuilt, Option

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PLACEHOLDERS = {
    "aws:elasticbeanstalk:environment:process:process_name": re.compile(r"[A-Za-z0-9_-]+"),
    "aws:elb:listener:listener_port": re.compile(r"\d{1,5}"),
    "aws:elb:policies:policy_name": re.compile(r"[A-Za-z0-9_-]+"),
    "aws:elbv2:listener:listener_port": re.compile(r"\d{1,5}"),
    "aws:elbv2:listenerrule:rule_name": re.compile(r"[A-Za-z0-9_-]+"),
}
"""Namespaces whose last word stands for a name that the user chooses, and what such a name looks like."""

_ALIASES = {"rules": "Rules"}
"""Samples of the documentation write this one name in lower case, in the namespace of listeners."""

SIMILAR = 0.6
"""How like (0 to 1) a known name must be to be suggested."""


class Registry:
    """The options. `not_built` tells which of them are accepted, or refused, without being acted on."""

    def __init__(self, options: Iterable[Option], not_built: Iterable[NotBuilt] = ()) -> None:
        self._options = {(option.namespace, option.name): option for option in options}
        self._namespaces = {namespace for namespace, _ in self._options}
        self._not_built = tuple(not_built)

    def __iter__(self) -> Iterator[Option]:
        return iter(self._options.values())

    def find(self, namespace: str, name: str, resource: str = "") -> Option | None:
        """The option of that name, or None. The answer carries the namespace and name to store the value under.

        A resource is allowed where options belong to named resources (scheduled actions) and nowhere else.
        """
        known = self.template(namespace)
        if known is None or not name or name == ANY_NAME:
            return None
        if known.startswith("aws:elbv2:listener:"):
            name = _ALIASES.get(name, name)
        option = self._options.get((known, name)) or self._options.get((known, ANY_NAME))
        if option is None or (resource and not option.per_resource):
            return None
        if (option.namespace, option.name) == (namespace, name):
            return option
        return msgspec.structs.replace(option, namespace=namespace, name=name)

    def template(self, namespace: str) -> str | None:
        """The namespace under which the options of `namespace` are registered, or None for an unknown one."""
        if namespace in self._namespaces:
            return namespace if namespace not in _PLACEHOLDERS else None
        family, _, own_name = namespace.rpartition(":")
        for placeholder, pattern in _PLACEHOLDERS.items():
            if placeholder.rpartition(":")[0] == family and pattern.fullmatch(own_name):
                return placeholder
        return None

    def of_own_name(self, namespace: str) -> Iterator[Option]:
        """The options of a namespace that holds a name of the user's (`…:process:web`); none for any other one."""
        known = self.template(namespace)
        if known is None or known == namespace:
            return
        for (registered, _), option in self._options.items():
            if registered == known:
                yield msgspec.structs.replace(option, namespace=namespace)

    def ordinary(self) -> Iterator[Option]:
        """The options that every environment may list: own names, no placeholder, not bound to a named resource."""
        for option in self._options.values():
            if not (option.open_named or option.per_resource or option.namespace in _PLACEHOLDERS):
                yield option

    def suggestion(self, namespace: str, name: str) -> str | None:
        """What was probably meant by an unknown option: a name of that namespace, or a namespace, or nothing."""
        known = self.template(namespace)
        if known is None:
            near = difflib.get_close_matches(namespace, sorted(self._namespaces - _PLACEHOLDERS.keys()), 1, SIMILAR)
            return near[0] if near else None
        names = {option.lower(): option for registered, option in self._options if registered == known}
        near = difflib.get_close_matches(name.lower(), sorted(names), 1, SIMILAR)
        return names[near[0]] if near else None

    def not_built(self, namespace: str, name: str, value: str) -> NotBuilt | None:
        """The note on an option that we know and do not act on with that value, or None."""
        return next((note for note in self._not_built if note.concerns(namespace, name, value)), None)
