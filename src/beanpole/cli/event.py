"""Events of the API: fetched oldest first, and as lines."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beanpole.cli.terminal import printable

if TYPE_CHECKING:
    from beanpole.cli.client import Api

STEP = dt.timedelta(milliseconds=1)
"""Event times differ by at least this much."""


@dataclass(frozen=True)
class Event:
    at: dt.datetime
    severity: str
    message: str
    environment: str = ""

    def line(self) -> str:
        return f"{clock(self.at)}  {self.severity:<7}  {printable(self.message)}"

    def as_json(self) -> dict[str, Any]:
        return {"at": self.at, "severity": self.severity, "message": self.message, "environment": self.environment}


def clock(at: dt.datetime) -> str:
    """The time of day where the reader is."""
    return f"{at.astimezone():%H:%M:%S}"


class Events:
    """What has been said since the last look. `subject` are filters of DescribeEvents."""

    def __init__(self, api: Api, since: dt.datetime | None = None, **subject: str) -> None:
        self._api = api
        self._subject = subject
        self._since = since

    def latest(self, count: int | None = None) -> list[Event]:
        """Oldest first; with `count` the last so many, which is meant for the first look."""
        more: dict[str, Any] = {"StartTime": self._since + STEP} if self._since else {}
        more |= {"MaxRecords": count} if count is not None else {}
        answer = self._api.beanstalk("DescribeEvents", **self._subject, **more)
        found = [event_of(each) for each in reversed(answer.get("Events", []))]
        if found:
            self._since = found[-1].at
        return found


def event_of(answer: dict[str, Any]) -> Event:
    return Event(
        answer["EventDate"], answer.get("Severity", "INFO"), answer["Message"], answer.get("EnvironmentName", "")
    )
