"""What health writes down: each environment's status and causes, its transitions and its agents' events, as events.

The event log itself says what was told last, so that a restart neither repeats a transition nor forgets one. How far
an agent's events are told is written in the transaction that tells them: each is told exactly once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import sqlalchemy as sa

from beanpole.health.report import AgentEvent
from beanpole.health.rules.transition import PREFIX, Said, said_by, transition
from beanpole.store import events
from beanpole.store.environments import Environment
from beanpole.store.events import SEVERITIES, Severity, Subject
from beanpole.store.rows import begins
from beanpole.store.schema import environment, event, fact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from beanpole.health.views import EnvironmentView
    from beanpole.store.database import Database

AT_ONCE = 50
"""Events of one agent that are told in one cycle; the others follow in the next ones."""

_FACT = "agent-events:"


class Heard(msgspec.Struct, frozen=True):
    """Events of one instance's agent."""

    instance: str
    environment: Environment
    events: tuple[AgentEvent, ...]


class Records:
    """Not for use from several threads at once."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._said: dict[str, Said] = {}
        self._seen: dict[str, int] | None = None

    def seen(self, db: sa.Connection) -> dict[str, int]:
        """The number of the last event that was told, by instance id."""
        if self._seen is None:
            query = sa.select(fact.c.name, fact.c.value).where(begins(fact.c.name, _FACT))
            self._seen = {name.removeprefix(_FACT): int(value) for name, value in db.execute(query)}
        return self._seen

    def tell(self, heard: Iterable[Heard]) -> None:
        """Write the agents' events as events of their environments."""
        pending = [each for each in heard if each.events]
        if not pending:
            return
        now = self._database.now_ms()
        told: dict[str, int] = {}
        with self._database.write() as db:
            for each in pending:
                told[each.instance] = self._tell(db, each, now)
        # Only what is committed is remembered.
        self._seen = (self._seen or {}) | told

    def forget_agents(self, instances: set[str]) -> None:
        """Drop what is written of instances other than these: they are gone."""
        gone = (self._seen or {}).keys() - instances
        if not gone:
            return
        with self._database.write() as db:
            for instance in gone:
                db.execute(fact.delete().where(fact.c.name == f"{_FACT}{instance}"))
        self._seen = {instance: seq for instance, seq in (self._seen or {}).items() if instance in instances}

    def put(self, environments: Iterable[Environment], views: Mapping[str, EnvironmentView], now: float) -> None:
        """Write what changed of the environments' health, and tell the transitions that are due."""
        found = list(environments)
        self._learn_said(found)
        changes = []
        for each in found:
            health = views[each.id].health
            causes = msgspec.json.encode(health.causes).decode()
            news = transition(self._said[each.id], health, now)
            if news is not None or (each.health, each.causes) != (health.status, causes):
                changes.append((each, health.status, causes, news))
        if not changes:
            return
        said: dict[str, Said] = {}
        with self._database.write() as db:
            for each, status, causes, news in changes:
                live = environment.update().where(environment.c.id == each.id, environment.c.terminated_at.is_(None))
                if db.execute(live.values(health=status, causes=causes)).rowcount and news is not None:
                    at = events.say(db, int(now * 1000), _subject(each), news.message, news.severity)
                    said[each.id] = Said(status, at / 1000)
        self._said |= said

    def _learn_said(self, found: list[Environment]) -> None:
        known = {each.id: self._said[each.id] for each in found if each.id in self._said}
        new = [each.id for each in found if each.id not in known]
        if new:
            with self._database.read() as db:
                known |= {environment_id: _last_said(db, environment_id) for environment_id in new}
        self._said = known

    def _tell(self, db: sa.Connection, heard: Heard, now: int) -> int:
        name = f"{_FACT}{heard.instance}"
        last = db.execute(sa.select(fact.c.value).where(fact.c.name == name)).scalar()
        seq = int(last) if last is not None else 0
        news = sorted((each for each in heard.events if each.seq > seq), key=lambda each: each.seq)
        for each in news[:AT_ONCE]:
            message = each.line(heard.instance, now / 1000)
            events.say(db, now, _subject(heard.environment), message, _severity(each.severity))
            seq = each.seq
        db.execute(fact.delete().where(fact.c.name == name))
        db.execute(fact.insert().values(name=name, value=str(seq)))
        return seq


def _last_said(db: sa.Connection, environment_id: str) -> Said:
    query = (
        sa.select(event.c.message, event.c.at)
        .where(event.c.environment_id == environment_id, begins(event.c.message, PREFIX))
        .order_by(event.c.at.desc())
        .limit(1)
    )
    found = db.execute(query).first()
    return said_by(found[0], found[1] / 1000) if found is not None else Said()


def _subject(of: Environment) -> Subject:
    """Without a request id: clients that follow a request are told of that request alone."""
    return Subject(of.application, of.id, of.name, of.version_label)


def _severity(said: str) -> Severity:
    """The agent's own; WARN for one that we do not know."""
    return next((severity for severity in SEVERITIES if severity == said), "WARN")
