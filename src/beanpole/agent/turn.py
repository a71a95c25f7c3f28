"""Whose turn it is in a conversation of a server and a client, by what the kernel counts. Pure.

A server that ends while it is its turn loses a request; while it is the client's it loses nothing, if only somebody
keeps the connection. The kernel's clock ticks every 4 ms: an answer and the next question may look simultaneous.
"""

from __future__ import annotations

from .borrowed import Pulse

# When the last question and the last answer look simultaneous, nothing moves, and we saw neither. An answer that takes
# longer than this, to a question that came within a tick of the one before, is taken for none.
QUIET_MS = 5000


class Turn:
    """Of one connection, from the first look at it on."""

    def __init__(self, pulse: Pulse) -> None:
        self._last = pulse
        self._settled = pulse.received  # what it had received when it was last the client's turn
        self._doubtful = False
        self.servers = False
        self._judge(pulse, before=bool(pulse.received), known=False)

    def see(self, pulse: Pulse) -> None:
        asked, answered = pulse.received > self._last.received, pulse.sent > self._last.sent
        if asked and answered:
            self._judge(pulse, before=self.servers, known=not self._doubtful)
        elif asked or answered:
            self.servers, self._doubtful = asked, False
        elif self._doubtful and min(pulse.since_sent, pulse.since_received) >= QUIET_MS:
            self.servers, self._doubtful = False, False
        self._last = pulse
        if not self.servers:
            self._settled = pulse.received

    @property
    def interruptible(self) -> bool:
        """Whether the server may end now: it is the client's turn, or not a byte of the question was read."""
        return not self.servers or self._last.unread == self._last.received - self._settled > 0

    def _judge(self, pulse: Pulse, before: bool, known: bool) -> None:
        """Both have spoken since the last look: who was the last?"""
        self._doubtful = False
        if not pulse.received:
            self.servers = False
        elif pulse.since_sent != pulse.since_received:
            self.servers = pulse.since_received < pulse.since_sent
        else:  # one exchange most likely, which leaves the turn where it was
            self.servers, self._doubtful = before, not known or before
        if not self.servers:
            self._settled = pulse.received
