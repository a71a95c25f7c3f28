"""`beanpole simulate`: what a deployment would do to a fleet; the real planner and engine answer, in virtual time."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from beanpole.cli.errors import CommandFailed, Misused
from beanpole.cli.parameters import JsonOption
from beanpole.cli.terminal import Terminal

if TYPE_CHECKING:
    from beanpole.simulation.whatif import Answer, How

COLUMNS, ROWS = 72, 10
"""Of the picture."""

PAINTS = ("", "cyan", "green", "yellow", "red")
"""Of nobody and of the versions."""

_BATCH = re.compile(r"[1-9]\d{0,3}|([1-9]\d?|100)%")


def simulate(
    policy: Annotated[str, typer.Option(metavar="POLICY", help="all-at-once, rolling, …")] = "rolling",
    instances: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Instances of the fleet.")] = 5,
    fail: Annotated[int, typer.Option(metavar="N", min=0, help="On how many of them something goes wrong.")] = 0,
    how: Annotated[
        str,
        typer.Option(
            metavar="HOW",
            help="start: the release does not start there; lost: the server is gone; slow; "
            "bad: the release turns bad, on all; errors: it fails one request in ten, and its health checks pass.",
        ),
    ] = "start",
    batch_size: Annotated[str, typer.Option(metavar="N|N%", help="Instances of a batch.")] = "30%",
    boot: Annotated[
        float, typer.Option(metavar="SECONDS", min=0.05, max=600, help="What the application needs to start.")
    ] = 1.0,
    seed: Annotated[int, typer.Option(metavar="N", help="Another one is another run of luck.")] = 0,
    svg: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the picture there, too.")] = None,
    json: JsonOption = False,
) -> None:
    """Answer what would happen if.

    The real planner and engine deploy to a simulated fleet; nothing is touched and no control plane is needed.
    """
    # A second of imports, which no other command needs.
    from beanpole.simulation import picture, whatif

    terminal = Terminal.here(json=json)
    if policy not in whatif.NAMES:
        raise Misused(f"There is no policy {policy!r}.", f"Choose one of {', '.join(whatif.NAMES)}.")
    if how not in get_args(whatif.How):
        raise Misused(f"Nothing fails like {how!r}.", "Choose start, lost, slow, bad or errors.")
    if not _BATCH.fullmatch(batch_size):
        raise Misused(f"{batch_size!r} is no size of a batch.", "Give a number of instances, or a percentage as 25%.")
    if fail > instances:
        raise Misused(f"{fail} of {instances} instances cannot fail.", "Choose a smaller number for --fail.")
    answer = whatif.ask(
        policy,
        instances,
        fail=fail,
        how=cast("How", how),
        batch=batch_size,
        boot=boot,
        seed=seed,
    )
    title = f"{policy}, {instances} instances, batches of {batch_size}: {answer.outcome} in {answer.seconds:g} s"
    if svg is not None:
        drawn = picture.svg(answer.samples, 0.0, answer.seconds, instances, title)
        try:
            svg.write_text(drawn)
        except OSError as problem:
            raise CommandFailed(
                f"The picture cannot be written: {problem}.", "Choose another file for --svg."
            ) from problem
    _show(terminal, answer, title)
    terminal.result(_as_json(answer, policy, seed))


def _show(terminal: Terminal, answer: Answer, title: str) -> None:
    from beanpole.simulation import picture

    terminal.say(title)
    terminal.say(f"Lowest capacity: {answer.lowest} of {answer.instances} instances answered requests.")
    names = picture.labels(answer.samples)
    grid = picture.blocks(answer.samples, 0.0, answer.seconds, answer.instances, COLUMNS, min(ROWS, answer.instances))
    for row, line in enumerate(grid):
        axis = f"{answer.instances:>4} " if row == 0 else "     "
        terminal.say(axis + "".join(_cell(terminal, cell) for cell in line))
    terminal.say(f"   0 {'0 s':<{COLUMNS - 8}}{answer.seconds:>6.0f} s")
    terminal.say("     " + "   ".join(f"{_cell(terminal, at)} {name}" for at, name in enumerate(names, 1)))
    for sentence in answer.sentences:
        terminal.say(f"  {sentence}")
    for promise in answer.broken:
        terminal.warn(f"A promise of Beanpole's did not hold, please report it: {promise.strip()}")


def _cell(terminal: Terminal, of: int) -> str:
    from beanpole.simulation.picture import SHADES

    if not of:
        return " "
    shade = SHADES[(of - 1) % len(SHADES)]
    return terminal.styled(shade, PAINTS[min(of, len(PAINTS) - 1)])


def _as_json(answer: Answer, policy: str, seed: int) -> dict[str, Any]:
    return {
        "policy": policy,
        "instances": answer.instances,
        "batch_size": answer.batch,
        "seed": seed,
        "outcome": answer.outcome,
        "seconds": answer.seconds,
        "lowest_capacity": answer.lowest,
        "capacity": [
            {"second": round(at, 3), "answering": count, "versions": releases} for at, count, releases in answer.samples
        ],
        "events": answer.sentences,
        "broken_promises": answer.broken,
    }
