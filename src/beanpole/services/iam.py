"""IAM as far as the EB CLI needs it to create an environment: roles, instance profiles, attached policies.

They are kept as they were sent and grant nothing here: whoever has an access key may do everything. They are real all
the same, since clients look for what they made before.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import sqlalchemy as sa

from beanpole.aws.call import Handler, Service
from beanpole.aws.errors import AwsError
from beanpole.aws.models import load_model
from beanpole.store.database import Database
from beanpole.store.rows import begins
from beanpole.store.schema import iam_instance_profile, iam_role, iam_role_policy

MOST_POLICIES = 10
"""Policies of one role. IAM's own limit."""

PAGE = 100
"""Entries of a list when the client does not say how many. IAM's own default."""

_POLICY_ARN = re.compile(r"arn:aws[a-z-]*:iam::(aws|[0-9]{12}):policy/([!-~]*/)?[\w+=,.@-]+", re.ASCII)
_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

Params = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Page:
    """Where a list goes on, as its answer says it."""

    truncated: bool
    marker: str | None

    def members(self) -> dict[str, Any]:
        return {"IsTruncated": self.truncated, "Marker": self.marker}


class Iam:
    """The handlers of IAM over the tables iam_*. `account` is the twelve digits in ARNs."""

    def __init__(self, database: Database, account: str) -> None:
        self._database = database
        self._account = account

    def service(self) -> Service:
        """As the gateway wants it."""
        handlers: dict[str, Handler] = {
            "CreateRole": lambda call: self.create_role(call.params),
            "GetRole": lambda call: self.get_role(call.params),
            "ListRoles": lambda call: self.list_roles(call.params),
            "DeleteRole": lambda call: self.delete_role(call.params),
            "AttachRolePolicy": lambda call: self.attach_role_policy(call.params),
            "DetachRolePolicy": lambda call: self.detach_role_policy(call.params),
            "ListAttachedRolePolicies": lambda call: self.list_attached_role_policies(call.params),
            "CreateInstanceProfile": lambda call: self.create_instance_profile(call.params),
            "GetInstanceProfile": lambda call: self.get_instance_profile(call.params),
            "ListInstanceProfiles": lambda call: self.list_instance_profiles(call.params),
            "DeleteInstanceProfile": lambda call: self.delete_instance_profile(call.params),
            "AddRoleToInstanceProfile": lambda call: self.add_role_to_instance_profile(call.params),
            "RemoveRoleFromInstanceProfile": lambda call: self.remove_role_from_instance_profile(call.params),
        }
        return Service("iam", load_model("iam"), handlers)

    # -- roles -----------------------------------------------------------------------------------------------------

    def create_role(self, params: Params) -> dict[str, Any]:
        name, trust = params["RoleName"], params["AssumeRolePolicyDocument"]
        _check_policy(trust)
        row = {
            "name": name,
            "id": _new_id("AROA"),
            "path": params.get("Path", "/"),
            "description": params.get("Description"),
            "trust_policy": trust,
            "created_at": self._database.now_ms(),
        }
        with self._database.write() as db:
            if _find(db, iam_role, name) is not None:
                raise _exists("Role", name)
            db.execute(sa.insert(iam_role).values(row))
            return {"Role": self._role(_require(db, iam_role, "role", name))}

    def get_role(self, params: Params) -> dict[str, Any]:
        with self._database.read() as db:
            return {"Role": self._role(_require(db, iam_role, "role", params["RoleName"]))}

    def list_roles(self, params: Params) -> dict[str, Any]:
        with self._database.read() as db:
            rows, page = _page(db, iam_role, params)
        return {"Roles": [self._role(row) for row in rows], **page.members()}

    def delete_role(self, params: Params) -> None:
        name = params["RoleName"]
        with self._database.write() as db:
            _require(db, iam_role, "role", name)
            if _policies(db, name):
                raise _conflict(f"The role {name} still has policies attached; detach them first.")
            used = sa.select(iam_instance_profile.c.name).where(iam_instance_profile.c.role == name)
            if profiles := db.scalars(used).all():
                raise _conflict(f"The role {name} is still in the instance profile {profiles[0]}; remove it there.")
            db.execute(sa.delete(iam_role).where(iam_role.c.name == name))

    def attach_role_policy(self, params: Params) -> None:
        """Harmless when it is attached already, as in AWS."""
        name, arn = params["RoleName"], params["PolicyArn"]
        if not _POLICY_ARN.fullmatch(arn):
            raise AwsError("InvalidInput", f"ARN {arn} is not the ARN of a policy.")
        with self._database.write() as db:
            _require(db, iam_role, "role", name)
            there = _policies(db, name)
            if arn in there:
                return
            if len(there) >= MOST_POLICIES:
                raise AwsError("LimitExceeded", f"A role has at most {MOST_POLICIES} policies.", 409)
            db.execute(sa.insert(iam_role_policy).values(role=name, policy_arn=arn))

    def detach_role_policy(self, params: Params) -> None:
        name, arn = params["RoleName"], params["PolicyArn"]
        where = (iam_role_policy.c.role == name) & (iam_role_policy.c.policy_arn == arn)
        with self._database.write() as db:
            _require(db, iam_role, "role", name)
            if db.execute(sa.delete(iam_role_policy).where(where)).rowcount == 0:
                raise AwsError("NoSuchEntity", f"The policy {arn} is not attached to the role {name}.", 404)

    def list_attached_role_policies(self, params: Params) -> dict[str, Any]:
        with self._database.read() as db:
            _require(db, iam_role, "role", params["RoleName"])
            arns = _policies(db, params["RoleName"])
        prefix = params.get("PathPrefix", "/")
        shown = [arn for arn in arns if _policy_path(arn).startswith(prefix)]
        start = _from_marker(params.get("Marker"))
        limit = params.get("MaxItems", PAGE)
        rest = [arn for arn in shown if arn > start]
        page = _Page(len(rest) > limit, _to_marker(rest[limit - 1]) if len(rest) > limit else None)
        policies = [{"PolicyName": arn.rpartition("/")[2], "PolicyArn": arn} for arn in rest[:limit]]
        return {"AttachedPolicies": policies, **page.members()}

    # -- instance profiles -----------------------------------------------------------------------------------------

    def create_instance_profile(self, params: Params) -> dict[str, Any]:
        name = params["InstanceProfileName"]
        row = {
            "name": name,
            "id": _new_id("AIPA"),
            "path": params.get("Path", "/"),
            "created_at": self._database.now_ms(),
        }
        with self._database.write() as db:
            if _find(db, iam_instance_profile, name) is not None:
                raise _exists("Instance Profile", name)
            db.execute(sa.insert(iam_instance_profile).values(row))
            return {"InstanceProfile": self._profile(db, _require_profile(db, name))}

    def get_instance_profile(self, params: Params) -> dict[str, Any]:
        with self._database.read() as db:
            return {"InstanceProfile": self._profile(db, _require_profile(db, params["InstanceProfileName"]))}

    def list_instance_profiles(self, params: Params) -> dict[str, Any]:
        with self._database.read() as db:
            rows, page = _page(db, iam_instance_profile, params)
            return {"InstanceProfiles": [self._profile(db, row) for row in rows], **page.members()}

    def delete_instance_profile(self, params: Params) -> None:
        name = params["InstanceProfileName"]
        with self._database.write() as db:
            if _require_profile(db, name).role is not None:
                raise _conflict(f"The instance profile {name} still has a role; remove it first.")
            db.execute(sa.delete(iam_instance_profile).where(iam_instance_profile.c.name == name))

    def add_role_to_instance_profile(self, params: Params) -> None:
        name, role = params["InstanceProfileName"], params["RoleName"]
        with self._database.write() as db:
            profile = _require_profile(db, name)
            _require(db, iam_role, "role", role)
            if profile.role is not None:
                raise AwsError("LimitExceeded", f"An instance profile has one role; {name} has one.", 409)
            _set_role(db, name, role)

    def remove_role_from_instance_profile(self, params: Params) -> None:
        name, role = params["InstanceProfileName"], params["RoleName"]
        with self._database.write() as db:
            if _require_profile(db, name).role != role:
                raise AwsError("NoSuchEntity", f"The role {role} is not in the instance profile {name}.", 404)
            _set_role(db, name, None)

    # -- rows to answers -------------------------------------------------------------------------------------------

    def _role(self, row: sa.Row[Any]) -> dict[str, Any]:
        return {
            **self._common("role", row),
            "RoleName": row.name,
            "RoleId": row.id,
            "AssumeRolePolicyDocument": quote(row.trust_policy, safe=""),
            "Description": row.description,
        }

    def _profile(self, db: sa.Connection, row: sa.Row[Any]) -> dict[str, Any]:
        roles = [] if row.role is None else [self._role(_require(db, iam_role, "role", row.role))]
        return {
            **self._common("instance-profile", row),
            "InstanceProfileName": row.name,
            "InstanceProfileId": row.id,
            "Roles": roles,
        }

    def _common(self, kind: str, row: sa.Row[Any]) -> dict[str, Any]:
        return {
            "Path": row.path,
            "Arn": f"arn:aws:iam::{self._account}:{kind}{row.path}{row.name}",
            "CreateDate": datetime.fromtimestamp(row.created_at / 1000, UTC),
        }


def _find(db: sa.Connection, table: sa.Table, name: str) -> sa.Row[Any] | None:
    return db.execute(sa.select(table).where(table.c.name == name)).one_or_none()


def _require(db: sa.Connection, table: sa.Table, kind: str, name: str) -> sa.Row[Any]:
    row = _find(db, table, name)
    if row is None:
        raise AwsError("NoSuchEntity", f"The {kind} with name {name} cannot be found.", 404)
    return row


def _require_profile(db: sa.Connection, name: str) -> sa.Row[Any]:
    return _require(db, iam_instance_profile, "instance profile", name)


def _set_role(db: sa.Connection, profile: str, role: str | None) -> None:
    db.execute(sa.update(iam_instance_profile).where(iam_instance_profile.c.name == profile).values(role=role))


def _policies(db: sa.Connection, role: str) -> list[str]:
    query = sa.select(iam_role_policy.c.policy_arn).where(iam_role_policy.c.role == role)
    return sorted(db.scalars(query))


def _page(db: sa.Connection, table: sa.Table, params: Params) -> tuple[list[sa.Row[Any]], _Page]:
    """The rows of one page of a list, in the order of their names."""
    limit = params.get("MaxItems", PAGE)
    query = sa.select(table).where(
        table.c.name > _from_marker(params.get("Marker")),
        begins(table.c.path, params.get("PathPrefix", "/")),
    )
    rows = list(db.execute(query.order_by(table.c.name).limit(limit + 1)))
    more = len(rows) > limit
    return rows[:limit], _Page(more, _to_marker(rows[limit - 1].name) if more else None)


def _to_marker(name: str) -> str:
    return base64.urlsafe_b64encode(name.encode()).decode()


def _from_marker(marker: str | None) -> str:
    try:
        return base64.b64decode((marker or "").encode(), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        raise AwsError("ValidationError", "Parameter Marker is not one that this service gave out.") from None


def _policy_path(arn: str) -> str:
    """The path of a policy: "/service-role/" of …:policy/service-role/NAME."""
    path = "/" + arn.partition(":policy/")[2]
    return path[: path.rindex("/") + 1]


def _check_policy(text: str) -> None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise AwsError("MalformedPolicyDocument", "The trust policy is not JSON.") from None
    statements = document.get("Statement") if isinstance(document, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements or not all(isinstance(one, dict) for one in statements):
        raise AwsError("MalformedPolicyDocument", "The trust policy needs a Statement with at least one entry.")
    if not all("Effect" in one and "Action" in one and "Principal" in one for one in statements):
        what = "Each Statement of a trust policy needs Effect, Principal and Action."
        raise AwsError("MalformedPolicyDocument", what)


def _new_id(prefix: str) -> str:
    return prefix + "".join(secrets.choice(_ID_LETTERS) for _ in range(17))


def _exists(kind: str, name: str) -> AwsError:
    return AwsError("EntityAlreadyExists", f"{kind} with name {name} already exists.", 409)


def _conflict(message: str) -> AwsError:
    return AwsError("DeleteConflict", message, 409)
