"""EC2 as far as the EB CLI needs it for `eb ssh` and for SSH in `eb init`: instances, their group, key pairs.

An instance's address is its server's. Key pairs are kept as they were sent and let nobody in anywhere: servers are
reached with the keys that they have. The one security group says what is true of them: SSH is open, as far as we know.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, cast

from beanpole.aws.call import Handler, Service
from beanpole.aws.errors import AwsError
from beanpole.aws.models import LaterModel
from beanpole.store import environments, facts, hosts, instances

if TYPE_CHECKING:
    import sqlalchemy as sa
    from botocore.model import ServiceModel

    from beanpole.store.database import Database
    from beanpole.store.facts import Identity
    from beanpole.store.hosts import Host
    from beanpole.store.instances import Instance

STATES = {"launching": (0, "pending"), "running": (16, "running"), "terminating": (32, "shutting-down")}

KEY = "beanpole"
"""The key pair's name where an instance has none: `eb ssh` goes nowhere without a name."""

EVERYWHERE = "0.0.0.0/0"  # an address range in an answer; nothing listens on it

_KEY_PAIR = "keypair:"
"""How facts of key pairs are called."""

_KINDS = ("ssh-rsa ", "ssh-ed25519 ")
"""What EC2 takes."""

Params = Mapping[str, Any]


class Ec2:
    def __init__(self, database: Database, identity: Identity) -> None:
        self._database = database
        self._identity = identity

    def service(self) -> Service:
        """As the gateway wants it."""
        handlers: dict[str, Handler] = {
            "AuthorizeSecurityGroupIngress": lambda call: self.change_ingress(call.params),
            "CreateKeyPair": lambda call: self.create_key_pair(),
            "DescribeInstances": lambda call: self.describe_instances(call.params),
            "DescribeKeyPairs": lambda call: self.describe_key_pairs(call.params),
            "DescribeSecurityGroups": lambda call: self.describe_groups(call.params),
            "DeleteKeyPair": lambda call: self.delete_key_pair(call.params),
            "ImportKeyPair": lambda call: self.import_key_pair(call.params),
            "RevokeSecurityGroupIngress": lambda call: self.change_ingress(call.params),
        }
        return Service("ec2", cast("ServiceModel", LaterModel("ec2")), handlers)

    # -- instances ---------------------------------------------------------------------------------------------------

    def describe_instances(self, params: Params) -> dict[str, Any]:
        _refuse_filters(params)
        wanted = params.get("InstanceIds") or None
        with self._database.read() as db:
            found = [each for each in instances.listed(db) if wanted is None or each.id in wanted]
            on = {host.id: host for host in hosts.listed(db)}
            shaped = [self._instance(db, each, on.get(each.host or "")) for each in found]
        if wanted is not None and (missing := set(wanted) - {each.id for each in found}):
            what = ", ".join(sorted(missing))
            raise AwsError("InvalidInstanceID.NotFound", f"The instance ID '{what}' does not exist")
        owner = {"OwnerId": self._identity.account, "Groups": []}
        return {
            "Reservations": [
                owner | {"ReservationId": f"r-{each['InstanceId'][2:]}", "Instances": [each]} for each in shaped
            ]
        }

    def _instance(self, db: sa.Connection, instance: Instance, host: Host | None) -> dict[str, Any]:
        address: dict[str, Any] = json.loads(host.address) if host is not None else {}
        place = address.get("host", instance.address)
        environment = environments.find(db, instance.environment_id)
        code, state = STATES[instance.state]
        tags = {"Name": environment.name, "elasticbeanstalk:environment-name": environment.name} if environment else {}
        return {
            "InstanceId": instance.id,
            "State": {"Code": code, "Name": state},
            "KeyName": _key_of(db, instance) or _file(address) or KEY,
            # A server has the one address that we reach it by, whatever kind that is.
            "PublicIpAddress": place,
            "PrivateIpAddress": place,
            "PublicDnsName": place,
            "PrivateDnsName": host.name if host is not None else "localhost",
            "LaunchTime": datetime.fromtimestamp(instance.launched_at / 1000, UTC),
            "Placement": {"AvailabilityZone": host.name if host is not None else f"{self._identity.region}a"},
            "SecurityGroups": [{"GroupId": self._group_id, "GroupName": KEY}],
            "Tags": [{"Key": name, "Value": value} for name, value in tags.items()],
        }

    # -- the security group -------------------------------------------------------------------------------------------

    @property
    def _group_id(self) -> str:
        return f"sg-0{self._identity.store}"

    def describe_groups(self, params: Params) -> dict[str, Any]:
        _refuse_filters(params)
        ids, names = params.get("GroupIds") or [], params.get("GroupNames") or []
        for given, ours in ((ids, self._group_id), (names, KEY)):
            if strange := [each for each in given if each != ours]:
                raise AwsError("InvalidGroup.NotFound", f"The security group '{strange[0]}' does not exist")
        # Open to all, as `eb ssh` reads it: then it does not try to open it, and to close it afterwards.
        ingress = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": EVERYWHERE}]}
        group = {
            "GroupId": self._group_id,
            "GroupName": KEY,
            "Description": "The servers have their own firewalls; this group opens and closes nothing",
            "OwnerId": self._identity.account,
            "IpPermissions": [ingress],
            "IpPermissionsEgress": [],
        }
        return {"SecurityGroups": [group]}

    def change_ingress(self, params: Params) -> dict[str, Any]:
        """Accepted and without effect: who may reach a server is decided by its network, which is not ours."""
        group = params.get("GroupId") or params.get("GroupName")
        if group not in (self._group_id, KEY):
            raise AwsError("InvalidGroup.NotFound", f"The security group '{group}' does not exist")
        return {"Return": True}

    # -- key pairs ----------------------------------------------------------------------------------------------------

    def describe_key_pairs(self, params: Params) -> dict[str, Any]:
        """Those that were imported, and by their files' names those that servers are reached with."""
        _refuse_filters(params)
        wanted = params.get("KeyNames") or None
        with self._database.read() as db:
            kept = {name: json.loads(value) for name, value in facts.below(db, _KEY_PAIR).items()}
            files = {_file(json.loads(host.address)) for host in hosts.listed(db)}
        known = {name: {"KeyName": name} for name in sorted(filter(None, files))}
        known |= {
            name: {"KeyName": name, "KeyPairId": each["id"], "KeyFingerprint": each["fingerprint"]}
            for name, each in kept.items()
        }
        if wanted is not None and (missing := [name for name in wanted if name not in known]):
            raise AwsError("InvalidKeyPair.NotFound", f"The key pair '{missing[0]}' does not exist")
        return {"KeyPairs": [each for name, each in known.items() if wanted is None or name in wanted]}

    def import_key_pair(self, params: Params) -> dict[str, Any]:
        name, material = params["KeyName"], params["PublicKeyMaterial"]
        fingerprint = _fingerprint(material)
        kept = {
            "id": f"key-0{hashlib.sha256(name.encode()).hexdigest()[:16]}",
            "fingerprint": fingerprint,
            "public": material.decode(errors="replace"),
        }
        with self._database.write() as db:
            if facts.find(db, _KEY_PAIR + name) is not None:
                raise AwsError("InvalidKeyPair.Duplicate", f"The keypair '{name}' already exists.")
            facts.put(db, _KEY_PAIR + name, json.dumps(kept))
        return {"KeyName": name, "KeyPairId": kept["id"], "KeyFingerprint": fingerprint}

    def create_key_pair(self) -> dict[str, Any]:
        """Refused: a private key is made where it stays."""
        raise AwsError(
            "UnsupportedOperation", "Make the key pair with ssh-keygen and import its public half (ImportKeyPair)."
        )

    def delete_key_pair(self, params: Params) -> dict[str, Any]:
        """Harmless where there is none, as in AWS."""
        with self._database.write() as db:
            facts.remove(db, _KEY_PAIR + params.get("KeyName", ""))
        return {"Return": True}


def _key_of(db: sa.Connection, instance: Instance) -> str | None:
    """What the environment's setting EC2KeyName says."""
    stored = environments.options(db, instance.environment_id)
    return stored.get(("aws:autoscaling:launchconfiguration", "EC2KeyName", ""))


def _file(address: Mapping[str, Any]) -> str:
    """The name of the key file with which a server is reached; '' where none is named."""
    name = PurePath(address.get("key") or "").name
    return name.removesuffix(".pem")


def _fingerprint(material: bytes) -> str:
    """MD5 of the key's data, as EC2 says it of imported keys; it proves nothing to anybody."""
    text = material.decode(errors="replace").strip()
    words = text.split()
    if not text.startswith(_KINDS) or len(words) < 2:
        raise AwsError("InvalidKey.Format", "Key is not in valid OpenSSH public key format")
    try:
        data = base64.b64decode(words[1], validate=True)
    except ValueError:
        raise AwsError("InvalidKey.Format", "Key is not in valid OpenSSH public key format") from None
    digits = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))


def _refuse_filters(params: Params) -> None:
    """Rather than to answer what nobody asked for."""
    filters: Iterable[Mapping[str, Any]] = params.get("Filters") or ()
    for each in filters:
        raise AwsError("InvalidParameterValue", f"Beanpole does not filter by {each.get('Name')!r}. Name the ids.")
