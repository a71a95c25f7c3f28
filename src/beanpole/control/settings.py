"""From what a call says about settings to the stored settings that would result, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from beanpole.control import errors
from beanpole.options.precedence import Context
from beanpole.options.setting import Setting

if TYPE_CHECKING:
    from beanpole.options.problem import Problem
    from beanpole.store.environments import OptionKey

GROUP = "aws:autoscaling:asg"

CONTEXT = Context()
"""The one kind of environment there is so far: a web server on a Python platform."""


def given(option_settings: Iterable[Mapping[str, Any]]) -> list[Setting]:
    """The settings of a call, in its order. One without a namespace has "", in which validation finds no option."""
    return [
        Setting.of(
            each.get("Namespace", ""), each.get("OptionName", ""), each.get("Value", ""), each.get("ResourceName", "")
        )
        for each in option_settings
    ]


def removed(specifications: Iterable[Mapping[str, Any]]) -> set[OptionKey]:
    """The options that a call removes. Raises the API's error for one that names no namespace or no option."""
    specifications = list(specifications)
    for each in specifications:
        if not each.get("Namespace") or not each.get("OptionName"):
            where = f"(Namespace: '{each.get('Namespace', '')}', OptionName: '{each.get('OptionName', '')}')"
            raise errors.configuration(f"Invalid option specification {where}: Unknown configuration setting.")
    return {
        Setting.of(each.get("Namespace", ""), each.get("OptionName", ""), "", each.get("ResourceName", "")).key
        for each in specifications
    }


def after(stored: Mapping[OptionKey, str], changes: Iterable[Setting], without: set[OptionKey]) -> dict[OptionKey, str]:
    """The stored settings with the removals and then the changes of a call; the later of two values wins."""
    kept = {key: value for key, value in stored.items() if key not in without}
    return kept | {change.key: change.value for change in changes}


def as_settings(stored: Mapping[OptionKey, str]) -> list[Setting]:
    return [Setting(namespace, name, resource, value) for (namespace, name, resource), value in stored.items()]


def refuse(problems: Iterable[Problem]) -> None:
    """Raise the API's error when there is an error among the problems."""
    messages = [problem.message for problem in problems if problem.severity == "error"]
    if messages:
        raise errors.configuration(" ".join(messages))
