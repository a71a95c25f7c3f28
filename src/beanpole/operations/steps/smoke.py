"""Smoke tests: a release answers its critical endpoints before it gets a request, and the fleet does afterwards.

The list belongs to the release. What comes back (a return, a release brought into line) was proven before and is not
asked: an endpoint that fails for a reason of its own must not keep the old release from serving.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from beanpole.agent import smoke as agent
from beanpole.agent.smoke import Question, ask, authority
from beanpole.operations.blame import Blame, StepFailed
from beanpole.options.smoke import tests_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from beanpole.agent.smoke import Finding
    from beanpole.operations.work import Work
    from beanpole.options.smoke import SmokeTest

LONGER = 30.0
"""Seconds that a caller waits beyond the tests' own limits."""

MOMENT = 1.0
"""Seconds after which what failed through the balancer is asked once more: it may not know of a change yet."""

_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104
"""Where to ask a balancer that listens on every address."""


async def smoke_instance(work: Work) -> int:
    """Ask the release that was just started here, past the balancer; how many tests it passed. Raises StepFailed."""
    tests = tests_of(work.settings)
    if not tests or work.phase != "forward" or work.operation.origin != "user":
        return 0
    arguments = {"release": work.release.digest, "tests": [test.arguments() for test in tests], "host": host(work)}
    await work.job("smoke", arguments, limit(tests) + LONGER)
    count = "1 smoke test" if len(tests) == 1 else f"{len(tests)} smoke tests"
    work.say(f"[Instance: {work.instance}] {count} passed before it gets requests.")
    return len(tests)


async def smoke(work: Work) -> dict[str, Any]:
    """Ask the environment as its users do: through the balancer, by its name."""
    tests, name = tests_of(work.settings), host(work)
    if not name or not work.parts.balancers.leads_to(work.environment.id):
        work.say("No name leads to the environment through the balancer, so it was not asked for its endpoints there.")
        return {"passed": 0}
    listen = work.parts.balancers.listen
    address = _EVERYWHERE.get(listen.address, listen.address)
    failures: list[Finding] = []
    for number, test in enumerate(tests):
        work.progress(f"smoke tests passed; now {test.method} {test.path}", number, len(tests))
        question = Question(**test.arguments())
        finding = await ask(address, listen.port, name, question)
        if not finding.ok:
            await asyncio.sleep(MOMENT)
            finding = await ask(address, listen.port, name, question)
        if not finding.ok:
            failures.append(finding)
    if failures:
        cause = f"through the balancer at {authority(address, listen.port)}, {agent.sentence(failures)}"
        # Nobody knows which instance answered, so none is to blame.
        raise StepFailed(
            Blame(stage=agent.STAGE, cause=cause, remedy=agent.REMEDY, last_lines=tuple(failures[0].lines))
        )
    return {"passed": len(tests)}


def host(work: Work) -> str:
    """As users' requests bear it; '' for an environment without a name."""
    prefix = work.environment.cname_prefix
    return work.parts.balancers.cname(prefix) if prefix else ""


def limit(tests: Sequence[SmokeTest]) -> float:
    """Seconds that the tests may take, each of them twice."""
    return sum(2 * test.seconds + agent.SETTLE for test in tests)
