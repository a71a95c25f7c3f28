"""An operation drawn on a terminal: its steps, the instances in them, how far it is; and apart from it what failed.

Both are pure. Each step and each instance is one line that begins with its mark, however narrow the terminal is: what
does not fit is cut at the end. Nothing that came from an application is understood as markup or control characters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.text import Text

from beanpole.cli.plan import counted
from beanpole.cli.terminal import printable

if TYPE_CHECKING:
    from rich.console import RenderableType

    from beanpole.cli.operation import Blame, Operation, Progress, Step

MARKS = {"waiting": ("○", "dim"), "running": ("●", "cyan"), "done": ("✓", "green"), "failed": ("✗", "red")}

STEPS_SHOWN = 12
"""Lines of steps; a plan for fifty instances has more steps than a screen has lines."""

INSTANCES_SHOWN = 8
"""Lines of instances below one step."""

BAR = 12
"""Characters of an instance's bar: with its name and some words it fits into 60 columns."""

WHOLE_BAR = 40
"""Characters of the bar below all steps."""


def picture(title: str, operation: Operation, seconds: float) -> RenderableType:
    """`seconds`: since the operation began."""
    lines = [_line((f"{printable(title)}  {seconds:.0f} s", "bold"))]
    lines += [Text(f"  {printable(note)}", style="yellow") for note in operation.notes]
    return Group(*lines, *_steps(operation.steps), _whole(operation))


def blamed(blame: Blame) -> RenderableType:
    """What failed and where, the last lines that it printed, and what to do."""
    text = Text(f"✗ {printable(blame.line())}", style="red")
    for line in blame.shown_lines:
        text.append(f"\n    | {printable(line)}", style="default")
    if blame.remedy:
        text.append(f"\n  {printable(blame.remedy)}", style="bold default")
    return text


def _steps(steps: tuple[Step, ...]) -> list[Text]:
    before, shown, after = _window(steps)
    lines = [_marked("done", (f"{counted(before, 'step')} before", "dim"))] if before else []
    for step in shown:
        lines.append(_marked(step.state, (printable(step.words), "dim" if step.state == "waiting" else "")))
        if step.state in ("running", "failed"):
            lines += _instances(step)
    if after:
        lines.append(_marked("waiting", (counted(after, "more step"), "dim")))
    return lines


def _window(steps: tuple[Step, ...]) -> tuple[int, tuple[Step, ...], int]:
    """How many steps are left out before and after, and those that are shown: around the first that is not done."""
    if len(steps) <= STEPS_SHOWN:
        return 0, steps, 0
    current = next((at for at, step in enumerate(steps) if step.state != "done"), len(steps) - 1)
    start = min(max(current - STEPS_SHOWN // 3, 0), len(steps) - STEPS_SHOWN)
    end = start + STEPS_SHOWN
    return start, steps[start:end], len(steps) - end


def _instances(step: Step) -> list[Text]:
    """Those that are at work or failed first; what does not fit is counted."""
    order = {"failed": 0, "running": 1, "waiting": 2, "done": 3}
    several = sorted(step.instances, key=lambda each: order.get(each.state, 2))
    shown, rest = several[:INSTANCES_SHOWN], several[INSTANCES_SHOWN:]
    width = max((len(each.instance) for each in shown), default=0)
    counts = any(each.total > 0 for each in shown)
    lines = [_instance(each, width, bar=counts) for each in shown]
    if rest:
        done = sum(each.state == "done" for each in rest)
        lines.append(_line((f"    and {len(rest)} more ({done} done)", "dim")))
    return lines


def _instance(each: Progress, width: int, *, bar: bool) -> Text:
    """`bar`: another one has a bar, so that there is a place for it in this line, too."""
    counted = each.state == "running" and each.total > 0
    drawn = _bar(each.done, each.total, BAR) if counted else [(" " * BAR, "")]
    text = [("  ", ""), MARKS.get(each.state, MARKS["waiting"]), (f" {each.instance:<{width}} ", "")]
    line = _line(*text, *([*drawn, (" ", "")] if bar else []), (printable(each.told), "dim"))
    line.rstrip()
    return line


def _bar(done: int, total: int, width: int) -> list[tuple[str, str]]:
    """Characters and their colours; what is done differs also without colours."""
    full = width * min(done, total) // max(total, 1)
    return [("━" * full, "green" if done >= total else "cyan"), ("─" * (width - full), "dim")]


def _whole(operation: Operation) -> Text:
    """All slots of all steps, and how many of them are done."""
    states = [each.state for step in operation.steps for each in step.instances]
    done = states.count("done")
    return _line(*_bar(done, len(states), WHOLE_BAR), (f" {done}/{len(states)}", ""))


def _marked(state: str, words: tuple[str, str]) -> Text:
    return _line(MARKS.get(state, MARKS["waiting"]), (" ", ""), words)


def _line(*parts: tuple[str, str]) -> Text:
    """One line whatever its width."""
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")
