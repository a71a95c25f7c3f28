"""Every number by which health is judged. Elastic Beanstalk documents none of them, so they are ours.

They agree with all that is documented or was seen of the real service: 5 % of requests with 4xx are Ok, 19.9 % with 5xx
are Degraded, 50 % are Severe, one Severe instance of five makes the environment Warning, wrong versions on three of
five make it Degraded, and a health check that fails on all instances makes it Severe, however few requests there are.
"""

from __future__ import annotations

import msgspec

from beanpole.health.rules.status import Status


class Levels(msgspec.Struct, frozen=True):
    """From which value on something has which status; None: never."""

    warning: float | None
    degraded: float | None
    severe: float | None

    def status(self, value: float) -> Status | None:
        """None below all levels."""
        if self.severe is not None and value >= self.severe:
            return "Severe"
        if self.degraded is not None and value >= self.degraded:
            return "Degraded"
        if self.warning is not None and value >= self.warning:
            return "Warning"
        return None


# What                                         Warning  Degraded  Severe     Unit and reason

FAILING_REQUESTS = Levels(1.0, 10.0, 25.0)
"""Percent of the last minute's requests: 5xx, or cut off. One in a hundred is noticed by users."""

ERRING_REQUESTS = Levels(10.0, 25.0, 50.0)
"""Percent of the last minute's requests with 4xx. Mostly the clients' fault, so more of them are borne."""

ENOUGH_REQUESTS = 10
"""Requests in the last minute. With fewer, a single stray request would decide."""

BUSY_CPU = Levels(90.0, 95.0, None)
"""Percent, mean of five minutes. A busy CPU alone is no outage: never Severe."""

SLOW_DISK = 10.0
"""Percent of I/O wait from which on the sentence about the CPU mentions it."""

SILENT = 30.0
"""Seconds without an answer of the agent: three reports were missed, one may get lost."""

LONG_SILENT = 300.0
"""Seconds without an answer of the agent after which NoData becomes Severe: nobody supervises the application."""

UNHEALTHY = Levels(None, 0.0, 300.0)
"""Seconds for which the balancer's check fails. At once: the balancer has asked several times before it says so, and
sends the instance nothing from then on, so that its requests cannot tell. One bad look does not count for the
environment."""

UNCHECKED = Levels(60.0, None, 300.0)
"""Seconds for which the balancer says nothing of an instance. Severe after five minutes is documented."""

RESTARTS = Levels(1, 3, None)
"""Restarts of a process in the last minute. While it is not running at all it is judged as such."""

FAILED_CHECKS = 3
"""Checks within one minute that an instance fails before the environment minds. This number is documented."""

SEVERE_SHARE = 50.0
"""Percent of instances Severe: the environment is Severe."""

DEGRADED_SHARE = 25.0
"""Percent of instances Degraded or Severe: the environment is Degraded. Below, any such instance is a Warning."""

WARNING_SHARE = 25.0
"""Percent of instances with any trouble: the environment is Warning. Below, it is only mentioned."""

COMPLETED_SHOWN = 120.0
"""Seconds for which an operation that succeeded is mentioned."""
