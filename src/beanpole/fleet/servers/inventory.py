"""Lists of servers in a file: Ansible's INI in its simple form, a YAML list, or a JSON list.

INI: groups, `name variable=value…`, `[group:vars]`, `[group:children]`; of the variables, ansible_host, ansible_user,
ansible_port, ansible_ssh_private_key_file (also in their old names ansible_ssh_…) and a ProxyJump in
ansible_ssh_common_args count. A variable that would reach the server in another way is an error; others are ignored.
YAML and JSON: entries are words (`admin@10.0.0.5:2222`) or have host, and maybe name, user, port, key, jump.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from beanpole.fleet.servers.address import Address, AddressError

FIELDS = ("host", "name", "user", "port", "key", "jump")
_VARIABLES = {
    "ansible_host": "host", "ansible_ssh_host": "host", "ansible_user": "user", "ansible_ssh_user": "user",
    "ansible_port": "port", "ansible_ssh_port": "port", "ansible_ssh_private_key_file": "key",
    "ansible_private_key_file": "key", "ansible_ssh_common_args": "jump",
}  # fmt: skip
_REFUSED = (
    "ansible_connection", "ansible_password", "ansible_ssh_pass", "ansible_ssh_password", "ansible_ssh_extra_args",
    "ansible_become_password", "ansible_become_pass", "ansible_ssh_executable",
)  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """One server of an inventory. `groups`: those that it is in, directly or by a group's children."""

    name: str
    address: Address
    groups: tuple[str, ...] = ()


def read_inventory(path: Path) -> tuple[Entry, ...]:
    """The servers in that file, in its order. AddressError with file and line."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise AddressError(f"the inventory {path} cannot be read: {error}", "Name a file that can be read.") from error
    if path.suffix in (".yml", ".yaml"):
        return tuple(_entry(path, line, value) for line, value in _yaml_list(path, text))
    if path.suffix == ".json":
        return tuple(_entry(path, line, value) for line, value in _json_list(path, text))
    return _ini(path, text)


def _fault(path: Path, line: int, cause: str, remedy: str) -> AddressError:
    return AddressError(f"{path}, line {line}: {cause}", remedy)


def _entry(path: Path, line: int, value: Any, groups: tuple[str, ...] = ()) -> Entry:
    if isinstance(value, str):
        value = {"host": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("host"), str):
        raise _fault(path, line, "this entry has no host", "Write words (admin@10.0.0.5) or an object with host.")
    strange = [name for name in value if name not in FIELDS]
    if strange:
        raise _fault(path, line, f"unknown field {strange[0]}", f"The fields are {', '.join(FIELDS)}.")
    try:
        key = Path(str(value["key"])).expanduser() if value.get("key") else None
        address = Address.from_words(value["host"], key, value.get("jump"))
        more = {"user": value.get("user"), "port": value.get("port")}
        if more["port"] is not None:
            more["port"] = int(str(more["port"]))
        address = Address.from_json({**address.to_json(), **{k: v for k, v in more.items() if v is not None}})
    except AddressError as error:
        raise _fault(path, line, error.cause, error.remedy) from error
    except ValueError as error:
        raise _fault(path, line, f"the port {value['port']!r} is no number", "Ports are 1 to 65535.") from error
    return Entry(str(value.get("name") or address.host), address, groups)


def _yaml_list(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise _fault(path, mark.line + 1 if mark else 1, f"not YAML: {problem}", "Correct that line.") from error
    if not isinstance(node, yaml.SequenceNode):
        raise _fault(path, 1, "this is no list", "Write one server per line, each after a dash.")
    for item, value in zip(node.value, values, strict=True):
        yield item.start_mark.line + 1, value


def _json_list(path: Path, text: str) -> Iterator[tuple[int, Any]]:
    decoder = json.JSONDecoder()
    try:
        if not isinstance(decoder.decode(text), list):
            raise _fault(path, 1, "this is no list", 'Write ["admin@10.0.0.5", …].')
    except json.JSONDecodeError as error:
        raise _fault(path, error.lineno, f"not JSON: {error.msg}", "Correct that line.") from error
    place = text.index("[") + 1
    while True:
        place += len(text[place:]) - len(text[place:].lstrip(" \t\r\n,"))
        if text[place] == "]":
            return
        value, end = decoder.raw_decode(text, place)
        yield text.count("\n", 0, place) + 1, value
        place = end


@dataclass
class _Group:
    hosts: dict[str, None] = field(default_factory=dict)
    variables: dict[str, tuple[int, str]] = field(default_factory=dict)
    children: dict[str, int] = field(default_factory=dict)


def _ini(path: Path, text: str) -> tuple[Entry, ...]:
    groups: dict[str, _Group] = {"ungrouped": _Group()}
    hosts: dict[str, dict[str, tuple[int, str]]] = {}
    lines: dict[str, int] = {}
    group, part = groups["ungrouped"], ""
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise _fault(path, number, f"a quotation is not closed ({error})", "Close it.") from error
        if not words or words[0].startswith(";"):
            continue
        if line.strip().startswith("["):
            name, _, part = words[0].strip("[]").partition(":")
            if len(words) > 1 or not words[0].endswith("]") or not name or part not in ("", "vars", "children"):
                raise _fault(path, number, "no section that is known here", "[group], [group:vars], [group:children].")
            group = groups.setdefault(name, _Group())
        elif part == "vars":
            # Here, a value may hold spaces without quotation marks.
            name, equal, value = line.strip().partition("=")
            if not equal:
                raise _fault(path, number, "no variable", "Write name=value.")
            group.variables[name.strip()] = (number, " ".join(shlex.split(value, comments=True)))
        elif part == "children":
            group.children[words[0]] = number
        else:
            if "[" in words[0] and not words[0].startswith("["):
                raise _fault(path, number, f"ranges such as {words[0]} are not supported", "Write one host per line.")
            group.hosts[words[0]] = None
            lines.setdefault(words[0], number)
            hosts.setdefault(words[0], {}).update(_assignments(path, number, words[1:]))
    for each in groups.values():
        for child, number in each.children.items():
            if child not in groups:
                raise _fault(path, number, f"there is no group {child}", "Add the group, or remove the line.")
    return tuple(_ini_entry(path, lines[name], name, hosts[name], groups) for name in hosts)


def _assignments(path: Path, number: int, words: list[str]) -> dict[str, tuple[int, str]]:
    for word in words:
        if "=" not in word:
            raise _fault(path, number, f"{word!r} is no variable", "Write name=value, with quotation marks for spaces.")
    return {word.partition("=")[0]: (number, word.partition("=")[2]) for word in words}


def _ini_entry(path: Path, line: int, name: str, own: dict[str, tuple[int, str]], groups: dict[str, _Group]) -> Entry:
    depths = _groups_of(name, groups)
    merged: dict[str, tuple[int, str]] = dict(groups["all"].variables) if "all" in groups else {}
    for group in sorted(depths, key=lambda each: -depths[each]):  # the nearest group has the last word
        merged.update(groups[group].variables)
    merged.update(own)
    value: dict[str, str] = {"host": name}
    found = sorted(group for group in depths if group not in ("ungrouped", "all"))
    value["name"] = name
    for variable, (number, text) in merged.items():
        if variable in _REFUSED and (variable, text) not in (("ansible_connection", "ssh"),):
            raise _fault(path, number, f"{variable} is not supported", "Servers are reached by SSH with keys alone.")
        if variable in _VARIABLES:
            value[_VARIABLES[variable]] = _jump(path, number, text) if variable.endswith("_args") else text
    return _entry(path, line, value, tuple(found))


def _groups_of(name: str, groups: Mapping[str, _Group]) -> dict[str, int]:
    """The groups of a host with their distance."""
    found = {group: 0 for group, each in groups.items() if name in each.hosts}
    distance = 0
    while True:
        distance += 1
        above = {g for g, each in groups.items() if g not in found and any(child in found for child in each.children)}
        if not above:
            return found
        found.update(dict.fromkeys(above, distance))


def _jump(path: Path, number: int, text: str) -> str:
    """The jump host in ansible_ssh_common_args."""
    words = shlex.split(text)
    if len(words) == 2 and words[0] == "-J":
        return words[1]
    option = words[1] if len(words) == 2 and words[0] == "-o" else words[0][2:] if len(words) == 1 else ""
    name, _, value = option.partition("=")
    if name.lower() != "proxyjump" or not value:
        remedy = "Of SSH's options only a jump host is taken: -o ProxyJump=user@host, or -J user@host."
        raise _fault(path, number, f"ansible_ssh_common_args={text} is not supported", remedy)
    return value
