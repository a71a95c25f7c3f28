"""Saved configurations: make, change, read and delete them where clients do the same by S3 alone.

What lies in the bucket may be anybody's: it is read with bounds, and one that cannot be read is refused in one sentence
that names the object. A write names what it replaces, so that of two at once one is refused or done anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from beanpole.aws.errors import AwsError
from beanpole.control import compose, errors, quotas, settings
from beanpole.control.applications import NAME, check_name
from beanpole.control.base import Base
from beanpole.operations.placing import LOCATION
from beanpole.options import document, saved
from beanpole.options.document import DocumentError
from beanpole.options.validate import validate
from beanpole.store import applications, events, tags, templates
from beanpole.store.events import Subject

if TYPE_CHECKING:
    from beanpole.control.context import By, Control
    from beanpole.options.problem import Problem
    from beanpole.options.saved import Saved
    from beanpole.options.setting import Setting
    from beanpole.store.environments import Environment, OptionKey

TIER_TYPES = {"WebServer": "Standard", "Worker": "SQS/HTTP"}

NO_PLATFORM = "Unable to determine base for template pack (no solution stack)"
"""What the EB CLI takes as the question for a platform."""

ATTEMPTS = 5
"""How often a change is made anew because another one was quicker."""

_OVERTAKEN = ("PreconditionFailed", "NoSuchKey")


@dataclass(frozen=True)
class Template:
    application: str
    name: str
    saved: Saved
    etag: str
    modified_at: int
    """Milliseconds: when the object was written, by whatever way."""


@dataclass(frozen=True)
class NewTemplate:
    """`platform`: a branch name, in force before that of the base."""

    application: str
    name: str
    base: Base
    platform: str | None = None
    description: str | None = None
    changes: list[Setting] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)


def find(control: Control, application: str, name: str) -> Template:
    """Raises the API's error for one that is not there, or that cannot be read."""
    with control.database.read() as db:
        if applications.find(db, application) is None:
            raise errors.no_application(application)
    key = templates.key(application, name)
    row = control.objects.get(control.bucket, key) if NAME.fullmatch(name) else None
    if row is None:
        raise errors.no_template(name)
    try:
        if row.size > document.SIZE_LIMIT:
            raise DocumentError(f"the file has {row.size} bytes; the limit is {document.SIZE_LIMIT}")
        content = control.objects.read(control.bucket, key)
        if content is None:
            raise errors.no_template(name)
        found = saved.read(content)
    except DocumentError as problem:
        where = f"{key}, line {problem.line}" if problem.line else key
        raise errors.invalid(
            f"The Configuration Template {name} cannot be used: {where}: {problem}. Put a correct one there."
        ) from problem
    return Template(application, name, found, row.etag, row.modified_at)


def base_of(control: Control, template: Template) -> Base:
    return of_document(control, template.saved)


def of_document(control: Control, found: Saved) -> Base:
    """Raises the API's error for a platform that is not here."""
    return Base(
        settings=list(found.settings),
        platform=branch_of(control, found.platform) if found.platform else None,
        tier=found.tier,
    )


def of_environment(environment: Environment, stored: dict[OptionKey, str]) -> Base:
    """What somebody chose for it. Not what the files of its bundle set, which is the version's, nor where its instances
    live: that is decided for each environment by itself."""
    chosen = {key: value for key, value in stored.items() if key != LOCATION}
    return Base(settings=settings.as_settings(chosen), platform=environment.platform, tier=environment.tier)


def create(control: Control, by: By, wanted: NewTemplate) -> Template:
    """Raises the API's errors, and changes nothing when it does."""
    check_name(wanted.name, "Template name")
    platform = wanted.platform or wanted.base.platform
    if platform is None:
        raise errors.invalid(NO_PLATFORM)
    chosen = settings.after({each.key: each.value for each in wanted.base.settings}, wanted.changes, set())
    settings.refuse(problems(control, settings.as_settings(chosen)))
    now = control.database.now_ms()
    new = saved.Saved(
        settings=tuple(settings.as_settings(chosen)),
        description=wanted.description,
        created_at=now,
        modified_at=now,
        platform=_arn(control, platform),
        tier=wanted.base.tier or settings.CONTEXT.tier,
    )
    with control.database.read() as db:
        _refuse_gone(applications.find(db, wanted.application), wanted.application)
        if templates.exists(db, wanted.application, wanted.name):
            raise _taken(wanted.name)
        quotas.one_more_template(db)
    try:
        _put(control, wanted.application, wanted.name, new, "")
    except AwsError as problem:
        if problem.code == "PreconditionFailed":
            raise _taken(wanted.name) from problem
        raise
    with control.database.write() as db:
        if applications.find(db, wanted.application) is None:
            # It went while the object was written, and what it had was removed before.
            templates.remove_all(db, wanted.application)
            raise errors.no_application(wanted.application)
        tags.add(db, control.arn("configurationtemplate", wanted.application, wanted.name), wanted.tags)
        subject = Subject(application=wanted.application, request_id=by.request_id)
        events.say(db, control.database.now_ms(), subject, f"Created new Configuration Template: {wanted.name}")
    return find(control, wanted.application, wanted.name)


def update(
    control: Control,
    application: str,
    name: str,
    *,
    description: str | None,
    changes: list[Setting],
    removals: set[OptionKey],
) -> Template:
    """What the call does not name stays as it is. Raises the API's errors, and changes nothing when it does."""
    for _ in range(ATTEMPTS):
        before = find(control, application, name)
        chosen = settings.after({each.key: each.value for each in before.saved.settings}, changes, removals)
        settings.refuse(problems(control, settings.as_settings(chosen), changes))
        new = replace(
            before.saved,
            settings=tuple(settings.as_settings(chosen)),
            modified_at=control.database.now_ms(),
            description=before.saved.description if description is None else description,
        )
        try:
            _put(control, application, name, new, before.etag)
        except AwsError as problem:
            if problem.code not in _OVERTAKEN:
                raise
        else:
            return find(control, application, name)
    raise AwsError("OperationInProgressFailure", f"The Configuration Template {name} is being changed. Try again.")


def delete(control: Control, by: By, application: str, name: str) -> None:
    """The object goes, also one that cannot be read. Environments that were made from it keep their settings."""
    with control.database.read() as db:
        if applications.find(db, application) is None:
            raise errors.no_application(application)
        if not templates.exists(db, application, name):
            raise errors.no_template(name)
    control.objects.delete(control.bucket, templates.key(application, name))
    with control.database.write() as db:
        tags.add(db, control.arn("configurationtemplate", application, name), {})
        subject = Subject(application=application, request_id=by.request_id)
        events.say(db, control.database.now_ms(), subject, f"Deleted Configuration Template: {name}")


def problems(control: Control, chosen: list[Setting], given: list[Setting] | None = None) -> list[Problem]:
    """What is wrong with the settings of a saved configuration; with `given` only what is wrong with those."""
    merged = compose.settings_in_force(control, {each.key: each.value for each in chosen}, [])
    which = chosen if given is None else given
    return validate(control.registry, settings.CONTEXT, which, merged, origin="saved")


def branch_of(control: Control, platform: str) -> str:
    """The branch of a platform's name as files have it, whatever region and version an ARN in there is of: a saved
    configuration outlives both, and AWS's are welcome."""
    found = control.platforms.of_file(platform)
    if found is None:
        have = "; ".join(each.solution_stack for each in control.platforms)
        raise errors.invalid(f"No Solution Stack named '{platform}' found. This Beanpole has: {have}.")
    return found.branch


def _put(control: Control, application: str, name: str, new: Saved, expected: str) -> None:
    content = saved.write(new, TIER_TYPES.get(new.tier or "", ""))
    if len(content) > document.SIZE_LIMIT:
        size = f"{len(content)} bytes; the limit is {document.SIZE_LIMIT}"
        raise errors.invalid(f"The Configuration Template {name} would have {size}.")
    key = templates.key(application, name)
    control.objects.put(control.bucket, key, content, "application/x-yaml", expected=expected)


def _arn(control: Control, branch: str) -> str:
    platform = control.platforms.named(branch)
    if platform is None:
        raise errors.invalid(f"The platform '{branch}' is not on this machine any more. Choose another platform.")
    return platform.arn(control.identity.region)


def _refuse_gone(found: applications.Application | None, name: str) -> None:
    if found is None:
        raise errors.no_application(name)
    if found.deleting is not None:
        raise errors.invalid(f"Application {name} is being deleted.")


def _taken(name: str) -> AwsError:
    return errors.invalid(f"Configuration Template {name} already exists.")
