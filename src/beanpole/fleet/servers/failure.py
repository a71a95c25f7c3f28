"""What can go wrong between the control plane and a server, each with its cause and what to do about it.

ConnectionFailed
├── Unreachable       nothing was sent, and nothing is known about the server
├── Dropped           the connection broke: what was asked may have happened or not
├── Overdue           no end within the limit: what was asked may still go on
├── LoginRefused      the server answered, and lets us not in
├── HostKeyUnknown    no key was pinned; nothing was sent
├── HostKeyChanged    another key than the pinned one; nothing was sent
├── SessionRefused    we are in, but may not run anything
└── ProgramFailed     what we started there did not do its part

`unknown` tells the first three, which say nothing about the server's state and may be over in a moment, from the
others, which are answers and wait for a person. All are ConnectionErrors: to whoever speaks to an agent, it is away.

SetupFailed             the server was reached, and what had to be done there could not be done
├── HeldByAnother       another Beanpole holds it
├── ProgramsMissing     we have no programs for its architecture
└── AgentTooNew         a newer Beanpole was here, whose agents do not speak with us
"""

from __future__ import annotations

from beanpole.fleet.agent_client import AgentError
from beanpole.fleet.servers.host_key import HostKey


class ConnectionFailed(ConnectionError):
    """Base of them all. `cause` and `remedy` are sentences for people."""

    unknown = False

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy

    def __str__(self) -> str:
        return self.cause


class Unreachable(ConnectionFailed):
    """`reason`: "time-out", "refused", "no route", "name", "silent", "not ssh", "jump" or "broken"."""

    unknown = True

    def __init__(self, cause: str, remedy: str, reason: str) -> None:
        super().__init__(cause, remedy)
        self.reason = reason


class Dropped(ConnectionFailed):
    unknown = True


class Overdue(ConnectionFailed):
    unknown = True


class LoginRefused(ConnectionFailed):
    """`methods`: what the server would accept, as it says; empty when it said nothing."""

    def __init__(self, cause: str, remedy: str, methods: tuple[str, ...] = ()) -> None:
        super().__init__(cause, remedy)
        self.methods = methods


class HostKeyUnknown(ConnectionFailed):
    """`offered`: the key to show to a person, or to compare with one known from elsewhere."""

    def __init__(self, cause: str, remedy: str, offered: HostKey) -> None:
        super().__init__(cause, remedy)
        self.offered = offered


class HostKeyChanged(ConnectionFailed):
    """`pinned` (None: the jump host's, as known_hosts has it) and `offered`."""

    def __init__(self, cause: str, remedy: str, pinned: HostKey | None, offered: HostKey) -> None:
        super().__init__(cause, remedy)
        self.pinned = pinned
        self.offered = offered


class SessionRefused(ConnectionFailed):
    pass


class ProgramFailed(ConnectionFailed):
    pass


class SetupFailed(AgentError):
    """`cause` and `remedy` are sentences for people."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(cause)
        self.cause = cause
        self.remedy = remedy


class HeldByAnother(SetupFailed):
    """`store` and `since` say who holds it; empty when its host.json says neither."""

    def __init__(self, name: str, store: str, since: str) -> None:
        who = f"another Beanpole (store {store})" if store else "a Beanpole that its host.json does not name"
        cause = f"{name} is held by {who}" + (f" since {since}" if since else "")
        super().__init__(cause, "Remove it there first: beanpole hosts remove. Or take it over with --force.")
        self.store = store
        self.since = since


class ProgramsMissing(SetupFailed):
    pass


class AgentTooNew(SetupFailed):
    pass
