"""What happens in one simulation, as a value: a fleet, versions, commands of users, and faults with their times.

Two runs of one scenario are the same to the last event. `drawn` makes one of a seed.
"""

from __future__ import annotations

from random import Random
from typing import Literal

import msgspec

from beanpole.simulation.version import Flaw, Version

CommandKind = Literal["deploy", "scale", "rollback", "abort", "terminate"]

FaultKind = Literal[
    "silent", "agent", "off", "app", "flap", "slow", "lie", "lose", "launch", "edge", "store", "kill", "freeze", "jump"
]
"""Of an instance: its agent is silent; dies; the machine is off; the application dies; dies again and again; it is
slow; says that jobs are done that are not; loses answers. No instance can be made; the balancer, the store fail. A
control plane is killed and started again; stands still and goes on; its clock jumps."""

POLICIES = (
    *("Rolling", "AllAtOnce") * 3,
    *("RollingWithAdditionalBatch", "Immutable") * 2,
    "TrafficSplitting",
)
"""Those that take less time more often."""

ON_INSTANCES: tuple[FaultKind, ...] = ("silent", "agent", "off", "app", "flap", "slow", "lie", "lose")
ELSEWHERE: tuple[FaultKind, ...] = ("launch", "edge", "store", "kill", "freeze", "jump")

OFTEN: tuple[FaultKind, ...] = ("kill", "freeze", "store")


class Command(msgspec.Struct, frozen=True):
    """`at`: seconds; None: in the instant in which the command before has ended. `number`: the version, counted from 1,
    or how many instances there shall be."""

    kind: CommandKind
    at: float | None
    number: int = 0


class Fault(msgspec.Struct, frozen=True):
    """`target`: the instance or the control plane, counted from 0. `lasts`: seconds; 0 of an instance: for ever.
    `amount`: how slow, how many answers, how many seconds; `what`: what is lied about, where the store fails."""

    kind: FaultKind
    at: float
    lasts: float = 0.0
    target: int = 0
    amount: float = 0.0
    what: str = ""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    seed: int = 0
    instances: int = 2
    on_servers: bool = True
    policy: str = "Rolling"
    batch: int = 1
    """Instances of a batch."""
    percentage: int | None = None
    """Instead of `batch`."""
    request: float = 1.0
    """Seconds that a user's request takes."""
    drain: int = 2
    """DeregistrationDelay."""
    checks: int = 2
    """GateChecks, half a second apart."""
    fetch: float = 0.3
    command: float = 0.3
    memory: int = 1 << 30
    """Bytes available beside what runs."""
    memory_used: int = 50 << 20
    planes: int = 1
    settings: tuple[tuple[str, str, str], ...] = ()
    """Further option settings: namespace, name, value."""
    refuses: tuple[int, ...] = ()
    """Instances on which no release but the first one starts."""
    versions: tuple[Version, ...] = (Version(), Version())
    """The first one serves when it begins."""
    commands: tuple[Command, ...] = (Command("deploy", 1.0, 2),)
    faults: tuple[Fault, ...] = ()

    @property
    def calm_at(self) -> float:
        """When the last fault is over that ends."""
        return max([0.0, *(fault.at + fault.lasts for fault in self.faults)])


def drawn(seed: int) -> Scenario:
    """A scenario of one to six instances and up to four faults."""
    random = Random(seed)
    on_servers = random.random() < 0.7
    versions = (Version(boot=random.uniform(0.2, 1.5)), *(_version(random) for _ in range(2)))
    commands = _commands(random)
    faults = tuple(_fault(random, on_servers) for _ in range(random.choice((0, 1, 1, 2, 2, 3, 4))))
    return Scenario(
        seed=seed,
        instances=random.choice((1, 2, 2, 3, 3, 4, 5)),
        on_servers=on_servers,
        policy=random.choice(POLICIES),
        batch=random.choice((1, 1, 2, 3)),
        request=random.choice((0.0, 0.5, 1.5, 4.0)),
        drain=random.choice((0, 1, 2, 5)),
        checks=random.choice((1, 2)),
        memory=random.choice((1 << 30, 1 << 30, 1 << 30, 80 << 20)),
        planes=random.choice((1, 1, 1, 2)),
        versions=versions,
        commands=commands,
        faults=faults,
    )


def _version(random: Random) -> Version:
    flaws: tuple[Flaw, ...] = ("", "", "", "start", "gate", "later", "prepare", "once")
    flaw = random.choice(flaws)
    leader = flaw in ("prepare", "once") or random.random() < 0.3
    port = 8000 if random.random() < 0.15 else None
    return Version(boot=random.uniform(0.2, 2.0), flaw=flaw, leader=leader, port=port)


def _commands(random: Random) -> tuple[Command, ...]:
    found = [Command("deploy", random.uniform(0.5, 2.0), 2)]
    for _ in range(random.choice((0, 0, 1, 1, 2))):
        kinds: tuple[CommandKind, ...] = ("deploy", "deploy", "scale", "rollback", "abort", "abort", "terminate")
        kind = random.choice(kinds)
        number = random.randint(1, 3) if kind == "deploy" else random.randint(1, 5)
        meanwhile = kind in ("abort", "terminate") or random.random() < 0.2
        found.append(Command(kind, random.uniform(0.5, 12.0) if meanwhile else None, number))
    return tuple(found)


def _fault(random: Random, on_servers: bool) -> Fault:
    """The machine of a local fleet is the control plane's own, which starts agents that die."""
    kind = random.choice((*ON_INSTANCES, *ELSEWHERE, *OFTEN))
    at, target = random.uniform(0.0, 10.0), random.randint(0, 4)
    lasts = random.choice((0.5, 3.0, 10.0, 40.0))
    if not on_servers and kind in ("off", "silent"):
        return Fault("silent", at, random.choice((1.0, 20.0)), target)
    match kind:
        case "off":
            return Fault(kind, at, random.choice((0.0, 5.0, 30.0)), target)
        case "silent":
            return Fault(kind, at, random.choice((0.0, 2.0, 20.0, 60.0)), target)
        case "agent":
            return Fault(kind, at, random.choice((0.3, 2.0)), target)
        case "app":
            return Fault(kind, at, 2.0, target)
        case "flap":
            return Fault(kind, at, 12.0, target)
        case "slow":
            return Fault(kind, at, lasts, target, random.choice((3.0, 20.0)))
        case "lie":
            return Fault(kind, at, lasts, target, what=random.choice(("start", "stop", "commit", "fetch", "gate")))
        case "lose":
            return Fault(kind, at, 0.0, target, random.randint(1, 5))
        case "store":
            what = random.choice(("begin", "commit", "answer"))
            return Fault(kind, at, random.choice((0.2, 1.0, 5.0, 20.0)), 0, random.choice((0.1, 0.5, 1.0)), what)
        case "kill":
            return Fault(kind, at, random.choice((0.1, 1.0, 20.0)), target)
        case "freeze":
            return Fault(kind, at, random.choice((5.0, 16.0, 30.0)), target)
        case "jump":
            return Fault(kind, at, 0.0, target, random.choice((-3600.0, -10.0, 10.0, 3600.0)))
    return Fault(kind, at, lasts, target)
