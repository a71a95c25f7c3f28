"""What one instance is remembered by."""

import pytest

from beanpole.health.report import CpuTimes, Exit, Machine, Process, Report
from beanpole.health.rules.facts import Checked
from beanpole.health.track import Track

pytestmark = pytest.mark.pure

T = 1_800_000_000.0


def report(restarts: int = 0, idle: float = 100.0, iowait: float = 0.0) -> Report:
    return Report(Machine(CpuTimes(idle=idle, iowait=iowait)), (process(restarts),))


def process(restarts: int = 0) -> Process:
    return Process("d1", "web", "running", restarts, Exit("exit status 1"))


def test_a_report_is_good_until_the_agent_counts_as_silent() -> None:
    track = Track(T)
    track.take(T, report())
    track.take(T + 10, None)
    assert track.report(T + 29) is not None
    assert track.report(T + 30) is None
    assert track.seen_at == T


def test_restarts_of_the_last_minute_are_counted() -> None:
    track = Track(T)
    for seconds, restarts in ((0, 17), (10, 18), (20, 20), (30, 20)):
        track.take(T + seconds, report(restarts))
    assert track.restarts(T + 30, process()) == 3  # the 17 of before nobody knows when they were
    assert track.restarts(T + 75, process()) == 2
    assert track.restarts(T + 80, process()) == 0


def test_a_counter_that_begins_anew_is_no_negative_number() -> None:
    track = Track(T)
    track.take(T, report(5))
    track.take(T + 10, report(0))
    track.take(T + 20, report(1))
    assert track.restarts(T + 20, process()) == 1


def test_the_balancers_opinion_lasts_since_it_changed() -> None:
    track = Track(T)
    track.look(T, "healthy")
    track.look(T + 10, "unhealthy")
    track.look(T + 20, "unhealthy")
    assert track.checked == Checked("unhealthy", T + 10)


def test_failed_checks_of_one_minute() -> None:
    track = Track(T)
    assert [track.judged(T + 10 * at, "Severe") for at in range(8)] == [1, 2, 3, 4, 5, 6, 6, 6]
    assert track.judged(T + 80, "Ok") == 5
    assert track.judged(T + 300, "Info") == 0


def test_the_cpu_is_a_mean_of_five_minutes() -> None:
    track = Track(T)
    for at in range(27):
        track.take(T + 10 * at, report(idle=10, iowait=50))
    assert track.cpu(T + 260) is None
    track.take(T + 270, report(idle=10, iowait=50))
    cpu = track.cpu(T + 270)
    assert cpu is not None
    assert (round(cpu.busy), round(cpu.iowait)) == (90, 50)
    for at in range(28, 59):
        track.take(T + 10 * at, report(idle=100))
    later = track.cpu(T + 580)
    assert later is not None
    assert round(later.busy) == 0
