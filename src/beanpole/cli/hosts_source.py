"""Which servers a command line means to add: words, names of an SSH configuration, entries of an inventory."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beanpole.cli.errors import Misused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beanpole.fleet.servers.address import Address


@dataclass(frozen=True)
class Candidate:
    name: str
    address: Address

    def shape(self) -> dict[str, Any]:
        """The address as the API takes it. Paths are absolute: the control plane works in another folder."""
        address = self.address
        shaped = {"Host": address.host, "User": address.user, "Port": address.port, "Jump": address.jump}
        shaped |= {"Key": _absolute(address.key), "JumpKey": _absolute(address.jump_key), "Agent": address.agent}
        return {name: value for name, value in shaped.items() if value is not None}


@dataclass(frozen=True)
class Source:
    words: Sequence[str] = ()
    ssh_config: Path | None = None
    names: Sequence[str] = ()
    inventory: Path | None = None
    group: str | None = None

    def candidates(self) -> list[Candidate]:
        """Raises Misused, with file and line where there is one."""
        from beanpole.fleet.servers.address import Address, AddressError

        try:
            if self.inventory is not None:
                found = self._of_inventory(self.inventory)
            elif self.ssh_config is not None or self.names:
                found = self._of_configuration()
            else:
                found = [_candidate(Address.from_words(each)) for each in self.words]
        except AddressError as strange:
            raise Misused(f"{strange.cause[:1].upper()}{strange.cause[1:]}.", strange.remedy) from strange
        if not found:
            raise Misused(
                "No host was named.", "As in `beanpole hosts add admin@10.0.0.5`, or --ssh-config, --inventory."
            )
        return found

    def _of_configuration(self) -> list[Candidate]:
        from beanpole.fleet.servers.address import Address

        path = self.ssh_config.expanduser() if self.ssh_config is not None else None
        names = list(self.names) or names_of(path or Path("~/.ssh/config").expanduser())
        return [Candidate(name, Address.from_config(name, path)) for name in names]

    def _of_inventory(self, path: Path) -> list[Candidate]:
        from beanpole.fleet.servers.inventory import read_inventory

        entries = read_inventory(path.expanduser())
        if self.group is None:
            return [Candidate(each.name, each.address) for each in entries]
        groups = sorted({group for each in entries for group in each.groups})
        if self.group not in groups:
            have = f"It has: {', '.join(groups)}." if groups else "It has no groups."
            raise Misused(f"{path} has no group {self.group}.", have)
        return [Candidate(each.name, each.address) for each in entries if self.group in each.groups]


def with_ways(found: list[Candidate], key: Path | None, jump: str | None) -> list[Candidate]:
    """The same with the key and the jump host of the command line. Raises Misused for a jump host that is none."""
    from beanpole.fleet.servers.address import AddressError

    changed: dict[str, Any] = {"key": key.expanduser()} if key is not None else {}
    changed |= {"jump": jump} if jump is not None else {}
    try:
        return [replace(each, address=replace(each.address, **changed)) for each in found]
    except AddressError as strange:
        raise Misused(f"--jump: {strange.cause}.", strange.remedy) from strange


def names_of(path: Path) -> list[str]:
    """The hosts that an SSH configuration names, without patterns. Raises Misused when it cannot be read."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as problem:
        raise Misused(f"{path} cannot be read: {problem.strerror}.", "Name an SSH configuration.") from problem
    found: dict[str, None] = {}
    for line in lines:
        words = line.replace("=", " ", 1).split(None, 1)
        if len(words) == 2 and words[0].lower() == "host":
            found.update(dict.fromkeys(word for word in shlex.split(words[1]) if not set(word) & set("*?!")))
    return list(found)


def _candidate(address: Address) -> Candidate:
    return Candidate(address.host, address)


def _absolute(path: Path | None) -> str | None:
    return str(path.expanduser().absolute()) if path is not None else None
