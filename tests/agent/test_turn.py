"""Whose turn it is in a conversation, told from counts: a server that has something to answer is not ended."""

from __future__ import annotations

import pytest

from beanpole.agent.borrowed import Pulse
from beanpole.agent.turn import QUIET_MS, Turn

pytestmark = pytest.mark.pure


def after(*pulses: Pulse) -> bool:
    turn = Turn(pulses[0])
    for pulse in pulses[1:]:
        turn.see(pulse)
    return turn.interruptible


FRESH = Pulse(received=0, sent=0, unread=0, since_received=10, since_sent=10)
ASKED = Pulse(100, 0, 0, since_received=0, since_sent=10)
ANSWERED = Pulse(100, 500, 0, since_received=8, since_sent=0)


def test_a_question_that_was_read_is_waited_for() -> None:
    assert after(FRESH)
    assert not after(FRESH, ASKED)
    assert after(FRESH, ASKED, ANSWERED)


def test_what_was_there_before_the_first_look() -> None:
    assert not after(Pulse(100, 0, 0, 5, 20)), "asked last"
    assert after(Pulse(100, 500, 0, 20, 5)), "answered last"
    same = Pulse(100, 500, 0, 4, 4)
    assert not after(same), "both at once: who knows"
    assert after(same, Pulse(100, 500, 0, QUIET_MS, QUIET_MS)), "and then nothing for long"


def test_both_between_two_looks() -> None:
    exchange = Pulse(200, 1000, 0, 4, 4)
    assert after(FRESH, ASKED, ANSWERED, exchange), "one exchange leaves it the client's turn"
    next_question = Pulse(200, 500, 0, 4, 4)
    assert not after(FRESH, ASKED, next_question), "answered, and asked again at once"


def test_a_question_of_which_nothing_was_read_goes_elsewhere() -> None:
    unread = Pulse(180, 500, 80, since_received=0, since_sent=20)
    assert after(FRESH, ASKED, ANSWERED, unread)
    begun = Pulse(180, 500, 30, since_received=0, since_sent=20)
    assert not after(FRESH, ASKED, ANSWERED, begun)
