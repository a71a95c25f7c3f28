"""The scripts that run on servers as root: POSIX sh, fixed texts, what differs comes as words (`$1`…)."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

from beanpole.fleet.servers import layout
from beanpole.fleet.servers.connection import Ran
from beanpole.fleet.servers.failure import SetupFailed

_PLACES = (
    "ROOT",
    "SOCKETS",
    "UNITS",
    "HOLDER",
    "BLOBS",
    "LAYERS",
    "PROGRAMS",
    "PROGRAM",
    "BINARIES",
    "INSTANCES",
    "PROXY",
    "EDGE",
)
_MARK = "@ "


def script(name: str) -> str:
    """The text of NAME.sh, with the places of layout.py as its variables."""
    places = "".join(f"{place}={getattr(layout, place)}\n" for place in _PLACES)
    return places + resources.files(__package__).joinpath(f"{name}.sh").read_text(encoding="utf-8")


def told(output: bytes) -> Iterator[list[str]]:
    """What a script said with its `say`, in words; what a login script printed between is passed over."""
    for line in output.decode("utf-8", "replace").splitlines():
        if line.startswith(_MARK):
            yield line[len(_MARK) :].split(" ")


def done(name: str, ran: Ran) -> list[list[str]]:
    """What a script told. SetupFailed when it did not end well on the server of that name."""
    if ran.status != 0:
        said = ran.stderr.decode("utf-8", "replace").strip()[-400:] or f"exit status {ran.status}"
        raise SetupFailed(f"{name}: {said}", "Check the disk there, and that the user has sudo without a password.")
    return list(told(ran.stdout))
