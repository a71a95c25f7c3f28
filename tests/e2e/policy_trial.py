"""Carries out scenarios of fates.py on one fleet, one after the other, under load, and says what happened.

Each begins and ends with all instances in line. Nothing is raised for what should have held and did not: it is in the
row's `problems`, so that one bad scenario says as much as a good one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from beanpole_site import Settings, wait_for
from fates import CLOSING, ENVIRONMENT, FATES, GOOD_FOR, Fate, fate_named, policy
from held import held
from rig import Rig
from store_view import StoreView

HELD_LIMIT = 180.0
"""Seconds until a deployment is in its middle."""

END_LIMIT = 300.0
"""Seconds for an operation. A server that is silent is waited for twice at most."""

BACK_LIMIT = 240.0
"""Seconds until all are in line: a second attempt to bring a release comes after a minute."""

RETURN_LIMIT = 120.0
"""Seconds from the first bad answer until a release that turned bad has been returned from."""

TIDY_LIMIT = 180.0
"""Seconds until nothing that an operation left is there any more: what could not be removed is tried again."""

HEALTH_LIMIT = 100.0
"""Seconds until the health is Ok: requests that failed count for a minute."""

OFFSET = 0.5
"""Seconds by which the clocks of the load and of this process may be apart, and a loss may take to be complete."""

BEGUN = "Environment update is starting."
LOAD: dict[str, Any] = {"path": "/version", "idle": 5}


@dataclass
class Row:
    """What happened. Times are in seconds."""

    fleet: str
    policy: str
    fate: str
    outcome: str = "not ended"
    seconds: float = 0.0
    """From the call to the end of the deployment; from the first bad answer to the end of the return."""
    sent: int = 0
    failed: int = 0
    inside: int = 0
    """Of the failed ones, those inside of what was lost, or answered by a version that had turned bad."""
    release: str = ""
    """Which release all served when the operation had ended: new or old."""
    whole: float = 0.0
    late: float = 0.0
    """By how much the load itself was late at worst: it had no processor for so long, nor had most others."""
    problems: list[str] = field(default_factory=list)
    """What should have held and did not."""
    events: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return f"{self.fleet}:{self.policy}:{self.fate}"


class PolicyTrial:
    def __init__(self, rig: Rig, rate: float = 200.0) -> None:
        self.rig = rig
        self.site = rig.site
        self.store = StoreView(rig.site.home.database)
        self._rate = rate
        self._number = 1

    def begin(self) -> None:
        self.rig.create(held("v1", self.rig.holds), ENVIRONMENT)

    def carry_out(self, name: str) -> Row:
        """The scenario FLEET:POLICY:FATE."""
        _, chosen, what = name.split(":")
        return self.run(chosen, fate_named(what))

    def run(self, name: str, fate: Fate) -> Row:
        began = time.monotonic()
        row = Row(self.rig.fleet, name, fate.name)
        old, event = self.in_line(), self.store.newest_event()
        self.rig.let_go()
        struck = lost = None
        with self.site.load(rate=self._rate, **LOAD) as load:
            asked = time.monotonic()
            if fate.strike is not None:
                self.rig.hold()
            new, request = self._deploy(policy(name), fate)
            if fate.strike is not None:
                place = str(wait_for("the middle of the deployment", self.rig.held, HELD_LIMIT))
                fate.strike(self.rig, place)
                struck, lost = time.time(), place if fate.costly else None
                self.rig.let_go()
            ended = self._see_end(row, fate, request, old, new, lost or "")
            row.seconds = round(time.monotonic() - asked, 1)
            if fate.turns and ended:
                time.sleep(max(GOOD_FOR - (time.monotonic() - asked), 0.0))
                self._turn_bad(row, old, new, event)
        self._count(row, load.report, self._inside(row, load.report, fate, struck))
        with self.site.load(rate=self._rate, **LOAD) as load:
            newest = self._see_next(row, lost or "")
            if lost is not None:
                self.rig.restore(lost)
            self._see_line(row, newest)
        self._count(row, load.report, 0)
        row.whole = round(time.monotonic() - began, 1)
        row.events = self.store.events(event)
        return row

    def in_line(self) -> str:
        """The version that all instances serve, in rotation and undisturbed."""
        return str(wait_for("all instances in line", self._line, BACK_LIMIT))

    # What must hold

    def _see_end(self, row: Row, fate: Fate, request: str, old: str, new: str, lost: str) -> bool:
        try:
            ended = self.site.ended(request_id=request, seconds=END_LIMIT)
        except AssertionError as never:
            row.problems.append(str(never))
            return False
        row.outcome = str(ended["Outcome"])
        if fate.outcome and row.outcome != fate.outcome:
            row.problems.append(f"it {row.outcome}: {ended.get('Error')}")
        wanted, row.release = (new, "new") if row.outcome == "succeeded" else (old, "old")
        self._see_served(row, wanted, lost)
        said = self.site.events(RequestId=request)
        if not said or (said[0], said[-1]) != (BEGUN, CLOSING[row.outcome]):
            row.problems.append(f"the deployment is told from {said[:1]} to {said[-1:]}")
        if not fate.costly and len(said) != len(set(said)):
            row.problems.append(f"told twice: {sorted({each for each in said if said.count(each) > 1})}")
        return True

    def _see_served(self, row: Row, wanted: str, lost: str) -> None:
        answers = self.rig.answers(but=lost)
        # Servers without an instance in rotation answer that they have none; only what is lost may be without.
        if set(answers.values()) != {wanted}:
            row.problems.append(f"not all serve {wanted}: {answers}")
        environment = self.site.environment()
        if (environment["Status"], environment["VersionLabel"]) != ("Ready", wanted):
            row.problems.append(f"the environment is {environment['Status']}, on {environment['VersionLabel']}")

    def _turn_bad(self, row: Row, old: str, new: str, event: int) -> None:
        """All answers are 500 at once, and the environment goes back by itself."""
        bad = time.monotonic()
        self.rig.put(_file(new))

        def returned() -> bool:
            told = self.store.events(event)
            begin = next((at for at, words in enumerate(told) if "turned bad afterwards" in words), None)
            return begin is not None and any(
                words.startswith("INFO Every instance serves release ") and words.endswith(f"(version {old}).")
                for words in told[begin:]
            )

        try:
            wait_for("the return", returned, RETURN_LIMIT)
        except AssertionError as never:
            row.problems.append(str(never))
            return
        row.seconds = round(time.monotonic() - bad, 1)
        row.release = "old"
        self._see_served(row, old, "")

    def _see_next(self, row: Row, lost: str) -> str:
        """Another deployment is taken at once, and succeeds; its version."""
        label, request = self._deploy(policy("AllAtOnce"))
        ended = self.site.ended(request_id=request, seconds=END_LIMIT)
        if ended["Outcome"] != "succeeded":
            row.problems.append(f"the next deployment {ended['Outcome']}: {ended.get('Error')}")
        self._see_served(row, label, lost)
        return label

    def _see_line(self, row: Row, wanted: str) -> None:
        try:
            found = self.in_line()
        except AssertionError as never:
            row.problems.append(f"{never}: {self.rig.answers()}, {self.store.serving()}")
            return
        if found != wanted:
            row.problems.append(f"all serve {found} at the end, not {wanted}")
        self._see_gone(row, "what was left", self._untidy, TIDY_LIMIT)
        self._see_gone(row, "bad health", self._ill, HEALTH_LIMIT)

    def _see_gone(self, row: Row, what: str, look: Callable[[], str], limit: float) -> None:
        """`look` says what is wrong, or '' when nothing is any more."""
        try:
            wait_for(f"the end of {what}", lambda: not look(), limit)
        except AssertionError as never:
            row.problems.append(f"{never}: {look()}")

    def _untidy(self) -> str:
        """'' when each instance has one process and one boot target, of the environment's release, and nothing else."""
        found, digest = self.rig.found(), self.store.digest()
        resources = self.site.client().describe_environment_resources(EnvironmentName="shop-dev")
        told = sorted(each["Id"] for each in resources["EnvironmentResources"]["Instances"])
        wanted = sorted((each, digest) for each in told)
        right = len(told) == self.rig.number and sorted(self.store.instances()) == told == sorted(found.homes)
        right = right and sorted(found.web) == wanted == sorted(found.boots)
        return "" if right else f"instances {told}, digest {digest}, {found}"

    def _ill(self) -> str:
        """What is wrong with the environment, but for the processors of this machine, which are everybody's."""
        asked = {"EnvironmentName": "shop-dev", "AttributeNames": ["All"]}
        whole = self.site.client().describe_environment_health(**asked)
        if whole["HealthStatus"] == "Ok":
            return ""
        each = self.site.client().describe_instances_health(**asked)["InstanceHealthList"]
        causes = [words for words in whole["Causes"] if not words.startswith("Impaired services on")]
        causes += [words for one in each for words in one["Causes"] if "of CPU is in use" not in words]
        return f"{whole['HealthStatus']}: {' '.join(causes)}" if causes else ""

    def _inside(self, row: Row, report: dict[str, Any], fate: Fate, struck: float | None) -> int:
        """How many failures are those that the scenario itself makes."""
        if fate.costly and struck is not None:
            return sum(report["started_at"] + each["at"] <= struck + OFFSET for each in report["failures"])
        if fate.turns and row.outcome == "succeeded":
            # The version's own answers, and the balancer's when it knows of no instance that is well.
            return int(sum(report["kinds"].get(kind, 0) for kind in ("status 500", "status 503")))
        return 0

    def _count(self, row: Row, report: dict[str, Any], inside: int) -> None:
        row.sent += report["sent"]
        row.failed += report["failed"]
        row.inside += inside
        row.late = max(row.late, report["late_ms"] / 1000)
        if report["failed"] > inside:
            when = [f"{each['kind']} at {each['at']:.1f} s" for each in report["failures"][:10]]
            row.problems.append(f"{report['failed'] - inside} GETs failed: {report['kinds']} {when}")

    # Parts of it

    def _deploy(self, settings: Settings, fate: Fate = FATES[0]) -> tuple[str, str]:
        """Begins to deploy another version; its label, and the id of the request."""
        self._number += 1
        label = f"v{self._number}"
        files = fate.spoil(held(label, self.rig.holds), f"{self.rig.holds}/{_file(label)}")
        return label, self.site.begin(label, files, settings=settings)

    def _line(self) -> str:
        if not self.store.one_release(self.rig.number) or self.site.environment()["Status"] != "Ready":
            return ""
        answers = set(self.rig.answers().values())
        return answers.pop() if len(answers) == 1 else ""


def _file(label: str) -> str:
    """Among the holds: that version is bad."""
    return f"bad-{label}"
