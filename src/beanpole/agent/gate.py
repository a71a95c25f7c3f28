"""The job `gate`: a release that was started proves itself by some checks in a row, and by not dying meanwhile.

What its web process wrote since it started is looked through for errors; what they mean is the control plane's matter.
"""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Dict, Optional

from .arguments import Arguments
from .complaints import Complaints, complaints
from .entry import Entry
from .failure import LINE_LIMIT, JobFailure
from .instance import Instance
from .jobs import Job
from .probe import Answer, Health, probe
from .process import Process
from .remedy import remedy_for

STAGE = "gate"
CHECKS = 3
INTERVAL = 1.0  # seconds between checks
LOG_BYTES = 512 * 1024  # of the log that are looked through for errors: the newest


async def gate(instance: Instance, job: Job) -> Dict[str, Any]:
    """Arguments release, health, checks, interval, deadline.

    Result: checks passed in a row, seconds it took, and the errors in the log: count, the last one's line and lines.
    """
    arguments = Arguments(STAGE, job.arguments)
    digest = arguments.text("release")
    health = Health.read(arguments.mapping("health"))
    wanted, interval = max(1, int(arguments.number("checks", CHECKS))), arguments.number("interval", INTERVAL)
    began = time.monotonic()
    limit = began + arguments.number("deadline")
    entry = instance.supervisor.find(digest, "web")
    process = entry.process if entry is not None else None
    if entry is None or process is None:
        raise _dead(instance, digest, entry, process)
    passed = 0
    while True:
        answer = await probe(entry.address or instance.address, entry.port or 0, health)
        if not process.alive:
            raise _dead(instance, digest, entry, process)
        passed = passed + 1 if answer.ok else 0
        job.progress(f"checks passed in a row; the last one {answer.words}", passed, wanted)
        if passed >= wanted:
            errors = await asyncio.to_thread(_errors, instance, entry)
            seconds = round(time.monotonic() - began, 3)
            return {
                "checks": passed,
                "seconds": seconds,
                "errors": {"count": errors.count, "last": errors.last, "lines": list(errors.lines)},
            }
        if time.monotonic() + interval > limit:
            raise _unhealthy(instance, entry, health, answer, f"{passed} of {wanted} checks in a row")
        await process.wait(interval)


def _errors(instance: Instance, entry: Entry) -> Complaints:
    """In what the present run wrote, or in the newest part of it."""
    try:
        with instance.supervisor.log(entry.name).open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            begin = entry.log_offset if entry.log_offset <= size else 0  # rotated since
            file.seek(max(begin, size - LOG_BYTES))
            text = file.read(LOG_BYTES).decode("utf-8", "replace")
    except FileNotFoundError:
        return Complaints(0)
    return complaints([line[:LINE_LIMIT] for line in text.splitlines()])


def _dead(instance: Instance, digest: str, entry: Optional[Entry], process: Optional[Process]) -> JobFailure:
    lines = instance.supervisor.output(entry) if entry is not None else ()
    end = process.exit if process is not None else None
    what = f"ended while it was being checked ({end.words})" if end is not None else "does not run"
    status = end.status if end is not None else None
    return JobFailure(
        STAGE,
        f"web of release {digest} {what}",
        remedy_for(lines, status) or "See the process's log on the instance.",
        exit_status=status,
        last_lines=lines,
    )


def _unhealthy(instance: Instance, entry: Entry, health: Health, answer: Answer, passed: str) -> JobFailure:
    lines = [*answer.lines, *instance.supervisor.output(entry)]
    asked = f"GET {health.path}" if health.path is not None else "the last connection"
    body = f": {answer.lines[0]}" if answer.lines else ""
    return JobFailure(
        STAGE,
        f"web passed {passed} only; {asked} {answer.words}{body}",
        remedy_for(lines) or "Correct the application, or the health check's path and codes.",
        last_lines=lines,
    )
