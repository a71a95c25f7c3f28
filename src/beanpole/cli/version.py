"""Application versions: whether the same content is one already, what a new one is called, and how it is stored.

The digest of the content is part of the bundle's key, so that equal content is recognised without fetching anything.
"""

from __future__ import annotations

import datetime as dt
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from beanpole.cli.bundle import words_of_size
from beanpole.cli.errors import Refused, WrongState
from beanpole.cli.git import Git

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from beanpole.cli.bundle import Bundle
    from beanpole.cli.client import Api
    from beanpole.cli.terminal import Terminal

DESCRIPTION_LIMIT = 200
"""Characters of a version's description. The API's rule."""

BAR_FROM = 8 * 2**20
"""Bytes from which an upload has a progress bar; a smaller one is over before it is read."""

Digests = dict[str, str | None]
"""Digest of the content by version label; None for versions that another client stored."""


def known_versions(api: Api, application: str) -> Digests:
    """Newest first; empty when there is no such application."""
    try:
        found = list(api.pages("DescribeApplicationVersions", "ApplicationVersions", ApplicationName=application))
    except Refused as refused:
        if refused.cause.startswith("No Application named"):
            return {}
        raise
    return {each["VersionLabel"]: _digest_in(each.get("SourceBundle") or {}) for each in found}


def with_content(known: Digests, digest: str) -> str | None:
    """The label of the newest version with that content."""
    return next((label for label, has in known.items() if has == digest), None)


def check_label(label: str, digest: str, known: Digests) -> None:
    """Raises WrongState for a label that stands for something else."""
    if label in known and known[label] != digest:
        raise WrongState(f"The version {label} is there already, with other content.", "Choose another --label.")


def new_label(folder: Path, known: Digests, now: dt.datetime) -> str:
    """`app-<commit>-yymmdd_HHMMSS` as the EB CLI names versions; `now` is local time."""
    git = Git.of(folder)
    commit = git.description().replace(".", "_").replace("/", "-") if git else ""
    plain = "-".join(filter(None, ("app", commit[:60], f"{now:%y%m%d_%H%M%S}")))
    label, number = plain, 1
    while label in known:
        number += 1
        label = f"{plain}-{number}"
    return label


def store(api: Api, terminal: Terminal, application: str, label: str, bundle: Bundle) -> None:
    """Send the bundle and register it as a version, creating the application at its first version."""
    bucket = api.beanstalk("CreateStorageLocation")["S3Bucket"]
    key = f"{application}/{label}.{bundle.digest}.zip"
    git = Git.of(bundle.root)
    description = (git.subject() if git else "")[:DESCRIPTION_LIMIT] or "beanpole deploy"
    with tempfile.TemporaryDirectory(prefix="beanpole-") as folder:
        zipped = bundle.packed(Path(folder) / "bundle.zip")
        size = zipped.stat().st_size
        terminal.say(f"Sending {words_of_size(size)} as version {label}.")
        with _bar(terminal, size) as progress:
            api.upload(zipped, bucket, key, progress)
    api.beanstalk(
        "CreateApplicationVersion",
        ApplicationName=application,
        VersionLabel=label,
        Description=description,
        SourceBundle={"S3Bucket": bucket, "S3Key": key},
        AutoCreateApplication=True,
        Process=False,
    )


def remove(api: Api, application: str, label: str) -> None:
    api.beanstalk("DeleteApplicationVersion", ApplicationName=application, VersionLabel=label, DeleteSourceBundle=True)


def _digest_in(source: dict[str, Any]) -> str | None:
    parts = source.get("S3Key", "").rsplit(".", 2)
    return parts[1] if len(parts) == 3 and len(parts[1]) == 64 else None


@contextmanager
def _bar(terminal: Terminal, size: int) -> Iterator[Callable[[int], None] | None]:
    """What is told of every further piece that was sent."""
    if not terminal.live or size < BAR_FROM:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(file=terminal.words), transient=True) as progress:
        task = progress.add_task("", total=size)
        yield lambda sent: progress.advance(task, sent)
