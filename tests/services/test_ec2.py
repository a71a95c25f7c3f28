"""EC2 through a real client, as far as `eb ssh` and `eb init` ask."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.store import hosts, instances
from beanpole.store.hosts import Host
from beanpole.store.instances import Instance

PUBLIC = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ6mQ9XkM0yB3w8m0kqkD0s2O6kq1v2v3v4v5v6v7v8v me"


@pytest.fixture(scope="module")
def sessions() -> botocore.session.Session:
    return session()


@pytest.fixture
def site(tmp_path: Path, sessions: botocore.session.Session) -> Iterator[ApiSite]:
    with api_site(tmp_path, sessions) as made:
        yield made


@pytest.fixture
def ec2(site: ApiSite) -> Any:
    return site.client("ec2")


def with_instances(site: ApiSite) -> None:
    """i-1 on the server web1, i-2 on this machine."""
    environment = site.environment()
    address = {"host": "10.0.0.5", "user": "admin", "port": 22, "key": "/home/me/.ssh/servers.pem"}
    with site.control.database.write() as db:
        hosts.add(
            db,
            Host(
                id="h-1",
                name="web1",
                address=json.dumps(address),
                host_key="ssh-ed25519 AAAA",
                app_port=8080,
                labels="[]",
                state="ready",
                added_at=1,
            ),
        )
        instances.add(db, Instance("i-1", environment, "running", "127.0.0.9", 1, 1_800_000_000_000, host="h-1"))
        instances.add(db, Instance("i-2", environment, "launching", "127.70.1.2", 1, 1_800_000_000_000))


def test_what_eb_ssh_asks_and_what_it_is_told(site: ApiSite, ec2: Any) -> None:
    with_instances(site)
    (reservation,) = ec2.describe_instances(InstanceIds=["i-1"])["Reservations"]
    (instance,) = reservation["Instances"]
    about = {name: instance[name] for name in ("InstanceId", "KeyName", "PublicIpAddress", "PrivateIpAddress", "State")}
    assert about == {
        "InstanceId": "i-1",
        "KeyName": "servers",
        "PublicIpAddress": "10.0.0.5",
        "PrivateIpAddress": "10.0.0.5",
        "State": {"Code": 16, "Name": "running"},
    }
    (group,) = instance["SecurityGroups"]
    (found,) = ec2.describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"]
    (rule,) = found["IpPermissions"]
    assert (rule["ToPort"], rule["IpRanges"]) == (22, [{"CidrIp": "0.0.0.0/0"}])
    for change in (ec2.authorize_security_group_ingress, ec2.revoke_security_group_ingress):
        rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIp": "0.0.0.0/0"}
        assert change(GroupId=group["GroupId"], **rule)["Return"] is True
        assert refused(change, GroupId="sg-1", **rule)[0] == "InvalidGroup.NotFound"
    assert refused(ec2.describe_security_groups, GroupIds=["sg-1"])[0] == "InvalidGroup.NotFound"


def test_all_instances_and_an_unknown_one(site: ApiSite, ec2: Any) -> None:
    with_instances(site)
    every = [each for found in ec2.describe_instances()["Reservations"] for each in found["Instances"]]
    assert [
        (each["InstanceId"], each["PublicIpAddress"], each["KeyName"], each["State"]["Name"]) for each in every
    ] == [
        ("i-1", "10.0.0.5", "servers", "running"),
        ("i-2", "127.70.1.2", "beanpole", "pending"),
    ]
    assert refused(ec2.describe_instances, InstanceIds=["i-1", "i-9"]) == (
        "InvalidInstanceID.NotFound",
        "The instance ID 'i-9' does not exist",
    )


def test_key_pairs_are_kept_and_those_of_servers_are_listed(site: ApiSite, ec2: Any) -> None:
    assert ec2.describe_key_pairs()["KeyPairs"] == []
    made = ec2.import_key_pair(KeyName="mine", PublicKeyMaterial=PUBLIC)
    assert made["KeyName"] == "mine"
    assert len(made["KeyFingerprint"].split(":")) == 16
    with_instances(site)
    assert [each["KeyName"] for each in ec2.describe_key_pairs()["KeyPairs"]] == ["servers", "mine"]
    code, message = refused(ec2.import_key_pair, KeyName="mine", PublicKeyMaterial=PUBLIC)
    assert code == "InvalidKeyPair.Duplicate"
    assert message.endswith("already exists.")  # what eb looks at
    assert refused(ec2.import_key_pair, KeyName="x", PublicKeyMaterial=b"nonsense")[0] == "InvalidKey.Format"
    assert refused(ec2.describe_key_pairs, KeyNames=["nope"])[0] == "InvalidKeyPair.NotFound"
    ec2.delete_key_pair(KeyName="mine")
    ec2.delete_key_pair(KeyName="mine")
    assert [each["KeyName"] for each in ec2.describe_key_pairs()["KeyPairs"]] == ["servers"]


def test_a_filter_that_is_not_understood_is_refused(ec2: Any) -> None:
    code, message = refused(ec2.describe_instances, Filters=[{"Name": "vpc-id", "Values": ["v"]}])
    assert (code, "vpc-id" in message) == ("InvalidParameterValue", True)
