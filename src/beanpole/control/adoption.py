"""How a service that somebody made by hand becomes an environment: what is proposed before anything is done. Pure."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from beanpole.fleet.servers.unit_reading import Unit

ADDRESS = "${BEANPOLE_ADDRESS:-127.0.0.1}"
"""Where a release listens: on its instance's own address."""

ADOPTED = "adopted-"
"""How the label of a version with a service's code begins."""

LEFT_OUT = (
    ".git",
    "__pycache__",
    "*.pyc",
    "*.pyo",
    "node_modules",
    "*.log",
    "logs",
    ".venv",
    "venv",
    "*.sock",
    "*.pid",
)
"""Names that are no part of a bundle, wherever they are in the folder. They go into an archiver's patterns."""

LIMIT = 50 * 2**20
"""Bytes above which a file is left out and named."""

EVERYWHERE = "0.0.0.0"  # noqa: S104 (binds nothing)
"""Where a server's proxy takes requests unless it has the place of a service that listens elsewhere."""

KERNEL = (5, 6)
"""The first Linux that gives us sockets of other processes, without which a port cannot go over while it is used."""

KERNEL_BACK = (6, 1)
"""The first that lets a unit listen beside us, so that the way back has no gap."""

_SYSTEM = frozenset({"PORT", "PATH", "HOME", "USER", "LOGNAME", "SHELL", "VIRTUAL_ENV", "PWD", "LANG"})
"""Variables that the platform sets, or that only say where the old service lives."""

_SECRET = re.compile(r"SECRET|PASSW|TOKEN|KEY|CREDENTIAL|PRIVATE|DSN|DATABASE_URL|AUTH", re.IGNORECASE)
_LOCAL = r"\*|0|0\.0\.0\.0|127\.0\.0\.1|localhost|\[?::1?\]?"
_PYTHON = re.compile(r"python(\d(\.\d+)?)?")
MASK = "********"


@dataclass(frozen=True, slots=True)
class Doubt:
    """What may not work, and what to do. `blocking`: it does not."""

    cause: str
    remedy: str
    blocking: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """`requirements`: text of a requirements.txt to add; None: the folder has its own, or nothing is needed."""

    unit: str
    application: str
    environment: str
    label: str
    address: str
    port: int
    folder: str
    procfile: str | None
    properties: dict[str, str]
    requirements: str | None
    left_out: tuple[str, ...]
    large: tuple[tuple[str, int], ...]
    doubts: tuple[Doubt, ...]
    python: str | None

    @property
    def blocked(self) -> bool:
        return any(doubt.blocking for doubt in self.doubts)

    def shown(self) -> dict[str, str]:
        """The properties as people and logs may see them."""
        return {name: MASK if is_secret(name, value) else value for name, value in self.properties.items()}


def is_secret(name: str, value: str) -> bool:
    """Whether a variable is not to be shown: by its name, or because an address in it has a password."""
    return bool(_SECRET.search(name)) or bool(re.search(r"://[^/\s:@]*:[^/\s@]+@", value))


def propose(
    unit: Unit,
    port: int,
    application: str | None,
    environment: str | None,
    label: str,
    stays: tuple[str, int] | None = None,
) -> Proposal:
    """For the service's `port`. Names that are not given are made of the unit's.

    `stays`: address and port at which the server's proxy must go on, since environments live there; None: it may have
    the place of the service.
    """
    base = name_of(unit.name)
    application = application or base
    doubts = [*_doubts(unit, port), *_doubts_about_place(unit, port, stays), *_doubts_about_kernel(unit)]
    procfile: str | None = None
    if unit.entries.get("Procfile") is None:
        line, found = command(unit, port)
        procfile = f"web: {line}\n"
        if not found and not any(doubt.blocking for doubt in doubts):
            doubts.append(
                Doubt(
                    f"The command does not say the port {port}: {shlex.join(unit.command)}",
                    "Let the application listen on $PORT, or its releases cannot run side by side.",
                )
            )
    bound = next((each.address for each in unit.listening if each.port == port), EVERYWHERE)
    requirements = None
    if not any(name in unit.entries for name in ("requirements.txt", "Pipfile.lock", "Pipfile", "pyproject.toml")):
        requirements = _frozen(unit)
    return Proposal(
        unit=unit.name,
        application=application,
        environment=environment or (base if len(base) >= 4 else f"{base}-env"),
        label=label,
        address=bound,
        port=port,
        folder=unit.folder,
        procfile=procfile,
        properties={name: value for name, value in unit.variables.items() if name not in _SYSTEM},
        requirements=requirements,
        left_out=(*LEFT_OUT, *_venvs(unit), *_secret_files(unit)),
        large=tuple(sorted(unit.large.items())),
        doubts=tuple(doubts),
        python=".".join(map(str, unit.python.version)) if unit.python is not None else None,
    )


def name_of(unit: str) -> str:
    """An environment's name from a unit's: letters, digits and hyphens."""
    name = re.sub(r"[^A-Za-z0-9]+", "-", unit.removesuffix(".service")).strip("-")[:40].strip("-")
    return name or "adopted"


def command(unit: Unit, port: int) -> tuple[str, bool]:
    """The unit's command as a Procfile has it, and whether the port was found in it."""
    words = list(unit.command)
    program = words[0].rpartition("/")[2]
    prefix = unit.python.prefix if unit.python is not None else ""
    if unit.python is not None and (words[0].startswith(f"{prefix}/bin/") or words[0] == unit.python.path):
        words[0] = "python" if _PYTHON.fullmatch(program) else program
    parts, found = [], False
    for before, word in zip(["", *words], words, strict=False):
        text, changed = _word(word, before, port)
        found = found or changed
        parts.append(text)
    return " ".join(parts), found


def _word(word: str, before: str, port: int) -> tuple[str, bool]:
    """One word, quoted for a shell, on $PORT instead of the port; whether it named the port."""
    match = re.fullmatch(rf"(?P<option>--?[A-Za-z][\w.-]*=|-[A-Za-z])?(?P<host>{_LOCAL})?(?P<colon>:)?{port}", word)
    if match is not None and (match["colon"] or not match["host"]):
        host = f"{ADDRESS}:" if match["colon"] else ""
        return f'{match["option"] or ""}"{host}$PORT"', True
    if before in ("--host", "-h", "-H") and re.fullmatch(_LOCAL, word):
        return f'"{ADDRESS}"', False
    if re.fullmatch(rf"--host=(?:{_LOCAL})", word):
        return f'--host="{ADDRESS}"', False
    if re.search(r"\$\{?[A-Za-z_]", word):  # systemd replaces variables as a shell does
        return '"' + re.sub(r'(["\\`])', r"\\\1", word) + '"', False
    return shlex.quote(word), False


def _doubts(unit: Unit, port: int) -> list[Doubt]:
    found = []
    if not unit.folder:
        found.append(
            Doubt(f"{unit.name} has no WorkingDirectory=, so it cannot be told what its code is.", "Set it.", True)
        )
    if port not in {each.port for each in unit.listening}:
        have = ", ".join(str(each.port) for each in unit.listening) or "no port"
        found.append(
            Doubt(f"{unit.name} does not listen on port {port}; it listens on {have}.", "Choose --port.", True)
        )
    others = sorted({each.port for each in unit.listening} - {port})
    if others:
        ports = ", ".join(map(str, others))
        found.append(
            Doubt(f"{unit.name} also listens on {ports}, which nobody does afterwards.", "Serve them otherwise.")
        )
    if unit.python is None:
        found.append(
            Doubt(
                f"{unit.command[0]} is not started by a Python that is beside it.",
                "It runs as the Procfile says, with absolute commands; what it needs must be on the server.",
            )
        )
    inside = f"{unit.folder}/"
    if unit.folder and any(inside in word for word in unit.command[1:]):
        found.append(
            Doubt(
                f"The command has paths into {unit.folder}.", "Make them relative: releases have folders of their own."
            )
        )
    named = sorted(name for name, value in unit.variables.items() if unit.folder and inside in f"{value}/")
    if named:
        found.append(
            Doubt(
                f"{', '.join(named)} lead{'s' if len(named) == 1 else ''} into {unit.folder}.",
                "Change them later, or keep that folder.",
            )
        )
    if unit.python is not None and unit.python.virtual and not f"{unit.python.prefix}/".startswith(inside):
        found.append(
            Doubt(
                f"The virtual environment {unit.python.prefix} is outside of {unit.folder}.",
                "Its packages are installed anew.",
            )
        )
    if unit.hooks:
        found.append(Doubt(f"{', '.join(unit.hooks)} of the unit are not carried over.", "See .platform/hooks."))
    if any("%" in word for word in unit.command):
        found.append(Doubt("The command has specifiers of systemd (%…).", "Write what they stand for.", True))
    if unit.large:
        found.append(
            Doubt(
                "Files above 50 MB are left out of the bundle.",
                "Fetch them in a hook, or put them beside the releases.",
            )
        )
    return found


def _doubts_about_place(unit: Unit, port: int, stays: tuple[str, int] | None) -> list[Doubt]:
    """A server's proxy takes the place of the service: whoever is in front finds it where the service was."""
    bound = sorted({each.address for each in unit.listening if each.port == port})
    if len(bound) > 1 or any(":" in each for each in bound):
        cause = f"{unit.name} listens on {' and '.join(bound)}, and a server's proxy does on one IPv4 address."
        return [Doubt(cause, "Let it listen on 0.0.0.0, or on 127.0.0.1 behind what is in front of it there.", True)]
    if bound and stays is not None and stays != (bound[0], port):
        cause = (
            f"{unit.name} listens on {bound[0]}:{port}, and the server's proxy takes requests for other environments "
            f"on {stays[0]}:{stays[1]}."
        )
        return [Doubt(cause, "Let it listen there, or move these environments to other servers first.", True)]
    if bound and bound[0].startswith("127."):
        cause = f"{unit.name} listens on {bound[0]}, and so will the server's proxy: our edge has no way to it."
        return [Doubt(cause, "What is in front of it on the server, such as nginx, stays and needs no change.")]
    return []


def _doubts_about_kernel(unit: Unit) -> list[Doubt]:
    if unit.kernel is None or unit.kernel >= KERNEL_BACK:
        return []
    version = ".".join(map(str, unit.kernel))
    if unit.kernel < KERNEL:
        return [
            Doubt(
                f"The server runs Linux {version}; a port goes over from one program to another since 5.6.",
                f"Upgrade its kernel, or stop {unit.name} for a moment and deploy its code as a new environment.",
                True,
            )
        ]
    return [
        Doubt(
            f"The server runs Linux {version}; a unit can be started beside us since 6.1.",
            "The way back, `beanpole eject --to-unit`, will have a gap for as long as the unit needs to start.",
        )
    ]


def _frozen(unit: Unit) -> str | None:
    lines = unit.python.frozen if unit.python is not None and unit.python.virtual else ()
    kept = [line for line in lines if re.fullmatch(r"[A-Za-z0-9._-]+==\S+", line)]
    return "".join(f"{line}\n" for line in kept) or None


def _venvs(unit: Unit) -> list[str]:
    return [name for name, kind in unit.entries.items() if kind == "venv" and name not in LEFT_OUT]


def _secret_files(unit: Unit) -> list[str]:
    """What variables came from: they are properties now, which are encrypted, and no bundle shall have them."""
    return [f".{path.removeprefix(unit.folder)}" for path in unit.files if path.startswith(f"{unit.folder}/")]
