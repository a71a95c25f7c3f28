"""The process that serves a release's static files: its name, its command, and how it gets ready beside `web`.

Its name cannot be one of a Procfile. Like `web` it has a port of its own and overlaps with the other release's.
"""

from __future__ import annotations

import shlex
import time
from pathlib import Path
from typing import TYPE_CHECKING, Iterable, Mapping, Tuple

from .failure import JobFailure
from .probe import first_listening
from .program import program_words

if TYPE_CHECKING:
    from .entry import Entry
    from .supervisor import Supervisor

NAME = "static.files"
STAGE = "start"
LISTEN_SECONDS = 20.0  # it does within 0.2 s; a machine on which everybody starts at once is slower
LOOK_SECONDS = 0.02


def command_of(root: Path, folders: Iterable[Tuple[str, str]], address: str) -> str:
    """The command line that serves those (path, folder) below `root`, on the port in its environment."""
    mapped = [word for path, folder in folders for word in ("--map", f"{path}={folder}")]
    return shlex.join([*program_words(), "static", "--root", str(root), "--address", address, *mapped])


def mapping_of(words: Iterable[str]) -> Mapping[str, str]:
    """Folders by path, as `command_of` wrote them. No path has a =."""
    return {path: folder for path, _, folder in (word.partition("=") for word in words)}


async def begin(supervisor: "Supervisor", release: str) -> "Entry":
    """It is started, or runs already. JobFailure when it cannot be."""
    entry = supervisor.find(release, NAME)
    if entry is not None and entry.alive:
        return entry
    try:
        return await supervisor.start(release, NAME, None, proven=False)
    except OSError as error:
        raise JobFailure(STAGE, f"the server of static files cannot be started: {error}") from error


async def ready(supervisor: "Supervisor", entry: "Entry") -> None:
    """It takes requests, and is kept running from now on. JobFailure when it does not."""
    address, port = str(entry.address), entry.port or 0
    limit = time.monotonic() + LISTEN_SECONDS
    while await first_listening([address], port) is None:
        ended = entry.process is None or await entry.process.wait(LOOK_SECONDS)
        if ended or time.monotonic() > limit:
            how = "ended at once" if ended else f"does not listen after {LISTEN_SECONDS:.0f} s"
            lines = supervisor.output(entry)
            remedy = "Set ProxyServer in aws:elasticbeanstalk:environment:proxy to none to do without it."
            message = f"the server of static files {how} at {address}:{port}"
            raise JobFailure(STAGE, message, remedy, last_lines=lines)
    await supervisor.prove(entry, address)
