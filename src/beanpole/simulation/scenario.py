"""What happens in one simulation, as a value: a fleet, versions, commands of users, and faults with their times.

Two runs of one scenario are the same to the last event. `drawn` makes one of a seed.
"""

from __future__ import annotations

from random import Random
from typing import Literal

import msgspec

from beanpole.simulation.version import Flaw, Version

CommandKind = Literal[
    "deploy", "configure", "check", "replace", "scale", "both", "rollback", "restart", "rebuild", "swap", "promote",
    "abort", "terminate",
]  # fmt: skip
"""An update to a version; of an environment property; of the health check alone; of what instances are made of; of how
many there are; of version and number at once. What the words say, else: `swap` with the environment beside it."""

FaultKind = Literal[
    "silent", "agent", "off", "app", "flap", "slow", "lie", "lose", "launch", "edge", "store", "kill", "freeze", "jump",
    "cut",
]  # fmt: skip
"""Of an instance: its agent is silent; dies; the machine is off; the application dies; dies again and again; it is
slow; says that jobs are done that are not; loses answers. No instance can be made; the balancer, the store fail. A
control plane is killed and started again; stands still and goes on; its clock jumps; is killed at a journal entry."""

POLICIES = (
    *("Rolling", "AllAtOnce") * 3,
    *("RollingWithAdditionalBatch", "Immutable") * 2,
    "TrafficSplitting",
)
"""Those that take less time more often."""

ON_INSTANCES: tuple[FaultKind, ...] = ("silent", "agent", "off", "app", "flap", "slow", "lie", "lose")
ELSEWHERE: tuple[FaultKind, ...] = ("launch", "edge", "store", "kill", "freeze", "jump", "cut")

OFTEN: tuple[FaultKind, ...] = ("kill", "freeze", "store", "cut")

UPDATES = ("", "Health", "Time", "Immutable")
"""Types of rolling updates; '': they are off."""


MEANWHILE: tuple[CommandKind, ...] = ("abort", "promote", "terminate")
"""Said while something is under way."""

FURTHER: tuple[CommandKind, ...] = (
    "deploy", "deploy", "deploy", "scale", "scale", "rollback", "rollback", "abort", "abort", "terminate", "configure",
    "replace", "restart", "rebuild", "both", "swap",
)  # fmt: skip
"""Commands after the first one."""


class Command(msgspec.Struct, frozen=True):
    """`at`: seconds; None: in the instant in which the command before has ended. `number`: the version, counted from 1,
    how many instances there shall be, or which of several values a setting gets; of `both` the version.
    `size`: how many instances it shall be with that version."""

    kind: CommandKind
    at: float | None
    number: int = 0
    size: int = 0


class Fault(msgspec.Struct, frozen=True):
    """`target`: the instance or the control plane, counted from 0. `lasts`: seconds; 0 of an instance: for ever.
    `amount`: how slow, how many answers, how many seconds, which entry of the journal, counted from the fault on;
    `what`: what is lied about, where the store fails; `before` or `after` the entry is there."""

    kind: FaultKind
    at: float
    lasts: float = 0.0
    target: int = 0
    amount: float = 0.0
    what: str = ""

    @property
    def ends(self) -> bool:
        """Whether it is over by itself, if only in the moment in which it begins."""
        return bool(self.lasts) or self.kind not in ("silent", "off")


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
    update: str = ""
    """RollingUpdateType; '': such updates are not enabled."""
    rate: float = 0.0
    """Requests a second, of all users."""
    percent: int = 20
    """NewVersionPercent."""
    evaluation: int = 20
    """Seconds for which a canary is watched."""
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
    """A scenario of one to five instances and up to four faults."""
    random = Random(seed)
    on_servers = random.random() < 0.7
    policy = random.choice(POLICIES)
    watched = policy == "TrafficSplitting"
    versions = (Version(boot=random.uniform(0.2, 1.5)), *(_version(random, watched) for _ in range(2)))
    commands = _commands(random, watched)
    faults = tuple(_fault(random, on_servers) for _ in range(random.choice((0, 1, 1, 1, 2, 2, 3, 4))))
    return Scenario(
        seed=seed,
        instances=random.choice((1, 2, 2, 3, 3, 4, 5)),
        on_servers=on_servers,
        policy=policy,
        batch=random.choice((1, 1, 2, 3)),
        request=random.choice((0.0, 0.5, 1.5, 4.0)),
        drain=random.choice((0, 1, 2, 5)),
        checks=random.choice((1, 2)),
        memory=random.choice((1 << 30, 1 << 30, 1 << 30, 80 << 20)),
        planes=random.choice((1, 1, 1, 2)),
        update=random.choice(UPDATES),
        rate=random.choice((3.0, 30.0, 30.0, 60.0)) if watched else 0.0,
        percent=random.choice((10, 20, 50)),
        versions=versions,
        commands=commands,
        faults=faults,
    )


def _version(random: Random, watched: bool) -> Version:
    """Of those whose requests are watched many have a flaw that shows in nothing else."""
    flaws: tuple[Flaw, ...] = ("", "", "", "start", "gate", "later", "prepare", "once")
    flaw = "" if watched and random.random() < 0.7 else random.choice(flaws)
    leader = flaw in ("prepare", "once") or random.random() < 0.3
    port = 8000 if random.random() < 0.15 else None
    boot = random.uniform(0.2, 2.0)
    if not watched or flaw or random.random() < 0.4:
        return Version(boot=boot, flaw=flaw, leader=leader, port=port)
    errors, slowness = random.choice(((0.3, 1.0), (0.05, 1.0), (0.0, 4.0), (0.0, 1.5)))
    return Version(
        boot=boot,
        leader=leader,
        port=port,
        errors=errors,
        slowness=slowness,
        worse_after=random.choice((0.0, 0.0, random.uniform(2.0, 30.0))),
    )


def _commands(random: Random, watched: bool) -> tuple[Command, ...]:
    found = [Command("deploy", random.uniform(0.5, 2.0), 2)]
    if random.random() < 0.3:
        first: tuple[CommandKind, ...] = ("configure", "check", "replace", "replace", "both", "restart", "rebuild")
        kind = random.choice((*first, "swap"))
        found = [Command(kind, random.uniform(0.5, 2.0), random.randint(2, 3), random.randint(1, 5))]
    for _ in range(random.choice((0, 1, 1, 2, 3, 3))):
        kind = random.choice(FURTHER)
        number = random.randint(1, 5) if kind == "scale" else random.randint(1, 3)
        meanwhile = kind in MEANWHILE or random.random() < 0.2
        at = random.uniform(0.5, 30.0 if watched else 12.0) if meanwhile else None
        found.append(Command(kind, at, number, random.randint(1, 5)))
    if watched and random.random() < 0.2:
        found.insert(1, Command("promote", random.uniform(4.0, 25.0)))
    return tuple(found)


def _fault(random: Random, on_servers: bool) -> Fault:
    """The machine of a local fleet is the control plane's own, which starts agents that die."""
    kind = random.choice((*ON_INSTANCES, *ELSEWHERE, *OFTEN))
    at, target = random.uniform(0.0, random.choice((10.0, 10.0, 10.0, 30.0))), random.randint(0, 4)
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
        case "cut":
            entry, what = random.randint(1, 12), random.choice(("before", "after"))
            return Fault(kind, at, random.choice((0.1, 1.0, 20.0)), 0, entry, what)
        case "freeze":
            return Fault(kind, at, random.choice((5.0, 16.0, 30.0)), target)
        case "jump":
            return Fault(kind, at, 0.0, target, random.choice((-3600.0, -10.0, 10.0, 3600.0)))
    return Fault(kind, at, lasts, target)
