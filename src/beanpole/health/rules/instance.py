"""The health of one instance. A check that fails lowers it at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.health.rules import thresholds
from beanpole.health.rules.facts import InstanceHealth, Problem
from beanpole.health.rules.requests import request_problems
from beanpole.health.rules.status import rank, worst
from beanpole.health.rules.words import count, duration

if TYPE_CHECKING:
    from beanpole.health.rules.facts import Completed, Cpu, InstanceFacts, Service, Work
    from beanpole.health.rules.status import Status

_WORK = {
    "initialization": "initialization",
    "deployment": "application deployment",
    "configuration": "configuration update",
    "restart": "application restart",
    "termination": "termination",
}


def instance_health(facts: InstanceFacts, now: float) -> InstanceHealth:
    """While an operation is at work on it, failing checks are told but do not lower the health."""
    problems = sorted(_problems(facts, now), key=lambda problem: -rank(problem.status))
    causes = tuple(problem.cause for problem in problems)
    if facts.work is not None:
        status: Status = "Pending" if facts.work.fresh else "Info"
        return InstanceHealth(status, (_under_way(facts.work, now), *causes))
    if problems:
        return InstanceHealth(worst(problem.status for problem in problems), causes, tuple(problems))
    return InstanceHealth("Ok", _completed(facts.completed, now))


def _problems(facts: InstanceFacts, now: float) -> list[Problem]:
    return [
        *_silence(facts, now),
        *_initialization(facts),
        *_version(facts),
        *(problem for service in facts.services or () for problem in _service(service)),
        *_checked(facts, now),
        *request_problems(facts.traffic, judge_4xx=facts.judge_4xx),
        *_cpu(facts.cpu),
    ]


def _silence(facts: InstanceFacts, now: float) -> list[Problem]:
    silent = now - (facts.seen_at if facts.seen_at is not None else facts.first_looked)
    if silent < thresholds.SILENT:
        return [] if facts.seen_at is not None else [Problem("silence", "Unknown", "Waiting for the first report.")]
    seen = f" Last seen {duration(silent)} ago." if facts.seen_at is not None else ""
    return [Problem("silence", "Severe" if silent >= thresholds.LONG_SILENT else "NoData", f"No data.{seen}")]


def _initialization(facts: InstanceFacts) -> list[Problem]:
    if not facts.failed_to_initialize:
        return []
    return [Problem("initialization", "Degraded", "Instance initialization failed.")]


def _version(facts: InstanceFacts) -> list[Problem]:
    expected, serving = facts.expected, facts.serving
    if expected is None or serving == expected:
        return []
    # An instance that serves nothing is of no use to anybody; one with another version still answers.
    status: Status = "Severe" if serving is None else "Degraded"
    found = f'"{serving.version_label}" (deployment {serving.number})' if serving is not None else "n/a"
    wanted = f'"{expected.version_label}" (deployment {expected.number})'
    return [Problem("version", status, f"Incorrect application version {found}. Expected version {wanted}.")]


def _service(service: Service) -> list[Problem]:
    last = f" ({service.last_exit})" if service.last_exit else ""
    if not service.running:
        status: Status = "Severe" if service.name == "web" else "Degraded"
        return [Problem("process", status, f"Following services are not running: {service.name}{last}.")]
    again = thresholds.RESTARTS.status(service.restarts)
    if again is None:
        return []
    times = count(service.restarts, "time")
    return [Problem("process", again, f"Process {service.name} was restarted {times} in the last minute{last}.")]


def _checked(facts: InstanceFacts, now: float) -> list[Problem]:
    checked = facts.checked
    if checked is None or checked.view == "healthy":
        return []
    seconds = now - checked.since
    if checked.view == "unhealthy":
        status = thresholds.UNHEALTHY.status(seconds)
        cause = f"ELB health check has been failing for {duration(max(seconds, 1))}."
        return [Problem("unhealthy", status, cause)] if status else []
    status = thresholds.UNCHECKED.status(seconds)
    cause = f"Instance ELB health has not been available for {duration(seconds)}."
    return [Problem("unchecked", status, cause)] if status else []


def _cpu(cpu: Cpu | None) -> list[Problem]:
    status = thresholds.BUSY_CPU.status(cpu.busy) if cpu is not None else None
    if cpu is None or status is None:
        return []
    waiting = f" {cpu.iowait:.0f} % in I/O wait" if cpu.iowait >= thresholds.SLOW_DISK else ""
    return [Problem("cpu", status, f"{cpu.busy:.0f} % of CPU is in use.{waiting}")]


def _under_way(work: Work, now: float) -> str:
    return f"Performing {_WORK[work.kind]} (running for {duration(now - work.since)})."


def _completed(completed: Completed | None, now: float) -> tuple[str, ...]:
    if completed is None or now - completed.finished_at >= thresholds.COMPLETED_SHOWN:
        return ()
    what = _WORK[completed.kind]
    ago, took = duration(now - completed.finished_at), duration(completed.finished_at - completed.started_at)
    return (f"{what[0].upper()}{what[1:]} completed {ago} ago and took {took}.",)
