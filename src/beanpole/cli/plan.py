"""A plan before it is carried out: shown, and consented to where requests would fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.cli.errors import WrongState
from beanpole.cli.terminal import printable

if TYPE_CHECKING:
    from beanpole.cli.terminal import Terminal


def plan_lines(plan: dict[str, Any]) -> list[str]:
    """`plan` is the API's structure."""
    steps = plan.get("Steps", [])
    if not steps:
        return ["Plan: no instance is touched."]
    instances = len({slot for step in steps for slot in step.get("Slots", [])})
    count = f"{counted(len(steps), 'step')} on {counted(instances, 'instance')}"
    lines = [f"Plan: {plan.get('Policy', '')}, {count}"]
    lines += [f"  {number}. {printable(step['Words'])}" for number, step in enumerate(steps, 1)]
    return lines + [f"  Note: {printable(note)}" for note in plan.get("Notes", [])]


def counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' if number != 1 else ''}"


def show(terminal: Terminal, plan: dict[str, Any], *, whole: bool = True) -> None:
    """`whole=False`: the first line and the notes, where a drawing shows the steps right afterwards."""
    lines = plan_lines(plan)
    for line in lines if whole else [line for line in lines if not line[:1].isspace() or line.startswith("  Note:")]:
        terminal.say(line)


def ask_for_consent(terminal: Terminal, plan: dict[str, Any], *, ask: bool) -> None:
    """To a plan that costs requests. Raises WrongState unless somebody is there and agrees."""
    if ask and terminal.asks:
        if terminal.confirm("Requests will fail for a while. Deploy all the same?", default=False):
            return
        raise WrongState("Nothing was deployed.")
    reason = " ".join(plan.get("Notes", [])) or "the new release cannot start beside the old one."
    raise WrongState(
        f"Requests would fail during this deployment: {reason} Nothing was deployed.",
        "Use a second instance (--instances 2), remove the cause, or agree with --allow-downtime.",
    )


def as_json(plan: dict[str, Any]) -> dict[str, Any]:
    return {
        "policy": plan.get("Policy"),
        "downtime": plan.get("Downtime", False),
        "notes": plan.get("Notes", []),
        "steps": [
            {
                "key": each.get("Key"),
                "kind": each.get("Kind"),
                "instances": each.get("Slots", []),
                "words": each["Words"],
            }
            for each in plan.get("Steps", [])
        ],
    }
