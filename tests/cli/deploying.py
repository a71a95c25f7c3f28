"""What the tests of `beanpole deploy` share: a plan, and a first deployment."""

from __future__ import annotations

from toy_api import INSTANCES, Run

PLAN = {
    "Policy": "Rolling",
    "Downtime": False,
    "Notes": [],
    "Steps": [{"Key": "fetch", "Kind": "Fetch", "Slots": list(INSTANCES), "Words": "Bring bundle and dependencies"}],
}


def first(run: Run, *words: str) -> str:
    """Deploy for the first time; the version's label."""
    done = run("deploy", "--json", *words)
    assert done.status == 0, done.err
    return str(done.json["version"])
