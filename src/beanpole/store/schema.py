"""Every table, in the order in which a reader meets the nouns.

Times are whole milliseconds since 1970 (UTC) in BIGINT columns named `*_at`; documents are JSON in TEXT. Texts are
compared and sorted by their bytes, as SQLite does it; migrations/env.py sees to that in PostgreSQL. Values of
environment properties, which may be secrets, are in `option` and `release` alone: plans, journals and events refer to a
release by number.
"""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData()

_time = sa.BigInteger
_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # whose INTEGER is as large, and counts by itself


def _text(name: str, *more: object, null: bool = False, **options: object) -> sa.Column[str]:
    return sa.Column(name, sa.Text, *more, nullable=null, **options)  # type: ignore[arg-type]


fact = sa.Table(
    "fact",  # what this store is: id, account, region, counters
    metadata,
    _text("name", primary_key=True),
    _text("value"),
)

access_key = sa.Table(
    "access_key",
    metadata,
    _text("id", primary_key=True),
    _text("secret"),
    _text("user"),
    sa.Column("created_at", _time, nullable=False),
)

audit = sa.Table(
    "audit",  # one row for each call that may change something: who, from where, what, how it ended
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("at", _time, nullable=False),
    _text("user"),
    _text("source"),
    _text("service"),
    _text("operation"),
    _text("subject"),
    _text("request_id"),
    _text("outcome"),
)

# -- S3 ------------------------------------------------------------------------------------------------------------

bucket = sa.Table("bucket", metadata, _text("name", primary_key=True), sa.Column("created_at", _time, nullable=False))

object_ = sa.Table(
    "object",
    metadata,
    _text("bucket", sa.ForeignKey("bucket.name"), primary_key=True),
    _text("key", primary_key=True),
    _text("sha256"),
    sa.Column("size", sa.BigInteger, nullable=False),
    _text("etag"),
    _text("content_type", null=True),
    sa.Column("modified_at", _time, nullable=False),
    _text("details", server_default="{}"),  # JSON, see services/s3/details.py
    sa.Index("object_sha256", "sha256"),
)

upload = sa.Table(
    "upload",
    metadata,
    _text("id", primary_key=True),
    _text("bucket", sa.ForeignKey("bucket.name")),
    _text("key"),
    _text("content_type", null=True),
    sa.Column("created_at", _time, nullable=False),
    _text("details", server_default="{}"),  # of the object that it becomes
)

upload_part = sa.Table(
    "upload_part",
    metadata,
    _text("upload_id", sa.ForeignKey("upload.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    _text("sha256"),
    sa.Column("size", sa.BigInteger, nullable=False),
    _text("etag"),
)

# -- IAM -----------------------------------------------------------------------------------------------------------

iam_role = sa.Table(
    "iam_role",
    metadata,
    _text("name", primary_key=True),
    _text("id"),
    _text("path"),
    _text("description", null=True),
    _text("trust_policy"),
    sa.Column("created_at", _time, nullable=False),
)

iam_role_policy = sa.Table(
    "iam_role_policy",
    metadata,
    _text("role", sa.ForeignKey("iam_role.name", ondelete="CASCADE"), primary_key=True),
    _text("policy_arn", primary_key=True),
)

iam_instance_profile = sa.Table(
    "iam_instance_profile",
    metadata,
    _text("name", primary_key=True),
    _text("id"),
    _text("path"),
    _text("role", sa.ForeignKey("iam_role.name"), null=True),
    sa.Column("created_at", _time, nullable=False),
)

# -- Elastic Beanstalk ---------------------------------------------------------------------------------------------

application = sa.Table(
    "application",
    metadata,
    _text("name", primary_key=True),
    _text("description", null=True),
    _text("deleting", null=True),  # request id of the call that deletes it, once its environments are gone
    _text("lifecycle", null=True),  # JSON, see policies/lifecycle.py; null: every version is kept
    sa.Column("created_at", _time, nullable=False),
    sa.Column("updated_at", _time, nullable=False),
)

version = sa.Table(
    "version",
    metadata,
    _text("application", sa.ForeignKey("application.name"), primary_key=True),
    _text("label", primary_key=True),
    _text("description", null=True),
    _text("bucket", null=True),
    _text("key", null=True),
    _text("bundle", null=True),  # SHA-256 of the zip; null: the sample application
    _text("manifest"),  # SHA-256 of the manifest document, see store/bundles.py
    _text("status"),
    sa.Column("created_at", _time, nullable=False),
    sa.Column("updated_at", _time, nullable=False),
)

environment = sa.Table(
    "environment",
    metadata,
    _text("id", primary_key=True),
    _text("name"),
    _text("application"),  # no foreign key: the record of a terminated environment outlives its application
    _text("description", null=True),
    _text("cname_prefix", null=True),  # of a terminated one: the name that it had, which is free again
    _text("tier"),
    _text("platform"),  # branch name, see platforms/
    _text("platform_version", server_default="4.1.0"),  # of that branch, of the last release that passed
    _text("status"),
    _text("health"),  # HealthStatus; the colour follows from it
    _text("causes"),  # JSON list of words
    sa.Column("desired", sa.Integer, nullable=False),
    # No foreign keys for the next three: a release names its environment, and versions may be deleted.
    _text("version_label", null=True),  # of the last release that passed
    sa.Column("release", sa.Integer, nullable=True),  # number of the last release that passed
    sa.Column("created_at", _time, nullable=False),
    sa.Column("updated_at", _time, nullable=False),
    sa.Column("terminated_at", _time, nullable=True),
    sa.Column("terminate_at", _time, nullable=True),  # when the control plane is to terminate it
    sa.Index(
        "environment_name_live",
        "name",
        unique=True,
        sqlite_where=sa.text("terminated_at IS NULL"),
        postgresql_where=sa.text("terminated_at IS NULL"),
    ),
    sa.Index(
        "environment_cname",
        "cname_prefix",
        unique=True,
        sqlite_where=sa.text("terminated_at IS NULL"),
        postgresql_where=sa.text("terminated_at IS NULL"),
    ),
)

link = sa.Table(
    "link",  # an environment of a group and those that it depends on
    metadata,
    _text("environment_id", sa.ForeignKey("environment.id"), primary_key=True),
    _text("name", primary_key=True),  # the environment property that has the other's address
    _text("target"),  # the other's name
)

tag = sa.Table(
    "tag",
    metadata,
    _text("resource", primary_key=True),  # ARN
    _text("key", primary_key=True),
    _text("value"),
)

option = sa.Table(
    "option",  # what calls and saved configurations set; file values and defaults are not stored
    metadata,
    _text("environment_id", sa.ForeignKey("environment.id"), primary_key=True),
    _text("namespace", primary_key=True),
    _text("name", primary_key=True),
    _text("resource", primary_key=True),  # '' for most
    _text("value"),
)

release = sa.Table(
    "release",  # version + settings + dependency layer; only ever added
    metadata,
    _text("environment_id", sa.ForeignKey("environment.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    _text("version_label"),
    _text("digest"),  # of all that makes it different; equal digests are the same thing on an instance
    _text("content"),  # JSON, see control/releases.py
    _text("settings"),  # JSON: the stored option settings at that time, as a return must restore them
    sa.Column("created_at", _time, nullable=False),
    sa.Column("passed_at", _time, nullable=True),
)

host = sa.Table(
    "host",  # a server that instances can live on
    metadata,
    _text("id", primary_key=True),
    _text("name", unique=True),
    _text("address"),  # JSON, see fleet/servers/address.py
    _text("host_key"),
    sa.Column("app_port", sa.Integer, nullable=False),
    _text("app_address", null=True),  # None: every address of the server
    _text("labels"),  # JSON list
    _text("state"),  # joining, ready, leaving
    _text("python", null=True),
    _text("facts", null=True),  # JSON, see fleet/servers/facts.py
    sa.Column("checked_at", _time, nullable=True),
    sa.Column("added_at", _time, nullable=False),
)

instance = sa.Table(
    "instance",
    metadata,
    _text("id", primary_key=True),
    _text("environment_id", sa.ForeignKey("environment.id")),
    _text("state"),  # launching, running, terminating
    _text("address"),
    sa.Column("release", sa.Integer, nullable=True),  # number of the release that serves here
    sa.Column("launched_at", _time, nullable=False),
    sa.Column("silent_since", _time, nullable=True),  # its agent does not answer since then; null: it does
    _text("host", null=True),  # id of the server that it lives on; null: this machine
)

endpoint = sa.Table(
    "endpoint",  # where the balancer may send requests: one row for each release that runs on an instance
    metadata,
    _text("instance_id", sa.ForeignKey("instance.id"), primary_key=True),
    _text("digest", primary_key=True),
    _text("address"),
    sa.Column("port", sa.Integer, nullable=False),
    _text("state"),  # serving, draining
    sa.Column("since", _time, nullable=False),  # when it entered that state
    _text("health"),  # JSON: how the balancer checks it, as its release's settings say
    sa.Column("files_port", sa.Integer, nullable=True),  # where its static files are served, if it has any
    sa.Column("files_paths", sa.Text, nullable=True),  # the paths below which they are, separated by blanks
    sa.Column("weight", sa.Integer, nullable=False, server_default="1"),  # its share; 0: it is checked and gets nothing
    _text("pin", null=True),  # JSON: the header or cookie by which testers choose it
)

operation = sa.Table(
    "operation",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    _text("environment_id", sa.ForeignKey("environment.id")),
    _text("kind"),  # create, update, rollback, terminate, …
    _text("origin"),  # user, system
    _text("actor"),
    _text("request_id"),
    sa.Column("release", sa.Integer, nullable=True),  # the release that this operation brings
    sa.Column("previous", sa.Integer, nullable=True),  # the one to return to
    sa.Column("desired", sa.Integer, nullable=True),  # number of instances once it has succeeded; null: as before
    _text("plan"),
    _text("return_plan", null=True),
    _text("phase"),  # forward, return, done
    _text("outcome", null=True),  # succeeded, failed, aborted
    _text("error", null=True),  # JSON, see operations/blame.py
    sa.Column("abort", sa.Boolean, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    _text("owner", null=True),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("expires_at", _time, nullable=False),
    sa.Column("deadline_at", _time, nullable=False),
    sa.Column("created_at", _time, nullable=False),
    sa.Column("finished_at", _time, nullable=True),
    _text("account", null=True),  # JSON, see operations/account.py; outlives plan and journal
    sa.Column("committed", sa.Boolean, nullable=False, server_default=sa.false()),  # there is no way back any more
    sa.Column("promoted", sa.Boolean, nullable=False, server_default=sa.false()),  # the rest of its watch is skipped
    sa.Index(
        "operation_open_user",
        "environment_id",
        unique=True,
        sqlite_where=sa.text("phase <> 'done' AND origin = 'user'"),
        postgresql_where=sa.text("phase <> 'done' AND origin = 'user'"),
    ),
)

is_open = operation.c.phase != sa.literal_column("'done'")
"""Of an operation. Written out, and no parameter: where one may decide on a partial index, SQLite plans the statement
anew each time that it is bound, which takes ten times as long as to execute it."""

journal = sa.Table(
    "journal",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("operation_id", _id, sa.ForeignKey("operation.id"), nullable=False),
    _text("key"),
    sa.Column("epoch", sa.BigInteger, nullable=False),
    sa.Column("at", _time, nullable=False),
    _text("result"),
    sa.UniqueConstraint("operation_id", "key"),
)

event = sa.Table(
    "event",
    metadata,
    sa.Column("id", _id, primary_key=True, autoincrement=True),
    sa.Column("at", _time, nullable=False, unique=True),  # strictly growing, in commit order
    _text("application", null=True),
    _text("environment_id", null=True),
    _text("environment_name", null=True),
    _text("version_label", null=True),
    _text("request_id", null=True),
    _text("severity"),
    _text("message"),
    sa.Index("event_request", "request_id"),
    sa.Index("event_environment", "environment_name", "at"),
)

environment_info = sa.Table(
    "environment_info",  # log requests: the newest for each instance and kind
    metadata,
    _text("environment_id", sa.ForeignKey("environment.id"), primary_key=True),
    _text("kind", primary_key=True),
    _text("instance_id", primary_key=True),
    _text("key"),
    sa.Column("sampled_at", _time, nullable=False),
)
