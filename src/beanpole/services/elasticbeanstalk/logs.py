"""RequestEnvironmentInfo and RetrieveEnvironmentInfo: logs by way of the object store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from beanpole.control.context import By, Control, the_environment
from beanpole.services.elasticbeanstalk import shapes
from beanpole.store import environment_info

if TYPE_CHECKING:
    from beanpole.aws.call import Call
    from beanpole.control.logs import Logs

LINK_SECONDS = 900
"""How long an address of a log is good for; Elastic Beanstalk keeps logs that were asked for as long."""


class Links(Protocol):
    def presigned_url(self, bucket: str, key: str, call: Call, expires: int) -> str: ...


class EnvironmentInfo:
    def __init__(self, control: Control, logs: Logs, links: Links) -> None:
        self._control = control
        self._logs = logs
        self._links = links

    def request(self, call: Call) -> None:
        params = call.params
        by = By(call.caller.user, call.request_id)
        name, id_ = params.get("EnvironmentName"), params.get("EnvironmentId")
        self._logs.request(by, params["InfoType"], name=name, id_=id_)

    def retrieve(self, call: Call) -> dict[str, Any]:
        """For each instance the newest only: of several, clients show the last one listed."""
        params = call.params
        kind = params["InfoType"]
        with self._control.database.read() as db:
            environment = the_environment(db, name=params.get("EnvironmentName"), id_=params.get("EnvironmentId"))
            found = environment_info.listed(db, environment.id, kind)
        return {
            "EnvironmentInfo": [
                {
                    "InfoType": kind,
                    "Ec2InstanceId": sample.instance_id,
                    "SampleTimestamp": shapes.moment(sample.sampled_at),
                    "Message": self._links.presigned_url(self._control.bucket, sample.key, call, LINK_SECONDS),
                }
                for sample in found
            ]
        }
