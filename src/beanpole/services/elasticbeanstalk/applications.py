"""Operations on applications and their versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.control import applications as verbs
from beanpole.control import errors, lifecycle
from beanpole.control.context import By, Control
from beanpole.services.elasticbeanstalk import paging, shapes, tags
from beanpole.store import applications, templates

if TYPE_CHECKING:
    from beanpole.aws.call import Call


class Applications:
    def __init__(self, control: Control) -> None:
        self._control = control

    def create(self, call: Call) -> dict[str, Any]:
        by = By(call.caller.user, call.request_id)
        new = verbs.create_application(
            self._control,
            by,
            call.params["ApplicationName"],
            call.params.get("Description"),
            tags.given(call.params.get("Tags", []), tags.LIMIT),
            call.params.get("ResourceLifecycleConfig"),
        )
        return {"Application": shapes.application(self._control, new, [], [])}

    def describe(self, call: Call) -> dict[str, Any]:
        names = call.params.get("ApplicationNames") or None
        with self._control.database.read() as db:
            saved = templates.names(db)
            found = [
                shapes.application(self._control, each, applications.versions(db, each.name), saved[each.name])
                for each in applications.listed(db, names)
            ]
        return {"Applications": found}

    def update(self, call: Call) -> dict[str, Any]:
        database, name = self._control.database, call.params["ApplicationName"]
        with database.write() as db:
            if applications.find(db, name) is None:
                raise errors.no_application(name)
            if "Description" in call.params:
                description = call.params["Description"]
                applications.update(db, name, description=description, updated_at=database.now_ms())
            found = applications.listed(db, [name])[0]
            versions, saved = applications.versions(db, name), templates.names(db)[name]
            return {"Application": shapes.application(self._control, found, versions, saved)}

    def update_lifecycle(self, call: Call) -> dict[str, Any]:
        params = call.params
        found = lifecycle.update(self._control, params["ApplicationName"], params["ResourceLifecycleConfig"])
        return {"ApplicationName": found.name, "ResourceLifecycleConfig": shapes.lifecycle(found)}

    def delete(self, call: Call) -> None:
        force = call.params.get("TerminateEnvByForce", False)
        by = By(call.caller.user, call.request_id)
        verbs.delete_application(self._control, by, call.params["ApplicationName"], force=force)

    def create_version(self, call: Call) -> dict[str, Any]:
        params = call.params
        if "SourceBuildInformation" in params or "BuildConfiguration" in params:
            raise errors.invalid("Beanpole builds nothing from a repository: give a SourceBundle.")
        source = params.get("SourceBundle")
        if source is not None and not (source.get("S3Bucket") and source.get("S3Key")):
            raise errors.missing("SourceBundle needs S3Bucket and S3Key.")
        new = verbs.create_version(
            self._control,
            By(call.caller.user, call.request_id),
            application=params["ApplicationName"],
            label=params["VersionLabel"],
            description=params.get("Description"),
            source=(source["S3Bucket"], source["S3Key"]) if source else None,
            create_application_too=params.get("AutoCreateApplication", False),
            process=params.get("Process", False),
            given_tags=tags.given(params.get("Tags", []), tags.LIMIT),
        )
        return {"ApplicationVersion": shapes.version(self._control, new)}

    def describe_versions(self, call: Call) -> dict[str, Any]:
        params = call.params
        with self._control.database.read() as db:
            found = applications.versions(db, params.get("ApplicationName"), params.get("VersionLabels") or None)
        page, token = paging.page(found, params.get("NextToken"), params.get("MaxRecords"))
        return {"ApplicationVersions": [shapes.version(self._control, each) for each in page], "NextToken": token}

    def update_version(self, call: Call) -> dict[str, Any]:
        database = self._control.database
        application, label = call.params["ApplicationName"], call.params["VersionLabel"]
        with database.write() as db:
            if applications.find(db, application) is None:
                raise errors.no_application(application)
            if applications.find_version(db, application, label) is None:
                raise errors.no_version(label)
            if "Description" in call.params:
                columns = {"description": call.params["Description"], "updated_at": database.now_ms()}
                applications.update_version(db, application, label, **columns)
            found = applications.versions(db, application, [label])[0]
        return {"ApplicationVersion": shapes.version(self._control, found)}

    def delete_version(self, call: Call) -> None:
        verbs.delete_version(
            self._control,
            By(call.caller.user, call.request_id),
            call.params["ApplicationName"],
            call.params["VersionLabel"],
            with_bundle=call.params.get("DeleteSourceBundle", False),
        )
