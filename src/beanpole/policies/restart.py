"""Start the application anew: the same release once more, beside itself, and what ran before ends.

In batches where a rolling policy is set, all at once otherwise. What cannot run twice at once stops first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from beanpole.policies import all_at_once, rolling
from beanpole.policies.deployment import count
from beanpole.policies.plan import Activate, AnyStep, Drain, Fetch, Plan, Prepare

if TYPE_CHECKING:
    from beanpole.policies.change import Member, Rules, Target

POLICY = "Restart"


def plan(members: tuple[Member, ...], target: Target, rules: Rules) -> Plan:
    """`target` is the next turn of the release that runs."""
    policy = rolling.plan if rules.policy.startswith("Rolling") else all_at_once.plan
    made = policy(members, target, rules)
    steps = tuple(msgspec.structs.replace(step, words=_words(step)) for step in made.steps)
    return msgspec.structs.replace(made, policy=POLICY, steps=steps)


def _words(step: AnyStep) -> str:
    """What brings a release to an instance finds it there."""
    match step:
        case Fetch():
            return f"Make sure that the release is on {count(step.slots)}"
        case Prepare():
            return f"Make sure that it can be started ({count(step.slots)})"
        case Activate() if step.stop_first:
            return f"Stop the application and start it again ({count(step.slots)})"
        case Activate():
            return f"Start the application once more and switch to it ({count(step.slots)})"
        case Drain():
            return f"Let the processes of before finish their requests and stop them ({count(step.slots)})"
    return step.words
