"""What is promised, looked at in every instant: at each commit, each order to an agent, each move of a request's way.

A broken promise is a sentence with its second. What befell an instance is its excuse, and no other's.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from beanpole.operations import closing
from beanpole.policies import plan as plans
from beanpole.policies.change import floor
from beanpole.policies.plan import Activate, Fetch, Launch, Leave, Plan, Retire, Shift, Terminate, Watch
from beanpole.simulation.prepare import BESIDE

if TYPE_CHECKING:
    from collections.abc import Callable

    from beanpole.simulation.machine import Job, Machine, Web
    from beanpole.simulation.world import World

LAUNCHED = "Successfully launched environment: "

SWAPPED = closing.SWAPPED.format("shop", BESIDE)

SUCCESSES = (closing.SUCCEEDED, closing.TERMINATED, closing.RESTARTED, SWAPPED)
FAILURES = (
    closing.NOT_DEPLOYED,
    closing.NOT_CONFIGURED,
    closing.NOT_RESTARTED,
    closing.NOT_REBUILT,
    closing.NOT_SWAPPED,
    closing.NOT_LAUNCHED,
    closing.NOT_TERMINATED,
)

EARLY = 0.1
"""Seconds by which a drain may be shorter: its delay begins when it is decided, not when the balancer has heard."""


INSTANCES = "SELECT id FROM instance WHERE environment_id = ?"

OPERATION = (
    "SELECT kind, plan, return_plan, coalesce(operation.desired, environment.desired) FROM operation "
    "JOIN environment ON environment.id = environment_id WHERE operation.id = ?"
)

BOUND = "%/bind"
"""Keys of the journal under which it says which instance was made for a slot."""

Sample = tuple[float, int, dict[str, int]]
"""Since when so many instances answer requests, and how many of them with which release."""


class Promises:
    """`ended` is called with the request id of every operation whose closing sentence can be read."""

    def __init__(self, world: World, ended: Callable[[str], None]) -> None:
        self._world = world
        self._ended = ended
        self.broken: list[str] = []
        self.closings: dict[str, list[str]] = {}
        self.established: set[str] = set()
        """Instances that have served, and are to go on serving."""
        self.lowest = 10**9
        self.samples: list[Sample] = []
        self._needed = 0
        """Instances that have to serve while an operation goes on."""
        self._leaving: set[str] = set()
        """Those that a step has begun to take away."""
        self._entry = 0
        self._told: set[str] = set()
        self._leader: dict[str, int] = {}
        self._event = 0
        self._event_at = 0
        self._phases: dict[int, str] = {}
        self._plans: dict[int, Plan] = {}
        self.spans: dict[int, tuple[float, float]] = {}
        """Begin and end of each operation."""
        self.watches: dict[int, tuple[float, float]] = {}
        """Begin and end of the watch of each operation that had one."""
        self._out = 0
        self._epochs: dict[int, int] = {}

    def breaks(self, words: str) -> None:
        if words not in self._told:
            self._told.add(words)
            self.broken.append(f"{self._world.loop.time():8.3f} {words}")
            self._world.note(f"BROKEN: {words}")

    # Where requests go

    def moved(self) -> None:
        world = self._world
        available = set()
        releases: dict[str, int] = {}
        for seat, web in world.edge.serving():
            name = seat.endpoint.instance_id
            available.add(name)
            releases[seat.endpoint.digest] = releases.get(seat.endpoint.digest, 0) + 1
            if not web.proven:
                self.breaks(f"{name} gets requests for release {seat.endpoint.digest}, which has not passed its check")
        self.established |= available - self._leaving
        self.lowest = min(self.lowest, len(available))
        if not self.samples or self.samples[-1][1:] != (len(available), releases):
            self.samples.append((world.loop.time(), len(available), releases))
        missing = [name for name in self.established - available if not self._is_excused(name)]
        if len(missing) > self._out:
            names = ", ".join(sorted(missing))
            self.breaks(f"{names} should serve and does not; {self._out} may be out of rotation")
        if self._needed and len(available) < self._needed - self._out:
            lost = [name for name in world.machines if name not in available and self._is_excused(name)]
            if len(available) + len(lost) < self._needed - self._out:
                self.breaks(f"{len(available)} instances serve; the plan promises {self._needed - self._out}")

    def _is_excused(self, name: str) -> bool:
        machine = self._world.machines.get(name)
        if name in self._world.excused or machine is None:
            return name in self._world.excused
        return any(web.ill for web in machine.webs.values())

    def stopping(self, machine: Machine, web: Web) -> None:
        if not web.proven or not web.works or machine.name in self._world.excused:
            return
        busy = self._world.edge.busy_until((machine.name, web.digest))
        if busy is None:
            self.breaks(f"{machine.name}: release {web.digest} is stopped while it gets requests")
            return
        left = self._world.edge.left.get((machine.name, web.digest), 0.0)
        until = min(busy, left + self._world.scenario.drain) - EARLY
        if self._world.loop.time() < until and not self._jumped():
            self.breaks(f"{machine.name}: requests to release {web.digest} are cut before the drain deadline")

    def _jumped(self) -> bool:
        return any(fault.kind == "jump" for fault in self._world.scenario.faults)

    # Orders

    def ordered(self, machine: Machine, job: Job, arguments: dict[str, Any]) -> None:
        if job.kind != "start" or "-forward-" not in job.key:
            return
        plan = self._plans.get(int(job.key[2:].partition(".")[0]))
        slots = [slot for step in plan.steps if isinstance(step, Fetch) for slot in step.slots] if plan else []
        for slot in slots:
            other = self._world.machines.get(slot)
            if other is None or slot in self._world.excused or not other.answers:
                continue
            if arguments["release"] not in other.fetched:
                self.breaks(f"{machine.name} is switched before release {arguments['release']} is on {slot}")

    def leader_ran(self, machine: Machine, key: str) -> None:
        operation = key.partition("-")[0]
        self._leader[operation] = self._leader.get(operation, 0) + 1
        if self._leader[operation] > 1:
            self.breaks(f"the leader-only commands of {operation} run a second time, on {machine.name}")

    # What can be read

    def committed(self, tables: set[str]) -> None:
        ask = self._world.store.ask
        if "operation" in tables:
            known = ",".join(map(str, self._phases)) or "0"
            for number, phase in ask(f"SELECT id, phase FROM operation WHERE phase <> 'done' OR id IN ({known})"):  # noqa: S608
                if self._phases.get(number) != phase:
                    ((kind, plan, back, desired),) = ask(OPERATION, number)
                    self._changed(number, phase, kind, back if phase == "return" else plan, desired)
        if "journal" in tables:
            for entry, number, key in ask("SELECT id, operation_id, key FROM journal WHERE id > ?", self._entry):
                self._entry = entry
                if key.endswith("/begin"):
                    self._begins(number, key.split("/")[1])
                elif number in self.watches and key.split("/")[1] == "watch":
                    self.watches[number] = self.watches[number][0], self._world.loop.time()
        if "event" in tables:
            query = "SELECT id, at, request_id, message, severity FROM event WHERE id > ? ORDER BY id"
            for row in ask(query, self._event):
                self._heard(*row)

    def _changed(self, number: int, phase: str, kind: str, text: str | None, desired: int) -> None:
        now = self._world.loop.time()
        self._world.note(f"operation {number} ({kind}): {phase}")
        self.spans[number] = self.spans.get(number, (now, now))[0], now
        if phase == "return" and number in self.watches:
            self.watches[number] = self.watches[number][0], now
        if phase == "done":
            del self._phases[number]
            self._leaving.clear()
            self._needed = 0
        else:
            self._phases[number] = phase
            plan = self._plans[number] = plans.decode(text or "")
            if phase == "forward":
                self._needed = _needed(plan, kind, len(self.established), desired)
        self._out = self._may_be_out()

    def _begins(self, number: int, key: str) -> None:
        """Some are on their way out from the begin of such a step on."""
        plan = self._plans.get(number)
        step = next((step for step in plan.steps if step.key == key), None) if plan is not None else None
        match step:
            case Leave(slots=slots) | Terminate(slots=slots) | Retire(slots=slots):
                leaving = set(slots)
            case Shift(percent=0, to=to):
                leaving = set(to)
            case Shift(percent=100, to=to):
                rows = self._world.store.ask(
                    "SELECT result FROM journal WHERE operation_id = ? AND key LIKE ?", number, BOUND
                )
                new = {json.loads(result)["instance"] for (result,) in rows}
                leaving = self.established - new - set(to)
            case Watch():
                self.watches[number] = (self._world.loop.time(),) * 2
                return
            case _:
                return
        self._leaving |= leaving
        self.established -= leaving

    def _may_be_out(self) -> int:
        """How many instances may be out of rotation at once, by the policy's own arithmetic."""
        scenario, count = self._world.scenario, len(self.established)
        if not self._phases or not count:
            return 0
        narrow = scenario.memory - 2 * scenario.memory_used < 64 << 20
        alone = any(version.port is not None for version in scenario.versions)
        if not narrow and not alone:
            return 0
        halves = (count + 1) // 2
        returning = "return" in self._phases.values()
        # Under the policies that launch, what is done to present instances is done all at once.
        replacing = scenario.policy in ("Immutable", "TrafficSplitting")
        whole = scenario.policy == "AllAtOnce" or returning or (replacing and self._in_place())
        batch = halves if whole else min(scenario.batch, count)
        turns = count - min(floor(count), count - 1) if narrow else 0
        return max(batch, turns, halves if self._by_system() else 0)

    def _by_system(self) -> bool:
        """Bringing into line goes all at once, and so does a return that somebody asked for."""
        return any(self._plans[number].policy in ("AllAtOnce", "Rollback") for number in self._phases)

    def _in_place(self) -> bool:
        """Whether a plan under way starts a release on an instance that it did not launch."""
        steps = (step for number in self._phases for step in self._plans[number].steps if isinstance(step, Activate))
        return any(not slot.startswith("new-") for step in steps for slot in step.slots)

    def _heard(self, number: int, at: int, request: str | None, message: str, severity: str) -> None:
        self._event = number
        self._world.note(f"event {severity}: {message}")
        if at <= self._event_at:
            self.breaks(f"the time of event {number} is not after the one before")
        self._event_at = at
        closes = message in (*SUCCESSES, *FAILURES, closing.REVERTED) or message.startswith(LAUNCHED)
        if not closes or request is None or (message == closing.REVERTED and request.startswith("system")):
            return
        self.closings.setdefault(request, []).append(message)
        ((status,),) = self._world.store.ask("SELECT status FROM environment WHERE id = ?", self._world.environment)
        still = self._world.store.ask("SELECT id FROM operation WHERE request_id = ? AND phase <> 'done'", request)
        if still or status not in ("Ready", "Terminated", "Terminating"):
            self.breaks(f"{message!r} can be read while the environment is {status}")
        if status == "Ready":
            self._compare(request, message)
        if message == SWAPPED:
            self._compare_names()
        self._ended(request)

    def _compare(self, request: str, message: str) -> None:
        """What the closing sentence says is so when it is said."""
        succeeded = message not in (*FAILURES, closing.REVERTED)
        goals = self._world.store.ask(
            "SELECT digest, environment.desired FROM operation "
            "JOIN environment ON environment.id = operation.environment_id "
            "JOIN release ON release.environment_id = environment.id "
            "AND number = CASE WHEN ? THEN operation.release ELSE operation.previous END WHERE request_id = ?",
            succeeded,
            request,
        )
        for digest, desired in goals:
            for seat in self._world.edge.mine():
                name = seat.endpoint.instance_id
                if seat.serving and seat.endpoint.digest != digest and not self._is_excused(name):
                    self.breaks(f"{name} gets requests for release {seat.endpoint.digest} when {message!r} is told")
            there = [name for (name,) in self._world.store.ask(INSTANCES, self._world.environment)]
            if len([name for name in there if not self._is_excused(name)]) > desired:
                self.breaks(f"there are {len(there)} instances instead of {desired} when {message!r} is told")

    def _compare_names(self) -> None:
        """Whoever reads that the names were exchanged is led by them to the other environment."""
        names = dict(self._world.store.ask("SELECT cname_prefix, id FROM environment WHERE terminated_at IS NULL"))
        if self._world.edge.names != names:
            self.breaks(f"names lead to {self._world.edge.names} instead of {names} when {SWAPPED!r} is told")


def _needed(plan: Plan, kind: str, present: int, desired: int) -> int:
    """How many have to serve all the time that it goes on, of so many: only where there is no room they leave first."""
    if kind == "terminate":
        return 0
    needed = min(present, desired)
    first = next((step for step in plan.steps if isinstance(step, Launch | Leave)), None)
    early = isinstance(first, Leave) and any(isinstance(step, Launch) for step in plan.steps)
    return needed - max(len(step.slots) for step in plan.steps if isinstance(step, Leave)) if early else needed
