"""Carries out scenarios of matrix.py on one bed and one control plane, one after the other, and says what happened.

Each begins with five servers in line and ends with the fault over. Nothing is raised for what should have held and did
not: it is in the row's `problems`, so that one bad scenario says as much as a good one.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from beanpole_site import Settings, wait_for
from bed import Bed, Server
from matrix import HOLDS, LOCK, Cell, Row, held
from servers_site import ONE_BY_ONE, ServersSite

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
        self._rate = rate
        self._number = 1

    def begin(self) -> None:
        """Five servers with one instance each, on v1."""
        self.site.add(self.servers)
        created = self.site.create(held("v1"), instances=len(self.servers), settings=ONE_BY_ONE)
        assert created["Outcome"] == "succeeded", (created, self.site.log())

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
            began = self._now()
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
        row.events = self._events(began)
        return row

    # Parts of it, for other stories

    def deploy_held(self, settings: Settings) -> str:
        """Begins to deploy another version; the id of the request."""
        return self.site.begin(*self._version(), settings=settings)

    def until_begun(self, request: str, step: str, server: str) -> None:
        """The step of that key has begun, and waits on that server for the file that holds it."""
        hold = step.partition("/")[2].partition("-")[0]
        wait_for(f"step {step}", lambda: f"{step}/begin" in self._journal(request), HELD_LIMIT)
        wait_for(f"hold at {step}", lambda: self._there(server, f"{HOLDS}/{hold}.reached"), HELD_LIMIT)

    def digest(self) -> str:
        """Of the environment's release."""
        return str(
            self._ask(
                "SELECT digest FROM release JOIN environment ON environment.id = environment_id "
                "AND release.number = environment.release"
            )[0][0]
        )

    def running(self, name: str) -> set[str]:
        """Digests of the releases whose web process runs on a server, by its units."""
        units = self.bed.exec(name, "systemctl", "list-units", "--plain", "--no-legend", "beanpole-i-*-web-*")
        found = [line.split() for line in units.splitlines() if line]
        return {unit.removesuffix(".service").rpartition("-")[2] for unit, _, active, *_ in found if active == "active"}

    def answers(self, but: Collection[str] = ()) -> dict[str, str]:
        """What each server answers, past the edge."""
        return self._answers([each for each in self.servers if each.name not in but])

    def silent(self) -> list[str]:
        """The instances of which it is known that they do not answer."""
        return [name for (name,) in self._ask("SELECT id FROM instance WHERE silent_since IS NOT NULL")]

    def said(self, request: str) -> list[str]:
        return [words for (words,) in self._ask("SELECT message FROM event WHERE request_id = ?", request)]

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
        return label, held(label)

    def _until_held(self, cell: Cell, victim: str, request: str) -> None:
        instance = self.instances()[victim]

        def reached() -> bool:
            journal = self._journal(request)
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
        new = self.label(ended["Release"])
        out = self._out()
        may_be_out = {victim} if cell.fault.silent or cell.fault.costly else set()
        answers = self.answers(but={*out, *(may_be_out if cell.fault.silent else ())})
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
        other = self._ask(
            "SELECT endpoint.digest FROM endpoint JOIN instance ON instance.id = instance_id "
            "JOIN environment ON environment.id = instance.environment_id "
            "JOIN release ON release.environment_id = environment.id AND release.number = environment.release "
            "WHERE instance_id = ? AND endpoint.state = 'serving' AND endpoint.digest != release.digest",
            instance,
        )
        if other:
            row.problems.append(f"{instance} is in rotation with another release")
        if not any(instance in message for message in self._events(began)):
            row.problems.append(f"no event names {instance}")

    def _out(self) -> set[str]:
        """Servers that are out of rotation."""
        serving = {instance for instance, _, _ in self._rows()}
        return {name for name, instance in self.instances().items() if instance not in serving}

    def _see_back(self, row: Row, since: float, *, away: bool) -> None:
        try:
            wait_for("five servers in line", self._line, BACK_LIMIT)
        except AssertionError as never:
            row.problems.append(f"{never}: {self._answers(self.servers)}, {self._rows()}")
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
        busy = self._ask("SELECT count(*) FROM operation WHERE phase != 'done'")[0][0]
        rows = self._rows()
        if busy or len({digest for _, digest, _ in rows}) != 1 or any(since for _, _, since in rows):
            return ""
        if len(rows) != len(self.servers) or self.site.environment()["Status"] != "Ready":
            return ""
        answers = set(self._answers(self.servers).values())
        return answers.pop() if len(answers) == 1 else ""

    def _rows(self) -> list[tuple[str, str, int | None]]:
        """Of each instance in rotation: its id, the digest of what serves, since when it is silent."""
        return self._ask(
            "SELECT instance.id, digest, silent_since FROM instance JOIN endpoint ON instance_id = instance.id "
            "WHERE endpoint.state = 'serving'"
        )

    def _answers(self, servers: list[Server]) -> dict[str, str]:
        with ThreadPoolExecutor(len(servers)) as threads:
            return dict(zip([each.name for each in servers], threads.map(self.site._answer, servers), strict=True))

    def second(self) -> str:
        """The server of the second batch."""
        return list(self.instances())[1]

    def instances(self) -> dict[str, str]:
        """By server, in the order of batches."""
        rows = self._ask(
            "SELECT host.name, instance.id FROM instance JOIN host ON host.id = instance.host "
            "ORDER BY launched_at, instance.id"
        )
        return dict(rows)

    def _journal(self, request: str) -> set[str]:
        return {
            key
            for (key,) in self._ask(
                "SELECT key FROM journal JOIN operation ON operation.id = operation_id WHERE request_id = ?", request
            )
        }

    def label(self, release: int) -> str:
        return str(self._ask("SELECT version_label FROM release WHERE number = ?", release)[0][0])

    def _events(self, began: int) -> list[str]:
        return [f"{severity} {message}" for severity, message in self._ask(
            "SELECT severity, message FROM event WHERE id > ? ORDER BY id", began
        )]  # fmt: skip

    def _now(self) -> int:
        """The number of the last event."""
        return int(self._ask("SELECT coalesce(max(id), 0) FROM event")[0][0])

    def _ask(self, query: str, *values: object) -> list[Any]:
        with contextlib.closing(sqlite3.connect(f"file:{self.site.home.database}?mode=ro", uri=True, timeout=10)) as db:
            return db.execute(query, values).fetchall()
