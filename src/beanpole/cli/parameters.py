"""The options that many commands share, so that they are spelled and explained alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", metavar="FOLDER", show_default=False, help="Where Beanpole keeps its data. Also BEANPOLE_HOME."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write the result as JSON to standard output.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")]
EnvironmentArgument = Annotated[
    str | None,
    typer.Argument(metavar="ENV", show_default=False, help="The environment; else the default of this folder."),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", metavar="SECONDS", min=1, help="How long to follow; the operation itself goes on.")
]

FOLLOW_LIMIT = 3600.0
"""Seconds that an operation is followed by default. The control plane has a deadline of its own for each."""
