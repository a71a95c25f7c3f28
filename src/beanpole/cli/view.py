"""An operation drawn on a terminal: its steps, the instances in them, how far it is; and apart from it what failed.

Both are pure. Nothing that came from an application is understood as markup or control characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from beanpole.cli.terminal import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from beanpole.cli.operation import Blame, Operation, Progress, Step

MARKS = {"waiting": ("○", "dim"), "running": ("●", "cyan"), "done": ("✓", "green"), "failed": ("✗", "red")}

STEPS_SHOWN = 12
"""Lines of steps; a plan for fifty instances has more steps than a screen has lines."""

INSTANCES_SHOWN = 8
"""Lines of instances below one step."""

BAR = 20
"""Characters of a progress bar."""


def picture(title: str, operation: Operation, seconds: float) -> RenderableType:
    """`seconds`: since the operation began."""
    parts: list[RenderableType] = [Text(f"{title}  {seconds:.0f} s", style="bold", no_wrap=True, overflow="ellipsis")]
    parts += [Text(f"  {note}", style="yellow") for note in operation.notes]
    parts.append(_steps(operation.steps))
    parts.append(_whole(operation))
    return Group(*parts)


def blamed(blame: Blame) -> RenderableType:
    """What failed and where, the last lines that it printed, and what to do."""
    text = Text(f"✗ {printable(blame.line())}", style="red")
    for line in blame.shown_lines:
        text.append(f"\n    | {printable(line)}", style="default")
    if blame.remedy:
        text.append(f"\n  {printable(blame.remedy)}", style="bold default")
    return text


def _steps(steps: tuple[Step, ...]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=1)
    grid.add_column(overflow="ellipsis", no_wrap=True, ratio=1)
    before, shown, after = _window(steps)
    if before:
        grid.add_row(_mark("done"), Text(f"{before} steps before", style="dim"))
    for step in shown:
        grid.add_row(_mark(step.state), Text(printable(step.words), style="dim" if step.state == "waiting" else ""))
        if step.state in ("running", "failed"):
            grid.add_row("", _instances(step))
    if after:
        grid.add_row(_mark("waiting"), Text(f"{after} more steps", style="dim"))
    return grid


def _window(steps: tuple[Step, ...]) -> tuple[int, tuple[Step, ...], int]:
    """How many steps are left out before and after, and those that are shown: around the first that is not done."""
    if len(steps) <= STEPS_SHOWN:
        return 0, steps, 0
    current = next((at for at, step in enumerate(steps) if step.state != "done"), len(steps) - 1)
    start = min(max(current - STEPS_SHOWN // 3, 0), len(steps) - STEPS_SHOWN)
    end = start + STEPS_SHOWN
    return start, steps[start:end], len(steps) - end


def _instances(step: Step) -> RenderableType:
    """Those that are at work or failed first; what does not fit is counted."""
    order = {"failed": 0, "running": 1, "waiting": 2, "done": 3}
    several = sorted(step.instances, key=lambda each: order.get(each.state, 2))
    grid = Table.grid(padding=(0, 1))
    for each in several[:INSTANCES_SHOWN]:
        grid.add_row(_mark(each.state), Text(each.instance), _bar(each), Text(printable(each.words), style="dim"))
    rest = several[INSTANCES_SHOWN:]
    if not rest:
        return grid
    done = sum(each.state == "done" for each in rest)
    return Group(grid, Text(f"  and {len(rest)} more ({done} done)", style="dim"))


def _bar(each: Progress) -> RenderableType:
    if each.state == "running" and each.total > 0:
        return ProgressBar(total=each.total, completed=min(each.done, each.total), width=BAR)
    return Text("")


def _whole(operation: Operation) -> Table:
    """All slots of all steps, and how many of them are done."""
    states = [each.state for step in operation.steps for each in step.instances]
    done = states.count("done")
    grid = Table.grid(padding=(0, 1))
    grid.add_row(ProgressBar(total=max(len(states), 1), completed=done, width=BAR * 2), Text(f"{done}/{len(states)}"))
    return grid


def _mark(state: str) -> Text:
    mark, style = MARKS.get(state, MARKS["waiting"])
    return Text(mark, style=style)
