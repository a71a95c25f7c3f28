"""DescribeEvents: the one way in which clients follow an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control.context import Control
from beanpole.services.elasticbeanstalk import paging, shapes
from beanpole.store import environments, events
from beanpole.store.events import Event, Filter

if TYPE_CHECKING:
    from beanpole.aws.call import Call
    from beanpole.platforms.names import Platform


class Events:
    def __init__(self, control: Control) -> None:
        self._control = control

    def describe(self, call: Call) -> dict[str, Any]:
        """Newest first, and all of them unless a client asks for pages: the EB CLI reads the first answer only."""
        params = call.params
        if "PlatformArn" in params or "TemplateName" in params:
            return {"Events": []}
        since, until = params.get("StartTime"), params.get("EndTime")
        wanted = Filter(
            application=params.get("ApplicationName"),
            environment_id=params.get("EnvironmentId"),
            environment_name=params.get("EnvironmentName"),
            version_label=params.get("VersionLabel"),
            request_id=params.get("RequestId"),
            severity=params.get("Severity"),
            since=int(since.timestamp() * 1000) if since else None,
            until=int(until.timestamp() * 1000) if until else None,
        )
        with self._control.database.read() as db:
            found = events.listed(db, wanted)
            platforms = {
                each.id: shapes.the_platform(self._control, each.platform, each.platform_version)
                for each in environments.listed(db, deleted_since=0)
            }
        page, token = paging.page(found, params.get("NextToken"), params.get("MaxRecords"))
        return {"Events": [self._shape(each, platforms) for each in page], "NextToken": token}

    def _shape(self, event: Event, platforms: dict[str, Platform]) -> dict[str, Any]:
        platform = platforms.get(event.environment_id or "")
        return {
            "EventDate": shapes.moment(event.at),
            "Message": event.message,
            "Severity": event.severity,
            "ApplicationName": event.application,
            "EnvironmentName": event.environment_name,
            "VersionLabel": event.version_label,
            "RequestId": event.request_id,
            "PlatformArn": platform.arn(self._control.identity.region) if platform else None,
        }
