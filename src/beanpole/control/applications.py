"""Applications and their versions: create, describe in events, delete."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from beanpole.aws.errors import AwsError
from beanpole.control import errors, lifecycle, processing, quotas, sample, terminate
from beanpole.control.context import By, Control
from beanpole.policies.lifecycle import Lifecycle, encode
from beanpole.store import applications, environments, events, tags
from beanpole.store.applications import Application, Version
from beanpole.store.bundles import BundleError, Manifest, check_and_unpack
from beanpole.store.events import Severity, Subject

if TYPE_CHECKING:
    import sqlalchemy as sa

SAMPLE = "Sample Application"
"""The label under which clients ask for an application of ours when they have none."""

_NOTHING_THERE = ("NoSuchBucket", "NoSuchKey")
"""What the object store says where a bundle has gone already."""

NAME = re.compile(r"[^/\x00-\x1f\x7f]{1,100}")
"""Of applications, versions and saved configurations."""


def create_application(
    control: Control,
    by: By,
    name: str,
    description: str | None,
    given_tags: Mapping[str, str] | None = None,
    lifecycle_config: Mapping[str, Any] | None = None,
) -> Application:
    check_name(name, "Application name")
    rules = encode(lifecycle.changed(Lifecycle(), lifecycle_config)) if lifecycle_config else None
    database = control.database
    with database.write() as db:
        if applications.find(db, name) is not None:
            raise errors.invalid(f"Application {name} already exists.")
        new = _add_application(db, control, by, name, description, rules)
        tags.add(db, control.arn("application", name), given_tags or {})
    return new


def _add_application(
    db: sa.Connection, control: Control, by: By, name: str, description: str | None, rules: str | None = None
) -> Application:
    quotas.one_more_application(db)
    now = control.database.now_ms()
    new = Application(name, description, now, now, lifecycle=rules)
    applications.add(db, new)
    subject = Subject(application=name, request_id=by.request_id)
    for words in ("createApplication is starting.", f"Created new Application: {name}"):
        events.say(db, now, subject, words)
    events.say(db, now, subject, "createApplication completed successfully.")
    return new


def delete_application(control: Control, by: By, name: str, *, force: bool) -> None:
    """Delete it with its versions; with `force` after terminating its environments, else refused while it has any."""
    database = control.database
    with database.write() as db:
        application = applications.find(db, name)
        if application is None:
            raise errors.no_application(name)
        if application.deleting is not None:
            raise errors.invalid(f"Application {name} is being deleted already.")
        live = environments.listed(db, application=name)
        if live and not force:
            raise AwsError(
                "OperationInProgressFailure",
                f"Unable to delete application {name} because it has {len(live)} running environment(s): "
                f"{', '.join(environment.name for environment in live)}.",
            )
        subject = Subject(application=name, request_id=by.request_id)
        events.say(db, database.now_ms(), subject, "deleteApplication is starting.")
        if not live:
            applications.remove(db, name)
            events.say(db, database.now_ms(), subject, "The application has been deleted successfully.")
            return
        applications.update(db, name, deleting=by.request_id)
        for environment in (each for each in live if each.status != "Terminating"):
            # A request id of its own: this one's "completed" would end the wait for the application's end.
            of_it = By(by.user, f"{by.request_id}-{environment.id}")
            terminate.submit(db, control, of_it, environment)
    control.wake()


def create_version(
    control: Control,
    by: By,
    *,
    application: str,
    label: str,
    description: str | None,
    source: tuple[str, str] | None,
    create_application_too: bool,
    process: bool,
    given_tags: Mapping[str, str] | None = None,
) -> Version:
    """Add a version from the bundle at `source` (bucket, key); without one, from our sample application.

    The bundle is checked and taken apart here, so that a version which exists can be deployed.
    """
    if create_application_too:
        check_name(application, "Application name")
    check_name(label, "Version label")
    with control.database.read() as db:
        _may_add(db, application, label, create_application_too)
    new = sample_version(control, application, label) if source is None else _of_bundle(control, application, source)
    new = msgspec.structs.replace(new, label=label, description=description)
    found = processing.wrong(control, new) if process else []
    if process:
        new = msgspec.structs.replace(new, status="FAILED" if found else "PROCESSED")
    with control.database.write() as db:
        # The bundle took its time: the application may have come or gone meanwhile, and the label may be taken.
        if _may_add(db, application, label, create_application_too) is None:
            _add_application(db, control, by, application, None)
        new = add_version(db, control, by, new, found)
        tags.add(db, control.arn("applicationversion", application, label), given_tags or {})
        gone = lifecycle.apply(db, control, by, application, label)
    lifecycle.delete_sources(control, by, gone)
    return new


def sample_version(control: Control, application: str, label: str = SAMPLE) -> Version:
    """The sample application as a version that is not added yet."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.zip"
        path.write_bytes(sample.bundle())
        manifest = _unpacked(control, path, label)
    return Version(
        application, label, None, control.bucket, "sample/application.zip", None, manifest, "UNPROCESSED", 0, 0
    )


def add_version(db: sa.Connection, control: Control, by: By, new: Version, wrong: Iterable[str] = ()) -> Version:
    """In the caller's transaction, which has found the application, and no version of that label.

    `wrong`: why it is FAILED, for whom looks at its events.
    """
    quotas.one_more_version(db)
    now = control.database.now_ms()
    new = msgspec.structs.replace(new, created_at=now, updated_at=now)
    applications.add_version(db, new)
    applications.update(db, new.application, updated_at=now)
    subject = Subject(application=new.application, version_label=new.label, request_id=by.request_id)
    events.say(db, now, subject, "createApplicationVersion is starting.")
    events.say(db, now, subject, f"Created new Application Version: {new.label}")
    for problem in wrong:
        events.say(db, now, subject, problem, "ERROR")
    if new.status != "UNPROCESSED":
        severity: Severity = "ERROR" if new.status == "FAILED" else "INFO"
        events.say(db, now, subject, f"Finished processing application version {new.label}: {new.status}.", severity)
    events.say(db, now, subject, "createApplicationVersion completed successfully.")
    return new


def delete_version(control: Control, by: By, application: str, label: str, *, with_bundle: bool) -> None:
    """Refused while an environment has it or is getting it. SourceBundleDeletionFailure: the version alone is gone."""
    database = control.database
    with database.write() as db:
        if applications.find(db, application) is None:
            raise errors.no_application(application)
        version = applications.find_version(db, application, label)
        if version is None:
            raise errors.no_version(label)
        using = {each.name for each in environments.listed(db, application=application, version_label=label)}
        using |= environments.names_deploying(db, application, label)
        if using:
            raise errors.invalid(
                f"Unable to delete application version {label} because it is deployed in: {', '.join(sorted(using))}."
            )
        applications.remove_version(db, application, label)
        subject = Subject(application=application, version_label=label, request_id=by.request_id)
        events.say(db, database.now_ms(), subject, f"Deleted Application Version: {label}")
    if with_bundle and version.bundle is not None and version.bucket is not None and version.key is not None:
        _delete_bundle(control, version.bucket, version.key)


def manifest_of(control: Control, version: Version) -> Manifest:
    return Manifest.from_json(control.blobs.path(version.manifest).read_text())


def _may_add(db: sa.Connection, name: str, label: str, create_too: bool) -> Application | None:
    """The application, None when it has to be made too. Raises the API's error when the version cannot be added."""
    found = applications.find(db, name)
    if found is None and not create_too:
        raise errors.no_application(name)
    if found is not None and found.deleting is not None:
        raise errors.invalid(f"Application {name} is being deleted.")
    if applications.find_version(db, name, label) is not None:
        raise errors.invalid(f"Application Version {label} already exists.")
    return found


def _of_bundle(control: Control, application: str, source: tuple[str, str]) -> Version:
    """The bundle as a version that has no label yet. Its files and their manifest are blobs from now on."""
    bucket, key = source
    found = control.objects.get(bucket, key)
    if found is None:
        raise errors.invalid(f"Unable to download from S3 location (Bucket: {bucket}  Key: {key}). Reason: Not Found")
    manifest = _unpacked(control, control.objects.content(found), key)
    return Version(application, "", None, bucket, key, found.sha256, manifest, "UNPROCESSED", 0, 0)


def _delete_bundle(control: Control, bucket: str, key: str) -> None:
    try:
        control.objects.delete(bucket, key)
    except AwsError as problem:
        if problem.code not in _NOTHING_THERE:
            raise errors.bundle_stays(bucket, key, problem.message) from problem
    except OSError as problem:
        raise errors.bundle_stays(bucket, key, problem.strerror or str(problem)) from problem


def _unpacked(control: Control, path: Path, name: str) -> str:
    try:
        manifest = check_and_unpack(path, control.blobs)
    except BundleError as problem:
        raise errors.invalid(f"The source bundle {name} cannot be used: {problem} {problem.remedy}") from problem
    return control.blobs.put([manifest.to_json().encode()]).sha256


def check_name(name: str, what: str) -> None:
    if not NAME.fullmatch(name):
        raise errors.invalid(f"{what} must have 1 to 100 characters and no slash: {name!r}")
