"""Which interpreter of a server runs the applications of a platform, and what kind of machine that makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from beanpole.platforms.kind import ARCHITECTURES, GLIBC_FLOOR, Kind

if TYPE_CHECKING:
    from beanpole.fleet.servers.facts import Facts


class NoInterpreter(Exception):
    """The server cannot run that platform, or it is not known whether it can. `cause` and `remedy` are sentences."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Interpreter:
    """`path` is on the server. Two servers of one kind may have it in different places."""

    path: str
    kind: Kind


def interpreter_for(facts: Facts, python: str) -> Interpreter:
    """That of Python "3.11" (say), which applications' own users can start too. NoInterpreter."""
    found = [
        each
        for each in facts.pythons or ()
        if each.version is not None and f"{each.version[0]}.{each.version[1]}" == python and not each.private
    ]
    if not found:
        cause = f"the server has no Python {python} that applications can use"
        raise NoInterpreter(cause, f"Install python{python} there, or choose another platform; then check the server.")
    libc, architecture = facts.libc_version, facts.architecture
    if facts.libc != "glibc" or libc is None or len(libc) < 2 or libc[:2] < GLIBC_FLOOR:
        seen = f"{facts.libc or 'unknown'} {'.'.join(map(str, libc or ()))}".strip()
        floor = ".".join(map(str, GLIBC_FLOOR))
        cause = f"the server's C library is {seen}, and packages are made for glibc {floor} or newer"
        raise NoInterpreter(cause, "Use a server with glibc (Debian, Ubuntu, Fedora, Amazon Linux…).")
    if architecture not in ARCHITECTURES or facts.word_bits == 32:
        cause = f"the server's processor is {architecture or 'unknown'}, {facts.word_bits or 'unknown'} bits"
        raise NoInterpreter(cause, f"Use one of {', '.join(ARCHITECTURES)}, with a system of 64 bits.")
    # The newest of that version: `pythons` begins with `python3`, whatever that is.
    best = max(found, key=lambda each: each.version or ())
    kind = Kind(best.version or (), architecture, (libc[0], libc[1]))
    return Interpreter(best.executable or best.path, kind)
