"""IAM through a real client: what `eb create` does the first time, the second time, and what other clients may do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError

sys.path.insert(0, str(Path(__file__).parents[1] / "aws"))
from served import Ledger, client, keys, served, session

from beanpole.aws.gateway import Gateway
from beanpole.services.iam import Iam
from beanpole.store.database import Database

TRUST = {
    "Version": "2008-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
ACCOUNT = "123456789012"
ROLE = "aws-elasticbeanstalk-ec2-role"
WEB_TIER = "arn:aws:iam::aws:policy/AWSElasticBeanstalkWebTier"
HEALTH = "arn:aws:iam::aws:policy/service-role/AWSElasticBeanstalkEnhancedHealth"


@pytest.fixture(scope="module")
def clients() -> botocore.session.Session:
    return session()


@pytest.fixture
def iam(tmp_path: Path, clients: botocore.session.Session) -> Iterator[Any]:
    database = Database.at(tmp_path / "beanpole.sqlite3")
    ledger = Ledger()
    with served(Gateway([Iam(database, ACCOUNT).service()], keys, on_error=ledger.on_error)) as url:
        yield client(clients, "iam", url)
    database.close()
    assert ledger.errors == []


def create_role(iam: Any, name: str = ROLE, **more: Any) -> dict[str, Any]:
    role: dict[str, Any] = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST), **more)["Role"]
    return role


def refused(call: Any, **params: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as raised:
        call(**params)
    response = raised.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_what_eb_create_does_the_first_and_the_second_time(iam: Any) -> None:
    iam.create_instance_profile(InstanceProfileName=ROLE)
    create_role(iam)
    for policy in (WEB_TIER, HEALTH):
        iam.attach_role_policy(RoleName=ROLE, PolicyArn=policy)
    iam.add_role_to_instance_profile(InstanceProfileName=ROLE, RoleName=ROLE)
    roles = iam.list_roles()
    assert (roles["IsTruncated"], [role["RoleName"] for role in roles["Roles"]]) == (False, [ROLE])

    assert refused(iam.create_instance_profile, InstanceProfileName=ROLE) == ("EntityAlreadyExists", 409)
    assert refused(create_role, iam=iam) == ("EntityAlreadyExists", 409)
    assert refused(iam.add_role_to_instance_profile, InstanceProfileName=ROLE, RoleName=ROLE) == ("LimitExceeded", 409)
    attached = iam.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"]
    assert attached == [
        {"PolicyName": "AWSElasticBeanstalkWebTier", "PolicyArn": WEB_TIER},
        {"PolicyName": "AWSElasticBeanstalkEnhancedHealth", "PolicyArn": HEALTH},
    ]
    iam.attach_role_policy(RoleName=ROLE, PolicyArn=WEB_TIER)
    assert len(iam.list_attached_role_policies(RoleName=ROLE)["AttachedPolicies"]) == 2


def test_a_role_comes_back_as_it_was_made(iam: Any) -> None:
    made = create_role(iam, Path="/team/", Description="d&<é>")
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:role/team/{ROLE}"
    assert made["RoleId"].startswith("AROA")
    assert len(made["RoleId"]) == 21
    found = iam.get_role(RoleName=ROLE)["Role"]
    assert found == made
    assert found["AssumeRolePolicyDocument"] == TRUST  # the client undoes the URL encoding
    assert found["Description"] == "d&<é>"


def test_an_instance_profile_shows_its_role(iam: Any) -> None:
    role = create_role(iam)
    made = iam.create_instance_profile(InstanceProfileName="profile")["InstanceProfile"]
    assert made["Roles"] == []
    assert made["Arn"] == f"arn:aws:iam::{ACCOUNT}:instance-profile/profile"
    iam.add_role_to_instance_profile(InstanceProfileName="profile", RoleName=ROLE)
    found = iam.get_instance_profile(InstanceProfileName="profile")["InstanceProfile"]
    assert found == {**made, "Roles": [role]}
    assert iam.list_instance_profiles()["InstanceProfiles"] == [found]


def test_removal_goes_from_the_outside_in(iam: Any) -> None:
    create_role(iam)
    iam.create_instance_profile(InstanceProfileName="profile")
    iam.add_role_to_instance_profile(InstanceProfileName="profile", RoleName=ROLE)
    iam.attach_role_policy(RoleName=ROLE, PolicyArn=WEB_TIER)
    assert refused(iam.delete_role, RoleName=ROLE) == ("DeleteConflict", 409)
    iam.detach_role_policy(RoleName=ROLE, PolicyArn=WEB_TIER)
    assert refused(iam.delete_role, RoleName=ROLE) == ("DeleteConflict", 409)
    assert refused(iam.delete_instance_profile, InstanceProfileName="profile") == ("DeleteConflict", 409)
    iam.remove_role_from_instance_profile(InstanceProfileName="profile", RoleName=ROLE)
    iam.delete_instance_profile(InstanceProfileName="profile")
    iam.delete_role(RoleName=ROLE)
    assert iam.list_roles()["Roles"] == []
    assert iam.list_instance_profiles()["InstanceProfiles"] == []


def test_what_is_not_there(iam: Any) -> None:
    create_role(iam)
    iam.create_instance_profile(InstanceProfileName="profile")
    missing = ("NoSuchEntity", 404)
    assert refused(iam.get_role, RoleName="none") == missing
    assert refused(iam.delete_role, RoleName="none") == missing
    assert refused(iam.attach_role_policy, RoleName="none", PolicyArn=WEB_TIER) == missing
    assert refused(iam.detach_role_policy, RoleName=ROLE, PolicyArn=WEB_TIER) == missing
    assert refused(iam.list_attached_role_policies, RoleName="none") == missing
    assert refused(iam.get_instance_profile, InstanceProfileName="none") == missing
    assert refused(iam.delete_instance_profile, InstanceProfileName="none") == missing
    both = {"InstanceProfileName": "profile", "RoleName": "none"}
    assert refused(iam.add_role_to_instance_profile, **both) == missing
    assert refused(iam.remove_role_from_instance_profile, **both) == missing
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_role(RoleName="none")


def test_lists_go_on_where_they_stopped(iam: Any) -> None:
    for n in range(5):
        create_role(iam, f"role{n}", Path="/even/" if n % 2 == 0 else "/odd_/")
    pages = list(iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 2}))
    assert [[role["RoleName"] for role in page["Roles"]] for page in pages] == [
        ["role0", "role1"],
        ["role2", "role3"],
        ["role4"],
    ]
    assert [role["RoleName"] for role in iam.list_roles(PathPrefix="/odd_/")["Roles"]] == ["role1", "role3"]
    assert iam.list_roles(PathPrefix="/odd%/")["Roles"] == []
    assert refused(iam.list_roles, Marker="nonsense!") == ("ValidationError", 400)
    for n in range(3):
        iam.attach_role_policy(RoleName="role0", PolicyArn=f"{WEB_TIER}{n}")
    iam.attach_role_policy(RoleName="role0", PolicyArn=HEALTH)
    paginator = iam.get_paginator("list_attached_role_policies")
    found = [p["AttachedPolicies"] for p in paginator.paginate(RoleName="role0", PaginationConfig={"PageSize": 3})]
    assert [len(page) for page in found] == [3, 1]
    only = iam.list_attached_role_policies(RoleName="role0", PathPrefix="/service-role/")["AttachedPolicies"]
    assert [policy["PolicyArn"] for policy in only] == [HEALTH]


@pytest.mark.parametrize(
    "document",
    ["x", "[]", "{}", '{"Statement": []}', '{"Statement": "x"}', '{"Statement": {"Effect": "Allow"}}', "[" * 50_000],
)
def test_trust_policies_that_are_none(iam: Any, document: str) -> None:
    expected = ("MalformedPolicyDocument", 400)
    assert refused(iam.create_role, RoleName=ROLE, AssumeRolePolicyDocument=document) == expected


def test_limits(iam: Any) -> None:
    create_role(iam)
    assert refused(create_role, iam=iam, name="x" * 65) == ("ValidationError", 400)
    assert refused(create_role, iam=iam, name="no spaces") == ("ValidationError", 400)
    assert refused(iam.attach_role_policy, RoleName=ROLE, PolicyArn="arn:aws:iam::aws:role/x") == ("InvalidInput", 400)
    for n in range(10):
        iam.attach_role_policy(RoleName=ROLE, PolicyArn=f"{WEB_TIER}{n}")
    assert refused(iam.attach_role_policy, RoleName=ROLE, PolicyArn=WEB_TIER) == ("LimitExceeded", 409)


def test_operations_that_are_not_built(iam: Any) -> None:
    code, status = refused(iam.list_users)
    assert (code, status) == ("UnsupportedOperation", 400)
