"""How a release is asked whether it is well: from the option settings to the check that agent and balancer make."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from beanpole.balancer.pool import Health

if TYPE_CHECKING:
    from beanpole.options.settings import Settings

PROCESS = "aws:elasticbeanstalk:environment:process:default"

COMMAND = "aws:elasticbeanstalk:command"
REPORTING = "aws:elasticbeanstalk:healthreporting:system"

INTERVAL = 1.0
"""Seconds between the balancer's checks. The option's 15 s would leave a dead process in rotation for a minute."""

ANY_ANSWER = ((200, 499),)
"""What passes where nobody chose a path: an application without a page at `/` is no broken application."""

_OLD_STYLE = re.compile(r"(?:HTTPS?:\d+)?(/.*)")


def health_check(settings: Settings) -> Health:
    """Path and codes as chosen; with both left at their defaults any answer below 500 on `/` passes."""
    path = _path(settings)
    matcher = settings.text(PROCESS, "MatcherHTTPCode") or "200"
    chosen = path != "/" or matcher != "200"
    return Health(
        path=path if settings.text(PROCESS, "Protocol") != "TCP" else None,
        codes=_ranges(matcher) if chosen else ANY_ANSWER,
        interval=INTERVAL,
        timeout=float(settings.integer(PROCESS, "HealthCheckTimeout")),
        unhealthy=settings.integer(PROCESS, "UnhealthyThresholdCount"),
        healthy=1,
    )


def forgives(settings: Settings) -> bool:
    """Whether a release goes on that runs and does not pass its health check: somebody chose that."""
    ignored = settings.boolean(COMMAND, "IgnoreHealthCheck")
    return ignored or settings.text(REPORTING, "HealthCheckSuccessThreshold") == "Severe"


def checks_needed(settings: Settings) -> int:
    """How many checks in a row a release has to pass.

    Elastic Beanstalk compares its statuses with HealthCheckSuccessThreshold. A gate of seconds has no status yet; it is
    as strict as the threshold says: all of its checks for `Ok`, half of them for `Warning`, one below.
    """
    checks = settings.integer("beanpole:deployment", "GateChecks")
    part = {"Ok": checks, "Warning": (checks + 1) // 2}
    return part.get(settings.text(REPORTING, "HealthCheckSuccessThreshold"), 1)


def _path(settings: Settings) -> str:
    """The process's path; else the older option for the same thing (`/health` or `HTTP:80/health`); else `/`."""
    path = settings.text(PROCESS, "HealthCheckPath")
    if path in ("", "/"):
        older = _OLD_STYLE.fullmatch(settings.text("aws:elasticbeanstalk:application", "Application Healthcheck URL"))
        path = older.group(1) if older else "/"
    return path


def _ranges(matcher: str) -> tuple[tuple[int, int], ...]:
    """`200`, `200,204` or `200-399`, as ranges with both ends."""
    found = []
    for part in matcher.split(","):
        low, _, high = part.strip().partition("-")
        if low.isdecimal() and (not high or high.isdecimal()):
            found.append((int(low), int(high or low)))
    return tuple(found) or ((200, 200),)
