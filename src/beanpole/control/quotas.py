"""How many of each there may be: Elastic Beanstalk's quotas, asked in the transaction that adds one more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from beanpole.aws.errors import AwsError
from beanpole.store import applications, environments, templates

if TYPE_CHECKING:
    import sqlalchemy as sa

APPLICATIONS = 75
VERSIONS = 1000
"""Of all applications together, as the next two."""
ENVIRONMENTS = 200
TEMPLATES = 2000


def one_more_application(db: sa.Connection) -> None:
    _refuse(len(applications.listed(db)), APPLICATIONS, "Applications", "application", "Delete one first.")


def one_more_version(db: sa.Connection) -> None:
    remedy = "Delete some, or let lifecycle rules do that: `eb appversion lifecycle`."
    _refuse(applications.count_versions(db), VERSIONS, "ApplicationVersions", "application version", remedy)


def more_environments(db: sa.Connection, number: int = 1) -> None:
    there = len(environments.listed(db)) + number - 1
    _refuse(there, ENVIRONMENTS, "Environments", "environment", "Terminate one first.")


def one_more_template(db: sa.Connection) -> None:
    there = sum(map(len, templates.names(db).values()))
    _refuse(there, TEMPLATES, "ConfigurationTemplates", "configuration template", "Delete one first.")


def _refuse(there: int, limit: int, plural: str, noun: str, remedy: str) -> None:
    if there >= limit:
        raise AwsError(f"TooMany{plural}Exception", f"There are {there} {noun}s and may be {limit}. {remedy}")
