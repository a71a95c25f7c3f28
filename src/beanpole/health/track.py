"""What is remembered of one instance from look to look: silences, restarts, the balancer's opinion, its CPU."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Literal

from beanpole.health.rules.facts import Checked, Cpu
from beanpole.health.rules.status import BAD
from beanpole.health.rules.thresholds import SILENT

if TYPE_CHECKING:
    from beanpole.health.report import Process, Report
    from beanpole.health.rules.status import Status

MINUTE = 60.0
"""Seconds in which restarts and failed checks are counted."""

CPU_SPAN = 300.0
"""Seconds of which the CPU's mean is taken."""

CPU_COVERED = 270.0
"""Seconds that the samples must reach back for that: one peak in the first look is no mean."""


class Track:
    """One instance. Not for use from several threads. All times are seconds since 1970."""

    def __init__(self, now: float) -> None:
        self.first_looked = now
        self.seen_at: float | None = None
        self._report: Report | None = None
        self._checked: Checked | None = None
        self._restarts: deque[tuple[float, str, str, int]] = deque()
        self._cpu: deque[tuple[float, float, float]] = deque()
        self._failed: deque[float] = deque()

    def take(self, now: float, report: Report | None) -> None:
        """What the agent answered; None: nothing."""
        if report is None:
            return
        if self._report is not None:
            self._count_restarts(now, self._report, report)
        self.seen_at, self._report = now, report
        if report.instance.cpu is not None:
            self._cpu.append((now, 100.0 - report.instance.cpu.idle, report.instance.cpu.iowait))
        while self._cpu and self._cpu[0][0] < now - CPU_SPAN:
            self._cpu.popleft()

    def look(self, now: float, view: Literal["healthy", "unhealthy", "missing"]) -> None:
        """What the balancer says. The time since when counts from the first look that found it so."""
        if self._checked is None or self._checked.view != view:
            self._checked = Checked(view, now)

    def judged(self, now: float, status: Status) -> int:
        """Note how a check ended; how many failed in the last minute."""
        if status in BAD:
            self._failed.append(now)
        while self._failed and self._failed[0] <= now - MINUTE:
            self._failed.popleft()
        return len(self._failed)

    def report(self, now: float) -> Report | None:
        """The last one, unless the agent has been silent for too long since."""
        if self.seen_at is None or now - self.seen_at >= SILENT:
            return None
        return self._report

    @property
    def checked(self) -> Checked | None:
        return self._checked

    def restarts(self, now: float, process: Process) -> int:
        """In the last minute."""
        while self._restarts and self._restarts[0][0] <= now - MINUTE:
            self._restarts.popleft()
        mine = (process.release, process.name)
        return sum(number for _, release, name, number in self._restarts if (release, name) == mine)

    def cpu(self, now: float) -> Cpu | None:
        """Means of CPU_SPAN; None as long as there are too few samples."""
        if not self._cpu or self._cpu[0][0] > now - CPU_COVERED:
            return None
        number = len(self._cpu)
        return Cpu(sum(busy for _, busy, _ in self._cpu) / number, sum(wait for _, _, wait in self._cpu) / number)

    def _count_restarts(self, now: float, before: Report, after: Report) -> None:
        known = {(process.release, process.name): process.restarts for process in before.processes}
        for process in after.processes:
            grown = process.restarts - known.get((process.release, process.name), 0)
            if grown > 0:
                self._restarts.append((now, process.release, process.name, grown))
