"""On which servers new instances go: where the labels fit and there is room, the emptiest first, one of a kind each.

Where an instance is replaced, its server takes the successor beside it, until it leaves.

PURE. A refusal is one sentence with the numbers, and one of remedy; the order is the same for the same input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

INSTANCE_MEMORY = 48 * 2**20
"""Bytes that an agent and the smallest application take. A guess on the safe side of a fleet that ends the machine."""

AGENT_MEMORY = 16 * 2**20
"""Bytes that an agent takes beside the application, as measured."""

BESIDE = 2
"""Instances of one environment that a server may have while one of them replaces the other."""

SHOWN = 5
"""Names in a sentence; the rest is a number."""


class Host(msgspec.Struct, frozen=True, kw_only=True):
    """A server as it is known when an instance is to be placed."""

    id: str
    name: str
    labels: tuple[str, ...] = ()
    ready: bool = True
    memory: int | None = None
    """Bytes available, without what was placed there since they were counted; None: not known."""
    environments: tuple[str, ...] = ()
    """Those that have an instance there, an entry for each instance."""


class NoPlace(Exception):
    """`cause` and `remedy` are sentences."""

    def __init__(self, cause: str, remedy: str) -> None:
        super().__init__(f"{cause} {remedy}")
        self.cause = cause
        self.remedy = remedy


def place(
    hosts: Iterable[Host],
    environment: str,
    labels: tuple[str, ...],
    number: int,
    goal: int,
    beside: Collection[str] = (),
) -> tuple[Host, ...]:
    """`number` servers for new instances of the environment; `hosts` in the order in which they were added.

    `goal`: how many instances the environment is to have with them, as a refusal says it. `beside`: ids of hosts from
    which an instance of the environment leaves afterwards: they take a second one until then, before any other host
    does, so that the environment stays where it is. Raises NoPlace.
    """
    fitting = [host for host in hosts if set(labels) <= set(host.labels)]
    free = [host for host in fitting if host.ready and host.environments.count(environment) <= (host.id in beside)]
    roomy = [host for host in free if host.memory is None or host.memory >= INSTANCE_MEMORY]
    if len(roomy) < number:
        if beside:
            raise NoPlace(*_no_second(fitting, roomy, environment, number, beside))
        raise NoPlace(*_refusal(fitting, roomy, environment, labels, goal))
    # sorted() is stable: between equals, whoever was added first comes first.
    order = sorted(roomy, key=lambda host: (host.id not in beside, len(host.environments), -(host.memory or 0)))
    return tuple(order[:number])


def room(hosts: Iterable[Host], environment: str, labels: tuple[str, ...]) -> int:
    """How many instances more could live there for a while, a second one beside one of the environment's included."""
    return sum(
        host.ready
        and set(labels) <= set(host.labels)
        and (host.memory is None or host.memory >= INSTANCE_MEMORY)
        and host.environments.count(environment) < BESIDE
        for host in hosts
    )


def memory_of(resident: int) -> int:
    """Bytes that one more instance takes on this machine. `resident`: what the application's processes take on one that
    serves; 0 where nobody knows."""
    return max(INSTANCE_MEMORY, AGENT_MEMORY + resident)


def labels_of(text: str) -> tuple[str, ...]:
    """The labels in an option's value, "gpu, big"."""
    return tuple(dict.fromkeys(label for part in text.split(",") if (label := part.strip())))


def _refusal(
    fitting: list[Host], roomy: list[Host], environment: str, labels: tuple[str, ...], goal: int
) -> tuple[str, str]:
    asked = "1 instance was asked for" if goal == 1 else f"{goal} instances were asked for"
    able = [host for host in fitting if environment in host.environments or host in roomy]
    if len(fitting) < goal:
        cause = f"{asked}, and {_hosts(fitting, labels)}{_names(fitting)}."
    else:
        with_labels = f" with the label{_s(labels)} {' and '.join(labels)}" if labels else ""
        cause = f"{asked}, and {len(able)} of {len(fitting)} hosts{with_labels} can take one{_names(able)}."
    if unable := [f"{host.name} {_why(host)}" for host in fitting if host not in able]:
        cause = f"{cause[:-1]}; {', '.join(unable[:SHOWN])}."
    more = f" with the label{_s(labels)} {', '.join(labels)}" if labels else ""
    if not fitting and goal == 1:
        return cause, f"Add a host{more} (`beanpole hosts add`)."
    return cause, f"Add hosts{more} (`beanpole hosts add`), or ask for fewer instances."


def _no_second(
    fitting: list[Host], roomy: list[Host], environment: str, number: int, beside: Collection[str]
) -> tuple[str, str]:
    several = "1 new instance is" if number == 1 else f"{number} new instances are"
    cause = f"{several} needed beside the present ones, and {len(roomy)} of {len(fitting)} hosts can take one"
    cause += _names(roomy)
    candidates = [host for host in fitting if host.environments.count(environment) <= (host.id in beside)]
    if unable := [f"{host.name} {_why(host)}" for host in candidates if host not in roomy]:
        cause += f"; {', '.join(unable[:SHOWN])}"
    remedy = (
        "Free some memory there, add hosts (`beanpole hosts add`), or use the policy Rolling, which needs no place."
    )
    return f"{cause}.", remedy


def _hosts(hosts: list[Host], labels: tuple[str, ...]) -> str:
    number = "1 host" if len(hosts) == 1 else f"{len(hosts) or 'no'} hosts"
    if labels:
        return f"{number} {'has' if len(hosts) == 1 else 'have'} the label{_s(labels)} {' and '.join(labels)}"
    return f"there {'is' if len(hosts) == 1 else 'are'} {number}"


def _s(things: tuple[str, ...]) -> str:
    return "" if len(things) == 1 else "s"


def _names(hosts: list[Host]) -> str:
    if not hosts:
        return ""
    more = f" and {len(hosts) - SHOWN} more" if len(hosts) > SHOWN else ""
    return f" ({', '.join(host.name for host in hosts[:SHOWN])}{more})"


def _why(host: Host) -> str:
    if not host.ready:
        return "is not ready"
    available, needed = (f"{size / 2**20:.0f} MB" for size in (host.memory or 0, INSTANCE_MEMORY))
    return f"has {available} of memory available and an instance needs {needed}"
