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


def propose(unit: Unit, port: int, application: str | None, environment: str | None, label: str) -> Proposal:
    """For the service's `port`. Names that are not given are made of the unit's."""
    base = name_of(unit.name)
    application = application or base
    doubts = list(_doubts(unit, port))
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
    bound = next((each.address for each in unit.listening if each.port == port), "0.0.0.0")  # noqa: S104
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
    bound = sorted({each.address for each in unit.listening if each.port == port} - {"0.0.0.0"})  # noqa: S104
    if bound:
        found.append(
            Doubt(
                f"{unit.name} listens on {', '.join(bound)}, and a server's proxy takes requests on 0.0.0.0 alone.",
                "Let it listen there, if nobody but those who shall can reach the port.",
                True,
            )
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


def _frozen(unit: Unit) -> str | None:
    lines = unit.python.frozen if unit.python is not None and unit.python.virtual else ()
    kept = [line for line in lines if re.fullmatch(r"[A-Za-z0-9._-]+==\S+", line)]
    return "".join(f"{line}\n" for line in kept) or None


def _venvs(unit: Unit) -> list[str]:
    return [name for name, kind in unit.entries.items() if kind == "venv" and name not in LEFT_OUT]


def _secret_files(unit: Unit) -> list[str]:
    """What variables came from: they are properties now, which are encrypted, and no bundle shall have them."""
    return [f".{path.removeprefix(unit.folder)}" for path in unit.files if path.startswith(f"{unit.folder}/")]
