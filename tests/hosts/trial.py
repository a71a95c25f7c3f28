"""Carries out scenarios of matrix.py on one bed and one control plane, one after the other, and says what happened.

Each begins with five servers in line and ends with the fault over. Nothing is raised for what should have held and did
not: it is in the row's `problems`, so that one bad scenario says as much as a good one.
"""

from __future__ import annotations

import time
from typing import Any

from beanpole_site import Settings, wait_for
from bed import Bed, Server
from held import held
from matrix import HOLDS, LOCK, Cell, Row, named
from servers_site import ONE_BY_ONE, ServersSite
from store_view import StoreView

HELD_LIMIT = 180.0
"""Seconds until the deployment is at its step."""

END_LIMIT = 300.0
"""Seconds from a fault to the end of the operation. A server that is silent is waited for twice at most, once until the
connection is known to be lost and once for the agent; the rest is a deployment on four servers, on a busy machine."""

BACK_LIMIT = 240.0
"""Seconds from the end of a fault until all serve one release: a second attempt to bring it comes after one minute."""

RATE = 200.0
"""Requests a second."""

OFFSET = 0.5
"""Seconds by which the clocks of the load and of this process may be apart, and a fault may take to be complete."""


class Trial:
    def __init__(self, bed: Bed, site: ServersSite, servers: list[Server], rate: float = RATE) -> None:
        self.bed = bed
        self.site = site
        self.servers = servers
        self.store = StoreView(site.home.database)
        self._rate = rate
        self._number = 1

    def begin(self) -> None:
        """Five servers with one instance each, on v1."""
        self.site.add(self.servers)
        created = self.site.create(held("v1", HOLDS), instances=len(self.servers), settings=ONE_BY_ONE)
        assert created["Outcome"] == "succeeded", (created, self.site.log())

    def carry_out(self, name: str) -> Row:
        """The cell of that name."""
        return self.run(named(name))

    def run(self, cell: Cell) -> Row:
        row = Row(cell.name, cell.step.name, cell.fault.words)
        old = self.in_line()
        if cell.step.rollback:
            # Something to return from.
            assert self._deploy(cell)["Outcome"] == "succeeded"
            old = self.in_line()
        victim = self.second()
        for server in self.servers:
            self._unhold(server.name)
        if cell.step.hold is not None:
            self.bed.exec(victim, "sh", "-c", f"mkdir -p -m 1777 {HOLDS} && touch {HOLDS}/{cell.step.hold}")
        if cell.step.lock is not None:
            self._lock(victim, cell.step.lock)
        with self.site.load(rate=self._rate, path="/version", idle=5) as load:
            began = self.store.newest_event()
            request = self._begin(cell)
            self._until_held(cell, victim, request)
            first = time.time()
            self._strike(cell, victim)
            struck = time.time()
            self._unhold(victim)
            self._see_end(cell, row, victim, request, old, struck, began)
            healed = time.monotonic()
            if cell.fault.end is not None:
                cell.fault.end(self.bed, victim)
            self._see_back(row, healed, away=cell.fault.end is not None)
        self._count(row, load.report, first, struck)
        row.events = self.store.events(began)
        return row

    # Parts of it, for other stories

    def deploy_held(self, settings: Settings) -> str:
        """Begins to deploy another version; the id of the request."""
        return self.site.begin(*self._version(), settings=settings)

    def until_begun(self, request: str, step: str, server: str) -> None:
        """The step of that key has begun, and waits on that server for the file that holds it."""
        hold = step.partition("/")[2].partition("-")[0]
        wait_for(f"step {step}", lambda: f"{step}/begin" in self.store.journal(request), HELD_LIMIT)
        wait_for(f"hold at {step}", lambda: self._there(server, f"{HOLDS}/{hold}.reached"), HELD_LIMIT)

    def running(self, name: str) -> set[str]:
        """Digests of the releases whose web process runs on a server, by its units."""
        units = self.bed.exec(name, "systemctl", "list-units", "--plain", "--no-legend", "beanpole-i-*-web-*")
        found = [line.split() for line in units.splitlines() if line]
        return {unit.removesuffix(".service").rpartition("-")[2] for unit, _, active, *_ in found if active == "active"}

    # The fault

    def _begin(self, cell: Cell) -> str:
        if cell.step.rollback:
            back = self.site.client("beanpole").rollback_environment(EnvironmentName="shop-dev")
            return str(back["ResponseMetadata"]["RequestId"])
        return self.site.begin(*self._version(), settings=cell.step.settings)

    def _deploy(self, cell: Cell) -> dict[str, Any]:
        return self.site.deploy(*self._version(), settings=cell.step.settings)

    def _version(self) -> tuple[str, dict[str, str]]:
        self._number += 1
        label = f"v{self._number}"
        return label, held(label, HOLDS)

    def _until_held(self, cell: Cell, victim: str, request: str) -> None:
        instance = self.instances()[victim]

        def reached() -> bool:
            journal = self.store.journal(request)
            assert f"{cell.step.key}/{instance}" not in journal, f"{cell.step.name} ended before the fault"
            if f"{cell.step.key}/begin" not in journal:
                return False
            if cell.step.hold is not None:
                return self._there(victim, f"{HOLDS}/{cell.step.hold}.reached")
            return True

        wait_for(f"step {cell.step.key}", reached, HELD_LIMIT)

    def _strike(self, cell: Cell, victim: str) -> None:
        if cell.fault.begin is not None:
            cell.fault.begin(self.bed, victim)
            return
        self.site.kill()
        self._unhold(victim)
        self.site.start()

    def _unhold(self, name: str) -> None:
        self.bed.exec(
            name, "sh", "-c", f"rm -rf {HOLDS}; [ ! -e {LOCK} ] || kill $(cat {LOCK}); rm -f {LOCK}", check=False
        )

    def _lock(self, name: str, folder: str) -> None:
        # -o: the lock is that process's own, and ends with it.
        hold = f"echo $$ > {LOCK}; exec flock -o {folder} sleep 600"
        self.bed.exec(name, "sh", "-c", f"setsid sh -c '{hold}' >/dev/null 2>&1 </dev/null &")
        wait_for("the lock", lambda: self._there(name, LOCK))

    def _there(self, name: str, pattern: str) -> bool:
        return bool(self.bed.exec(name, "sh", "-c", f"ls -d {pattern} 2>/dev/null", check=False))

    # What must hold

    def _see_end(self, cell: Cell, row: Row, victim: str, request: str, old: str, struck: float, began: int) -> None:
        try:
            ended = self.site.ended(request_id=request, seconds=END_LIMIT)
        except AssertionError as never:
            row.problems.append(str(never))
            return
        finally:
            row.seconds = round(time.time() - struck, 1)
        row.outcome = str(ended["Outcome"])
        new = self.store.label(ended["Release"])
        out = self._out()
        may_be_out = {victim} if cell.fault.silent or cell.fault.costly else set()
        answers = self.site.answers(but={*out, *(may_be_out if cell.fault.silent else ())})
        row.release = "/".join(sorted(set(answers.values())))
        wanted = new if row.outcome == "succeeded" else old
        if set(answers.values()) != {wanted}:
            row.problems.append(f"not all in rotation serve {wanted}: {answers}")
        if not out <= may_be_out:
            row.problems.append(f"out of rotation: {', '.join(sorted(out))}")
        if (status := self.site.environment()["Status"]) != "Ready":
            row.problems.append(f"the environment is {status}")
        if cell.fault.silent or out:
            self._see_blame(row, victim, began)

    def _see_blame(self, row: Row, victim: str, began: int) -> None:
        """It serves what the environment has or nothing, and is named."""
        instance = self.instances()[victim]
        other = self.store.ask(
            "SELECT endpoint.digest FROM endpoint JOIN instance ON instance.id = instance_id "
            "JOIN environment ON environment.id = instance.environment_id "
            "JOIN release ON release.environment_id = environment.id AND release.number = environment.release "
            "WHERE instance_id = ? AND endpoint.state = 'serving' AND endpoint.digest != release.digest",
            instance,
        )
        if other:
            row.problems.append(f"{instance} is in rotation with another release")
        if not any(instance in message for message in self.store.events(began)):
            row.problems.append(f"no event names {instance}")

    def _out(self) -> set[str]:
        """Servers that are out of rotation."""
        serving = {each.instance for each in self.store.serving()}
        return {name for name, instance in self.instances().items() if instance not in serving}

    def _see_back(self, row: Row, since: float, *, away: bool) -> None:
        try:
            wait_for("five servers in line", self._line, BACK_LIMIT)
        except AssertionError as never:
            row.problems.append(f"{never}: {self.site.answers()}, {self.store.serving()}")
            return
        if away:
            row.back = round(time.monotonic() - since, 1)

    def _count(self, row: Row, report: dict[str, Any], first: float, struck: float) -> None:
        row.sent, row.failed = report["sent"], report["failed"]
        times = [report["started_at"] + failure["at"] for failure in report["failures"]]
        row.inside = sum(at <= struck + OFFSET for at in times)
        if row.failed > row.inside:
            kinds = [failure["kind"] for failure in report["failures"]]
            after = [f"{kind} at {at - first:+.1f} s" for at, kind in zip(times, kinds, strict=True)]
            row.problems.append(f"requests failed that were sent later: {report['kinds']} {after[:10]}")

    # Looks

    def in_line(self) -> str:
        return str(wait_for("five servers in line", self._line, BACK_LIMIT))

    def _line(self) -> str:
        """The release's version that all serve, in rotation and undisturbed; '' while that is not so."""
        if not self.store.one_release(len(self.servers)) or self.site.environment()["Status"] != "Ready":
            return ""
        answers = set(self.site.answers().values())
        return answers.pop() if len(answers) == 1 else ""

    def second(self) -> str:
        """The server of the second batch."""
        return list(self.instances())[1]

    def instances(self) -> dict[str, str]:
        """By server, in the order of batches."""
        rows = self.store.ask(
            "SELECT host.name, instance.id FROM instance JOIN host ON host.id = instance.host "
            "ORDER BY launched_at, instance.id"
        )
        return dict(rows)
