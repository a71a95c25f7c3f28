"""What a look at servers says: each with its findings, what blocks first. Nothing is changed there or here."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from beanpole.fleet.servers.connection import Connection
from beanpole.fleet.servers.facts import Facts
from beanpole.fleet.servers.failure import (
    ConnectionFailed,
    Dropped,
    HostKeyChanged,
    HostKeyUnknown,
    LoginRefused,
    Overdue,
    SessionRefused,
)
from beanpole.fleet.servers.findings import Finding, Known, Wanted, findings
from beanpole.fleet.servers.look import look, reach
from beanpole.fleet.servers.reading import FactsUnreadable

if TYPE_CHECKING:
    from beanpole.fleet.servers.address import Address
    from beanpole.store.hosts import Host

ALL_LIMIT = 50.0
"""Seconds for all that a report does: within what clients wait for an answer."""

FRESH_DISK = 2**30
"""Bytes that a server needs on which nothing of ours lies yet: programs, and a layer beside its successor."""

READY_DISK = 512 * 2**20
"""Bytes that one needs on which programs and layers lie already."""

_CODES: tuple[tuple[type[ConnectionFailed], str], ...] = (
    (HostKeyChanged, "host-key-changed"),
    (HostKeyUnknown, "host-key-unknown"),
    (LoginRefused, "login-refused"),
    (SessionRefused, "session-refused"),
    (Dropped, "dropped"),
    (Overdue, "overdue"),
)


@dataclass(frozen=True)
class Subject:
    """A server to look at, in the terms of one that is not added yet."""

    name: str
    address: Address
    host_key: str
    app_port: int
    ours: bool = False
    """It was made ready already."""


@dataclass(frozen=True)
class Report:
    """`facts` is None when the server could not be looked at; a finding says why."""

    name: str
    findings: tuple[Finding, ...]
    facts: Facts | None = None

    @property
    def blocked(self) -> bool:
        return any(finding.severity == "blocking" for finding in self.findings)

    def with_finding(self, finding: Finding) -> Report:
        return replace(self, findings=(finding, *self.findings))


async def report(subject: Subject, connection: Connection, wanted: Wanted) -> Report:
    """`wanted.skew` and `wanted.reach` are found out here."""
    try:
        async with asyncio.timeout(ALL_LIMIT):
            seen = await look(connection)
            reached = await reach(connection, seen.facts, subject.app_port)
    except ConnectionFailed as failure:
        return Report(subject.name, (of_failure(failure),))
    except FactsUnreadable as strange:
        cause, _, remedy = str(strange).partition(". ")
        return Report(subject.name, (Finding(code="no-shell", severity="blocking", cause=cause, remedy=remedy),))
    except TimeoutError:
        cause = f"{subject.address} was not looked at in {ALL_LIMIT:g} s"
        return Report(subject.name, (Finding(code="overdue", severity="blocking", cause=cause, remedy="Try again."),))
    asked = msgspec.structs.replace(wanted, skew=seen.skew, reach=reached)
    return Report(subject.name, findings(seen.facts, asked), seen.facts)


async def reports(
    subjects: list[tuple[Subject, Connection]], store: str, known: list[Host], *, force: bool = False
) -> list[Report]:
    """All at once, in the given order. `known`: the servers that were added, to tell two names for one host.

    Those of one call are compared with each other, too: the later one is the second name.
    """
    judged = await asyncio.gather(
        *(
            report(
                subject,
                connection,
                Wanted(
                    store=store,
                    port=subject.app_port,
                    disk=READY_DISK if subject.ours else FRESH_DISK,
                    host_key=subject.host_key,
                    known=tuple(_known(host) for host in known if host.name != subject.name),
                    force=force,
                ),
            )
            for subject, connection in subjects
        )
    )
    return _told_apart([subject for subject, _ in subjects], judged, {host.name for host in known})


def of_failure(failure: ConnectionFailed) -> Finding:
    code = next((code for kind, code in _CODES if isinstance(failure, kind)), "unreachable")
    return Finding(code=code, severity="blocking", cause=failure.cause, remedy=failure.remedy)


def read_facts(host: Host) -> Facts | None:
    """What the last look saw; None when there was none, or when another version of Beanpole wrote it down."""
    try:
        return msgspec.json.decode(host.facts, type=Facts) if host.facts else None
    except msgspec.DecodeError:
        return None


def _known(host: Host) -> Known:
    facts = json.loads(host.facts) if host.facts else {}
    return Known(
        name=host.name,
        machine_id=facts.get("machine_id"),
        boot_id=facts.get("boot_id"),
        host_key=host.host_key,
    )


def _told_apart(subjects: list[Subject], judged: list[Report], known: set[str]) -> list[Report]:
    """Of several new names for one machine all but the first are refused."""
    first: dict[str, str] = {}
    told = []
    for subject, each in zip(subjects, judged, strict=True):
        mark = (each.facts.machine_id or each.facts.boot_id) if each.facts is not None else None
        twin = first.get(mark) if mark is not None else None
        if twin is not None and subject.name not in known:
            cause, remedy = f"two names for one host: this is {twin}, too", f"Name it once: leave out {subject.name}."
            each = each.with_finding(Finding(code="same-host", severity="blocking", cause=cause, remedy=remedy))
        if mark is not None:
            first.setdefault(mark, subject.name)
        told.append(each)
    return told
