"""Servers and the control plane fail while five servers are deployed to, under load; see matrix.py and trial.py.

A selection here, in which each fault and each step come once; all of it is `make reliability`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from beanpole_site import wait_for
from bed import Bed
from matrix import HOLDS, QUICK, named
from servers_site import ServersSite
from traces import remove_traces, traces
from trial import BACK_LIMIT, END_LIMIT, Trial

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

SELECTED = (
    "fetch-fill",
    "prepare-kill",
    "prepare-dropped",
    "activate-reboot",
    "activate-control",
    "gate-freeze",
    "finish-cut",
    "rollback-slow",
)
SILENT_LIMIT = 90.0
"""Seconds until a server that vanished is known to be silent: its connection has to be given up first."""


@pytest.fixture(scope="module")
def made(bed: Bed) -> Iterator[Trial]:
    servers = bed.up(5)
    remove_traces(bed, servers)
    site = ServersSite()
    try:
        site.start()
        trial = Trial(bed, site, servers)
        trial.begin()
        yield trial
    finally:
        site.end()


@pytest.fixture
def trial(made: Trial) -> Iterator[Trial]:
    """Five servers in line; those that a failed test left elsewhere are given back first."""
    made.bed.up(5)
    made.in_line()
    yield made
    print(made.site.log())  # shown where the test fails


@pytest.mark.parametrize("name", SELECTED)
def test_a_fault_at_a_step(trial: Trial, name: str) -> None:
    row = trial.run(named(name))
    assert not row.problems, "\n".join([*row.problems, *row.events])


def test_a_server_that_starts_while_nobody_looks_serves_what_passed(trial: Trial) -> None:
    """A release that was started there and never finished is not what it boots.

    Its proxy knows of that one alone until we are back, so it is the others that serve meanwhile.
    """
    old, boots = trial.in_line(), trial.store.digest()
    victim = trial.second()
    trial.bed.exec(victim, "sh", "-c", f"mkdir -p -m 1777 {HOLDS} && touch {HOLDS}/finish")
    request = trial.deploy_held(QUICK)
    trial.until_begun(request, "forward/finish-2", victim)
    trial.site.kill()
    trial.bed.kill(victim)
    trial.bed.start(victim)
    wait_for("the release that passed", lambda: trial.running(victim) == {boots}, BACK_LIMIT)
    assert trial.site.get()[0] == 200
    trial.site.start()
    ended = trial.site.ended(request_id=request, seconds=END_LIMIT)
    assert trial.in_line() == (trial.store.label(ended["Release"]) if ended["Outcome"] == "succeeded" else old)


@pytest.mark.parametrize("dead", [1, 2, 3])
def test_servers_that_are_dead_beforehand(trial: Trial, dead: int) -> None:
    """As long as half of them answers, a deployment goes to these; otherwise it changes nothing."""
    old = trial.in_line()
    victims = list(trial.instances())[:dead]
    for name in victims:
        trial.bed.kill(name)
    wait_for("silence", lambda: len(trial.store.silent()) == dead, SILENT_LIMIT)
    request = trial.deploy_held(QUICK)
    ended = trial.site.ended(request_id=request, seconds=END_LIMIT)
    wanted = trial.store.label(ended["Release"]) if dead < 3 else old
    assert ended["Outcome"] == ("succeeded" if dead < 3 else "failed"), ended
    assert set(trial.site.answers(but=victims).values()) == {wanted}
    assert trial.site.environment()["Status"] == "Ready"
    for name in victims:
        if dead < 3:
            assert any(
                "cannot be reached" in words and trial.instances()[name] in words for words in trial.store.said(request)
            )
        trial.bed.start(name)
    assert trial.in_line() == wanted


def test_termination_goes_on_without_a_server_which_ends_when_it_is_back(trial: Trial) -> None:
    """The last one here: nothing is left for others."""
    victim = trial.second()
    trial.bed.cut(victim)
    trial.site.client().terminate_environment(EnvironmentName="shop-dev")
    wait_for("the end", lambda: not trial.site.client().describe_environments(
        EnvironmentNames=["shop-dev"], IncludeDeleted=False
    )["Environments"], END_LIMIT)  # fmt: skip
    assert any("i-" in line for line in traces(trial.bed, victim))
    trial.bed.join(victim)
    wait_for("the end there", lambda: not [line for line in traces(trial.bed, victim) if "i-" in line], BACK_LIMIT)
