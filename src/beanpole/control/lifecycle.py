"""Which versions an application keeps: the rules as calls set them, and what they remove when a version is created."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from beanpole.aws.errors import AwsError
from beanpole.control import errors
from beanpole.policies import lifecycle
from beanpole.policies.lifecycle import Lifecycle, Made, MaxAge, MaxCount
from beanpole.store import applications, environments, events
from beanpole.store.events import Subject

if TYPE_CHECKING:
    from collections.abc import Mapping

    import sqlalchemy as sa

    from beanpole.control.context import By, Control
    from beanpole.store.applications import Application, Version

KEPT_AFTER_END_MS = 70 * lifecycle.DAY_MS
"""Ten weeks: for so long a terminated environment may be rebuilt, and needs its version for that."""

_ROLE = re.compile(r"arn:[^:\s]+:iam::\d{12}:role/\S+")


def changed(before: Lifecycle, params: Mapping[str, Any]) -> Lifecycle:
    """The rules with what a ResourceLifecycleConfig says. Raises the API's errors for rules that cannot be."""
    rules: Mapping[str, Any] = params.get("VersionLifecycleConfig") or {}
    after = Lifecycle(
        count=_with(before.count, rules.get("MaxCountRule"), MaxCount),
        age=_with(before.age, rules.get("MaxAgeRule"), MaxAge),
        service_role=params.get("ServiceRole", before.service_role),
    )
    if after.count.enabled and after.age.enabled:
        raise errors.invalid("Only one of MaxCountRule and MaxAgeRule can be enabled.")
    for name, number in (("MaxCount", after.count.max_count), ("MaxAgeInDays", after.age.max_age_in_days)):
        if number < 1:
            raise errors.invalid(f"Parameter '{name}' is invalid. Must be a non-zero positive number.")
    if after.service_role is None or not _ROLE.fullmatch(after.service_role):
        raise errors.invalid("Parameter ServiceRole is invalid. Must be a valid IAM Role ARN.")
    return after


def update(control: Control, name: str, params: Mapping[str, Any]) -> Application:
    """Set the rules of an application; versions go when the next one is created. Raises the API's errors."""
    with control.database.write() as db:
        found = applications.find(db, name)
        if found is None:
            raise errors.no_application(name)
        rules = changed(lifecycle.decode(found.lifecycle), params)
        now = control.database.now_ms()
        applications.update(db, name, lifecycle=lifecycle.encode(rules), updated_at=now)
        return msgspec.structs.replace(found, lifecycle=lifecycle.encode(rules), updated_at=now)


def apply(db: sa.Connection, control: Control, by: By, name: str, new: str) -> list[Version]:
    """In the transaction that added the version `new`: remove those that are over.

    Answers the ones whose bundles are to go, which `delete_sources` does after the transaction.
    """
    application = applications.find(db, name)
    rules = lifecycle.decode(application.lifecycle if application else None)
    if not (rules.count.enabled or rules.age.enabled):
        return []
    now = control.database.now_ms()
    there = {each.label: each for each in applications.versions(db, name)}
    made = [Made(each.label, each.created_at) for each in there.values()]
    gone = lifecycle.doomed(rules, made, new, _in_use(db, name, now), now)
    for label in gone:
        applications.remove_version(db, name, label)
        subject = Subject(application=name, version_label=label, request_id=by.request_id)
        words = f"Deleted Application Version: {label} (by the application's lifecycle rule)."
        events.say(db, now, subject, words)
    return [there[label] for label in gone] if rules.deletes_source else []


def delete_sources(control: Control, by: By, gone: list[Version]) -> None:
    """Delete the bundles of versions that are gone. One that stays is told in an event: the new version is there."""
    for version in gone:
        if version.bundle is None or version.bucket is None or version.key is None:
            continue
        try:
            control.objects.delete(version.bucket, version.key)
        except (AwsError, OSError) as problem:
            if isinstance(problem, AwsError) and problem.code in ("NoSuchBucket", "NoSuchKey"):
                continue
            words = errors.bundle_stays(version.bucket, version.key, str(problem)).message
            subject = Subject(application=version.application, version_label=version.label, request_id=by.request_id)
            with control.database.write() as db:
                events.say(db, control.database.now_ms(), subject, words, "WARN")


def _in_use(db: sa.Connection, name: str, now: int) -> set[str]:
    """Labels that an environment has, is getting, or had when it ended lately."""
    found = environments.listed(db, application=name, deleted_since=now - KEPT_AFTER_END_MS)
    return {each.version_label for each in found if each.version_label} | environments.labels_deploying(db, name)


def _with(before: Any, given: Mapping[str, Any] | None, kind: type[Any]) -> Any:
    return msgspec.convert(msgspec.to_builtins(before) | dict(given or {}), kind)
