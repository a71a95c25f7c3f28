"""What can befall a server, or us, at each step of a deployment: the scenarios as data.

A deployment is held at a step by files on the server that the fault is for; the application (held.py) waits for each
of them where that step is. Nothing is timed: the fault comes when the step has begun and cannot have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from beanpole_site import Settings
from bed import Bed

HOLDS = "/run/hold"
"""A folder that a boot empties."""

LOCK = "/run/hold.lock"
"""Has the pid of who holds a lock."""

Act = Callable[[Bed, str], None]


@dataclass(frozen=True)
class Step:
    """Where a deployment is held. `key`: of the journal, for the second of five batches."""

    name: str
    key: str
    hold: str | None = None
    """The file that holds it there; None: another thing does, or it takes long enough by itself."""
    settings: Settings = ()
    lock: str | None = None
    """A folder there that is locked meanwhile, so that nothing arrives in it."""
    rollback: bool = False


@dataclass(frozen=True)
class Fault:
    """`begin` and `end` of it on one server.

    `silent`: the server cannot be asked, so the others go on without it. `costly`: it may have to leave rotation.
    """

    name: str
    words: str
    begin: Act | None = None
    """None: it is the control plane that dies."""
    end: Act | None = None
    """None: it passes by itself."""
    silent: bool = False
    costly: bool = False


@dataclass(frozen=True)
class Cell:
    step: Step
    fault: Fault

    @property
    def name(self) -> str:
        return f"{self.step.name}-{self.fault.name}"


@dataclass
class Row:
    """What happened. Times are in seconds."""

    cell: str
    step: str
    fault: str
    outcome: str = "not ended"
    seconds: float = 0.0
    """From the fault to the end of the operation."""
    sent: int = 0
    failed: int = 0
    inside: int = 0
    """Of the failed ones, those that had been sent before the fault was complete."""
    release: str = ""
    """What all servers that could be reached served when the operation had ended."""
    back: float | None = None
    """From the end of the fault until all five serve one release; None where no server was away."""
    problems: list[str] = field(default_factory=list)
    """What should have held and did not."""
    events: list[str] = field(default_factory=list)


def _gate(checks: int, interval: str) -> Settings:
    return (
        ("beanpole:deployment", "GateChecks", str(checks)),
        ("beanpole:deployment", "GateInterval", interval),
        ("beanpole:deployment", "StopGrace", "60"),
    )


QUICK = _gate(2, "0.3")
LONG = _gate(12, "0.5")

STEPS = (
    Step("fetch", "forward/fetch", settings=QUICK, lock="/var/lib/beanpole/blobs/incoming"),
    Step("prepare", "forward/prepare-2", "prepare", QUICK),
    Step("activate", "forward/activate-2", "activate", QUICK),
    Step("gate", "forward/gate-2", settings=LONG),
    Step("finish", "forward/finish-2", "finish", QUICK),
    Step("rollback", "forward/activate-1", "activate", QUICK, rollback=True),
)


def _power_cycle(bed: Bed, name: str) -> None:
    bed.kill(name)
    bed.start(name)


def _slow(bed: Bed, name: str) -> None:
    bed.slow(name, 200)


def _quick(bed: Bed, name: str) -> None:
    bed.slow(name, 0)


def _end_sessions(bed: Bed, name: str) -> None:
    """The processes of sshd that serve sessions end, and with them every connection to the server."""
    pids = bed.exec(name, "pgrep", "-u", "admin", "-x", "sshd").split()
    bed.exec(name, "kill", "-9", *pids, check=False)


FAULTS = (
    Fault("kill", "power off", Bed.kill, Bed.start, silent=True),
    Fault("freeze", "frozen", Bed.freeze, Bed.thaw, silent=True),
    Fault("cut", "cut off from everybody", Bed.cut, Bed.join, silent=True),
    Fault("fill", "disk full", Bed.fill, Bed.unfill, costly=True),
    Fault("reboot", "power off and on again", _power_cycle, costly=True),
    Fault("slow", "200 ms longer per round trip", _slow, _quick),
    Fault("dropped", "our SSH connection ended", _end_sessions),
    Fault("control", "control plane killed and started again"),
)


def cells() -> Iterator[Cell]:
    for step in STEPS:
        for fault in FAULTS:
            yield Cell(step, fault)


def named(name: str) -> Cell:
    return next(cell for cell in cells() if cell.name == name)
