"""Scenarios in which the simulator found a defect of ours; each is mended, and kept small."""

from __future__ import annotations

import msgspec
import pytest

from beanpole.simulation.run import History, run
from beanpole.simulation.scenario import Command, Fault, Scenario
from beanpole.simulation.version import Flaw, Version

NARROW = 80 << 20
"""Bytes of memory that are not enough for two releases at once."""


def well(scenario: Scenario, *outcomes: str) -> History:
    history = run(scenario)
    assert history.broken == [], history.text()
    assert history.outcomes == list(outcomes), history.text()
    return history


def test_nobody_waits_for_the_turn_of_one_that_was_left_behind() -> None:
    """Without memory for two releases instances take turns; one that fell silent in its turn never gave it back, and
    the others waited until the operation's deadline, more than an hour."""
    turns = Scenario(
        instances=3, batch=3, memory=NARROW, commands=(Command("deploy", 1.0, 2),), faults=(Fault("off", 2.0, 0.0, 0),)
    )
    assert well(turns, "update: succeeded").seconds < 300


def test_a_balancer_that_is_silent_for_a_moment_is_no_fault_of_an_instance() -> None:
    """It was blamed on the instance whose step met it, which was left behind and out of rotation."""
    for at in (1.6, 2.0, 2.4, 2.8, 3.2):
        history = well(Scenario(faults=(Fault("edge", at, 1.0),)), "update: succeeded")
        assert not any("out of rotation" in message for message in history.messages), history.text()


def test_a_balancer_that_is_gone_ends_the_deployment_in_a_return() -> None:
    """It did, and left both releases in rotation on the instance, with a sentence that all serve the old one."""
    well(Scenario(instances=1, faults=(Fault("edge", 2.2, 100.0),)), "update: failed")


def test_requests_are_waited_for_from_when_the_balancer_has_heard() -> None:
    """The drain's deadline began when it was written down: a balancer that was silent had sent more until then."""
    patient = Scenario(request=4.0, drain=2, planes=2, commands=(Command("deploy", 1.0, 2), Command("terminate", 5.3)))
    for faults in ((Fault("edge", 3.6, 40.0),), (Fault("edge", 2.8, 10.0), Fault("freeze", 4.4, 16.0))):
        history = run(msgspec.structs.replace(patient, faults=faults))
        assert history.broken == [], history.text()


def test_a_release_that_moved_is_followed_though_the_clock_was_put_back() -> None:
    """A machine that was started anew serves at another port; the balancer was told when the clock had caught up."""
    well(Scenario(faults=(Fault("jump", 8.0, 0.0, 0, -3600.0), Fault("off", 9.0, 5.0, 0))), "update: succeeded")


def test_an_operation_that_a_user_aborts_is_returned_from_once() -> None:
    history = well(
        Scenario(versions=(Version(), Version(boot=3.0)), commands=(Command("deploy", 1.0, 2), Command("abort", 3.0))),
        "update: aborted",
    )
    assert history.messages[-1] == "The environment was reverted to the previous configuration setting."


def test_the_only_server_is_lost_between_two_releases() -> None:
    """It stays in rotation, since nobody else serves; with the release that failed it did so for both of them."""
    well(Scenario(instances=1, faults=(Fault("edge", 1.7, 3.0), Fault("off", 3.5))), "update: failed")


LONG = (Fault("jump", 300.0),)
"""Nothing happens then; until then everybody is watched."""


@pytest.mark.parametrize("policy", ["Rolling", "AllAtOnce"])
@pytest.mark.parametrize("instances", [1, 2, 3])
@pytest.mark.parametrize("flaw", ["start", "gate"])
def test_a_release_that_turned_bad_under_the_next_deployment_is_returned_from(
    policy: str, instances: int, flaw: Flaw
) -> None:
    """The return went to it, its processes did not come up again, and from then on nobody was in rotation: to bring it
    along was tried again and again, so that nobody judged it."""
    history = run(
        Scenario(
            policy=policy,
            instances=instances,
            versions=(Version(), Version(flaw="later"), Version(boot=6.0, flaw=flaw)),
            commands=(Command("deploy", 1.0, 2), Command("deploy", None, 3)),
            faults=LONG,
        )
    )
    assert history.broken == [], history.text()
    assert history.samples[-1][1:] == (instances, {"v1": instances}), history.text()
    assert any("(version v2) passed its checks and turned bad" in message for message in history.messages)
    assert history.messages[-1].startswith("Every instance serves release ")


def test_where_every_release_turns_bad_the_system_returns_so_often_and_no_further() -> None:
    """Never to one that it left: between two bad ones it would go back and forth for ever."""
    versions = (Version(flaw="later"),) * 6
    deploys = tuple(Command("deploy", None, number) for number in range(2, 7))
    history = run(Scenario(policy="AllAtOnce", versions=versions, commands=deploys, faults=LONG))
    assert history.broken == [], history.text()
    went = [message for message in history.messages if message.startswith("Returning to release ")]
    assert went == [f"Returning to release {number} (version v{number})." for number in (5, 4, 3)]
    assert history.messages[-1].endswith("It stays: 3 returns in a row did not help."), history.text()


def test_what_left_rotation_while_the_balancer_was_silent_is_waited_for_from_when_it_heard() -> None:
    """A later step took the moment in which it was written down, and cut requests that came until it was told."""
    scenario = Scenario(
        seed=134,
        policy="AllAtOnce",
        instances=4,
        planes=2,
        request=1.5,
        versions=(Version(boot=1.1435463635552177), Version(boot=0.3987981166074439, leader=True)),
        commands=(Command("deploy", 1.3965080292424052, 2),),
        faults=(Fault("edge", 3.035641305611513, 10.0),),
    )
    well(scenario, "update: succeeded")
