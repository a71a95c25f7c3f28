"""Where the scenarios of docs/reliability.md take place: this machine, or a bed of servers, with or without faults."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol, TypeVar

import policy_trial
from beanpole_site import Site
from bed import Bed
from plot import Plot
from rig import LocalRig
from servers_rig import ServersRig
from servers_site import ServersSite
from traces import remove_traces
from trial import Trial

SERVERS = 5


class Row(Protocol):
    outcome: str
    seconds: float
    sent: int
    failed: int
    inside: int
    release: str
    problems: list[str]
    events: list[str]


class Carries(Protocol):
    """Carries out scenarios, one after the other, as long as it is in line."""

    site: Site

    def begin(self) -> None: ...
    def carry_out(self, name: str) -> Row: ...
    def in_line(self) -> str: ...


Made = TypeVar("Made", bound=Site)


class Ground:
    """`fresh` gives a new site with an environment in line; `mended`: whether it is in line once no fault is left."""

    def __init__(self, rate: float) -> None:
        self.rate = rate

    def __enter__(self) -> Ground:
        return self

    def __exit__(self, *_: object) -> None: ...

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Carries]:
        with _started(Site()) as site:
            yield _begun(policy_trial.PolicyTrial(LocalRig(site), self.rate))

    def mended(self, trial: Carries) -> bool:
        try:
            trial.in_line()
        except AssertionError:
            return False
        return True


class OnServers(Ground):
    """On a bed of their own."""

    def __enter__(self) -> OnServers:
        self._plot = Plot().__enter__()
        self._bed = Bed(self._plot)
        return self

    def __exit__(self, *raised: object) -> None:
        self._plot.__exit__(None, None, None)

    @contextlib.contextmanager
    def fresh(self) -> Iterator[Carries]:
        servers = self._bed.up(SERVERS)
        remove_traces(self._bed, servers)
        with _started(ServersSite()) as site:
            yield _begun(self._trial(site))

    def mended(self, trial: Carries) -> bool:
        self._bed.up(SERVERS)
        return super().mended(trial)

    def _trial(self, site: ServersSite) -> Carries:
        return policy_trial.PolicyTrial(ServersRig(self._bed, site, self._bed.servers()), self.rate)


class Faults(OnServers):
    def _trial(self, site: ServersSite) -> Carries:
        return Trial(self._bed, site, self._bed.servers(), self.rate)


GROUNDS: dict[str, Callable[[float], Ground]] = {"local": Ground, "servers": OnServers, "faults": Faults}


def ground_of(name: str) -> str:
    """Of a scenario."""
    return name.partition(":")[0] if ":" in name else "faults"


@contextlib.contextmanager
def _started(site: Made) -> Iterator[Made]:
    try:
        site.start()
        yield site
    finally:
        site.end()


def _begun(trial: Carries) -> Carries:
    trial.begin()
    return trial
