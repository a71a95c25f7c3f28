"""The health of an environment: its requests, its capacity, and what its instances add up to.

Instances count only once they failed several checks within a minute, so that one bad moment of one of them does not
change the environment's colour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.health.rules import thresholds
from beanpole.health.rules.facts import EnvironmentHealth, Problem
from beanpole.health.rules.requests import balancer_problems, request_problems, too_few
from beanpole.health.rules.status import BAD, rank, worst
from beanpole.health.rules.words import count, duration, scope

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from beanpole.health.rules.facts import Activity, Completed, EnvironmentFacts, Member, ProblemKind
    from beanpole.health.rules.status import Status

_ACTIVITY = {
    "initialization": "Initialization",
    "deployment": "Application update",
    "configuration": "Configuration update",
    "restart": "Application restart",
    "termination": "Termination",
}


def environment_health(facts: EnvironmentFacts, now: float) -> EnvironmentHealth:
    """While a user's operation runs within its limit, failing checks are told but do not lower the health."""
    counted = _counted(facts.members)
    total = len(facts.members)
    problems = [*_capacity(facts), *_requests(facts), *_instances(facts, counted)]
    problems.sort(key=lambda problem: -rank(problem.status))
    causes = tuple(problem.cause for problem in problems)
    # Together, troubles of different kinds may concern more instances than each alone.
    together = _share([worst(each.status for each in troubles) for troubles in counted], total)
    found = worst((together, *(problem.status for problem in problems)))
    activity = facts.activity
    if activity is not None:
        status: Status = "Pending" if activity.kind == "initialization" else "Info"
        if now >= activity.deadline:
            status = worst((status, "Warning", found))
        return EnvironmentHealth(status, (_under_way(activity, now, bool(facts.members)), *causes))
    statuses = {member.health.status for member in facts.members}
    if statuses and statuses <= {"Unknown", "Pending"}:
        # Nothing is known yet of any instance: what is not bad is not good either.
        found = worst((found, "Unknown" if "Unknown" in statuses else "Pending"))
    if found == "Ok":
        causes += _completed(facts.completed, now)
    return EnvironmentHealth(found, causes)


def _capacity(facts: EnvironmentFacts) -> list[Problem]:
    if facts.activity is not None:
        return []
    if not facts.members:
        cause = f"There are no instances. Auto Scaling group desired capacity is set to {facts.desired}."
        return [Problem("initialization", "Severe", cause)]
    active = sum(member.health.status != "Pending" for member in facts.members)
    if active < facts.minimum:
        are = count(active, "active instance")
        cause = f"{are} is below Auto Scaling group minimum size {facts.minimum}."
        return [Problem("initialization", "Degraded", cause)]
    return []


def _requests(facts: EnvironmentFacts) -> list[Problem]:
    if facts.application is None or facts.balancer is None:
        return []
    return [
        *request_problems(facts.application, judge_4xx=facts.judge_4xx),
        *balancer_problems(facts.application, facts.balancer, judge_4xx=facts.judge_balancer_4xx),
        *too_few(facts.balancer),
    ]


def _instances(facts: EnvironmentFacts, counted: list[list[Problem]]) -> list[Problem]:
    total = len(facts.members)
    found = []
    for kinds, sentence in _SENTENCES:
        groups = [[each.status for each in troubles if each.kind in kinds] for troubles in counted]
        statuses = [worst(group) for group in groups if group]
        if statuses:
            # Where the balancer sends nobody anything, nobody is served, however well the instances are otherwise.
            nobody = kinds == ("unhealthy",) and len(statuses) == total
            status: Status = "Severe" if nobody else _share(statuses, total)
            found.append(Problem(kinds[0], status, sentence(facts, len(statuses), total)))
    return found


def _counted(members: Iterable[Member]) -> list[list[Problem]]:
    """The troubles of each instance that has some and has failed often enough."""
    lasting = (
        member.health.problems for member in members if member.failed >= thresholds.FAILED_CHECKS or _lasts(member)
    )
    troubles = ([problem for problem in problems if problem.status in BAD] for problems in lasting)
    return [each for each in troubles if each]


def _lasts(member: Member) -> bool:
    """A failed launch does not pass by itself as a failed check may."""
    return any(problem.kind == "initialization" for problem in member.health.problems)


def _share(statuses: list[Status], total: int) -> Status:
    """What so many instances in trouble, each with its status, make of the environment."""
    if not statuses:
        return "Ok"
    severe = 100.0 * statuses.count("Severe") / total
    degraded = severe + 100.0 * statuses.count("Degraded") / total
    if severe >= thresholds.SEVERE_SHARE or (len(statuses) == total and set(statuses) <= {"NoData", "Severe"}):
        return "Severe"
    if degraded >= thresholds.DEGRADED_SHARE:
        return "Degraded"
    if degraded or 100.0 * len(statuses) / total >= thresholds.WARNING_SHARE:
        return "Warning"
    return "Ok"


def _initialization(_facts: EnvironmentFacts, number: int, total: int) -> str:
    return f"Instance initialization failed on {scope(number, total)}."


def _silence(_facts: EnvironmentFacts, number: int, total: int) -> str:
    if number == total:
        return "None of the instances are sending data."
    return f"No data received from {scope(number, total)}."


def _unhealthy(_facts: EnvironmentFacts, number: int, total: int) -> str:
    return f"ELB processes are not healthy on {scope(number, total)}."


def _unchecked(_facts: EnvironmentFacts, number: int, total: int) -> str:
    return f"ELB health is failing or not available for {scope(number, total)}."


def _version(facts: EnvironmentFacts, number: int, total: int) -> str:
    expected = facts.expected
    wanted = f'"{expected.version_label}" (deployment {expected.number})' if expected is not None else "n/a"
    return f"Incorrect application version found on {scope(number, total)}. Expected version {wanted}."


def _impaired(_facts: EnvironmentFacts, number: int, total: int) -> str:
    return f"Impaired services on {scope(number, total)}."


_SENTENCES: tuple[tuple[tuple[ProblemKind, ...], Callable[[EnvironmentFacts, int, int], str]], ...] = (
    (("initialization",), _initialization),
    (("silence",), _silence),
    (("unhealthy",), _unhealthy),
    (("unchecked",), _unchecked),
    (("version",), _version),
    # Troubles of single instances: which one it is, is said on the instance.
    (("process", "cpu", "requests"), _impaired),
)


def _under_way(activity: Activity, now: float, instances: bool) -> str:
    what = f"{_ACTIVITY[activity.kind]} in progress"
    running = f"(running for {duration(now - activity.since)})"
    if not instances:
        return f"{what} {running}. There are no instances."
    if not activity.busy or activity.kind == "initialization":
        return f"{what} {running}."
    completed = f"{activity.done} out of {count(activity.total, 'instance')} completed"
    return f"{what} on {count(activity.busy, 'instance')}. {completed} {running}."


def _completed(completed: Completed | None, now: float) -> tuple[str, ...]:
    if completed is None or now - completed.finished_at >= thresholds.COMPLETED_SHOWN:
        return ()
    ago, took = duration(now - completed.finished_at), duration(completed.finished_at - completed.started_at)
    return (f"{_ACTIVITY[completed.kind]} completed {ago} ago and took {took}.",)
