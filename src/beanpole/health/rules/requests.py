"""What the shares of failing and erring requests say. Instance and environment are judged alike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.health.rules import thresholds
from beanpole.health.rules.facts import Problem
from beanpole.health.rules.words import percent

if TYPE_CHECKING:
    from beanpole.health.rules.facts import Traffic
    from beanpole.health.rules.thresholds import Levels

_FAILING = "are failing with HTTP 5xx"
_CUT = "are cut off before their answer is complete"
_ERRING = "are erroring with HTTP 4xx"


def request_problems(traffic: Traffic | None, *, judge_4xx: bool) -> list[Problem]:
    """Of requests that instances answered."""
    if traffic is None or not _enough(traffic):
        return []
    return [
        *_problem(traffic, traffic.status_5xx, thresholds.FAILING_REQUESTS, _FAILING),
        *_problem(traffic, traffic.cut, thresholds.FAILING_REQUESTS, _CUT),
        *(_problem(traffic, traffic.status_4xx, thresholds.ERRING_REQUESTS, _ERRING) if judge_4xx else ()),
    ]


def balancer_problems(application: Traffic, balancer: Traffic, *, judge_4xx: bool) -> list[Problem]:
    """Of requests that the balancer had to answer itself, since no instance was there."""
    if not _enough(balancer) or balancer.requests == application.requests:
        return []
    found = []
    if _share(balancer.status_5xx, balancer) > _share(application.status_5xx, application):
        found += _problem(balancer, balancer.status_5xx, thresholds.FAILING_REQUESTS, _FAILING, " to the ELB")
    if judge_4xx and _share(balancer.status_4xx, balancer) > _share(application.status_4xx, application):
        found += _problem(balancer, balancer.status_4xx, thresholds.ERRING_REQUESTS, _ERRING, " to the ELB")
    return found


def too_few(traffic: Traffic) -> list[Problem]:
    """A remark, where some requests went wrong but too few came to judge by."""
    wrong = traffic.status_4xx + traffic.status_5xx + traffic.cut
    if _enough(traffic) or not wrong:
        return []
    cause = f"Insufficient request rate ({float(traffic.requests):.1f} requests/min) to determine application health."
    return [Problem("requests", "Ok", cause)]


def _enough(traffic: Traffic) -> bool:
    return traffic.requests >= thresholds.ENOUGH_REQUESTS


def _problem(traffic: Traffic, number: int, levels: Levels, what: str, where: str = "") -> list[Problem]:
    share = _share(number, traffic)
    status = levels.status(share)
    return [Problem("requests", status, f"{percent(share)} of the requests{where} {what}.")] if status else []


def _share(number: int, traffic: Traffic) -> float:
    return 100.0 * number / traffic.requests if traffic.requests else 0.0
