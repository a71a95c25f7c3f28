"""Our operations on servers. Those that reach servers wait for them in the event loop, within what clients wait."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from beanpole.control import errors, locations
from beanpole.control.context import By
from beanpole.control.edges import EdgeMoves
from beanpole.control.host_report import Report, read_facts
from beanpole.control.hosts import PORT, Hosts, NewHost, Reachability, Task
from beanpole.fleet.servers.address import Address, AddressError
from beanpole.fleet.servers.dial import fetch_host_key
from beanpole.fleet.servers.failure import ConnectionFailed
from beanpole.fleet.servers.host_key import HostKey
from beanpole.services.elasticbeanstalk.shapes import moment
from beanpole.store import environments, hosts, instances

if TYPE_CHECKING:
    from beanpole.aws.call import Call, Handler
    from beanpole.control.context import Control
    from beanpole.fleet.edges import Front
    from beanpole.fleet.servers.facts import Facts
    from beanpole.store.hosts import Host

T = TypeVar("T")

HOME = "/var/lib/beanpole"


class HostCalls:
    def __init__(self, control: Control, of: Hosts, loop: asyncio.AbstractEventLoop) -> None:
        self._control = control
        self._hosts = of
        self._edges = EdgeMoves(control, of)
        self._loop = loop

    def handlers(self) -> dict[str, Handler]:
        return {
            "AddHosts": self.add,
            "CheckHosts": self.check,
            "DescribeHostKeys": self.keys,
            "DescribeEdges": self.edges,
            "DescribeHosts": self.describe,
            "EndFormerEdges": self.end_edges,
            "MoveEdge": self.move_edge,
            "RemoveHost": self.remove,
            "SetDefaultLocation": self.set_default,
        }

    def keys(self, call: Call) -> dict[str, Any]:
        """The keys that servers show, for a person to compare. Nobody logs in there."""
        addresses = [_address(each) for each in call.params["Addresses"]]
        return {"HostKeys": self._wait(_keys(addresses))}

    def add(self, call: Call) -> dict[str, Any]:
        news = [
            NewHost(
                name=each.get("Name") or each["Address"]["Host"],
                address=_address(each["Address"]),
                host_key=each["HostKey"],
                labels=tuple(dict.fromkeys(each.get("Labels", []))),
                app_port=each.get("AppPort", PORT),
            )
            for each in call.params["Hosts"]
        ]
        told = self._wait(self._hosts.add(_by(call), news, force=call.params.get("Force", False)))
        return {"Reports": [_report(each) for each in told]}

    def check(self, call: Call) -> dict[str, Any]:
        told = self._wait(self._hosts.check(call.params.get("Names", [])))
        return {"Reports": [_report(each) for each in told]}

    def describe(self, call: Call) -> dict[str, Any]:
        """With `Reach` each server that is not connected now is tried, all at once, for a few seconds."""
        wanted = call.params.get("Names") or None
        tasks = self._hosts.tasks()
        with self._control.database.read() as db:
            found = [host for host in hosts.listed(db) if wanted is None or host.name in wanted]
            names = {each.id: each.name for each in environments.listed(db)}
            fleet = instances.listed(db)
            location = locations.default(db)
        reached = self._wait(self._reached(found)) if call.params.get("Reach", False) else {}
        shaped = []
        for host in found:
            there = [
                {"InstanceId": each.id, "EnvironmentName": names.get(each.environment_id, each.environment_id)}
                for each in fleet
                if each.host == host.id
            ]
            shaped.append(_shape(host, tasks.get(host.id), reached.get(host.id)) | {"Instances": there})
        return {"Hosts": shaped, "DefaultLocation": location}

    def remove(self, call: Call) -> dict[str, Any]:
        params = call.params
        purge, force = params.get("Purge", False), params.get("Force", False)
        return {"Left": self._wait(self._hosts.remove(_by(call), params["Name"], purge=purge, force=force)) or None}

    def set_default(self, call: Call) -> None:
        with self._control.database.write() as db:
            locations.set_default(db, call.params["Location"])

    def edges(self, _call: Call) -> dict[str, Any]:
        """The one that names lead to is the first."""
        return {"Edges": [self._edge(front, leads=at == 0) for at, front in enumerate(self._control.balancers.fronts)]}

    def move_edge(self, call: Call) -> dict[str, Any]:
        params = call.params
        name = params.get("Name")
        if name is None:
            self._wait(self._edges.home())
        else:
            self._wait(self._edges.to_host(name, params.get("Port"), params.get("Domain")))
        return {"Edge": self._edge(self._control.balancers.fronts[0], leads=True)}

    def end_edges(self, call: Call) -> dict[str, Any]:
        return {"Cut": self._wait(self._edges.end_others(force=call.params.get("Force", False)))}

    def _edge(self, front: Front, *, leads: bool) -> dict[str, Any]:
        with self._control.database.read() as db:
            host = hosts.find(db, front.host) if front.host is not None else None
        listen = front.listen
        there = {"HostId": host.id, "Name": host.name} if host is not None else {}
        return {
            **there,
            "Address": listen.address,
            "Port": listen.port,
            "Domain": listen.domain,
            "Url": front.url,
            "Leads": leads,
        }

    async def _reached(self, found: list[Host]) -> dict[str, Reachability]:
        told = await asyncio.gather(*(self._hosts.reachability(host) for host in found))
        return dict(zip((host.id for host in found), told, strict=True))

    def _wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """From a worker thread. Everything that is waited for has limits of its own."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


def _shape(host: Host, task: Task | None, reached: Reachability | None) -> dict[str, Any]:
    facts = read_facts(host)
    home = facts.disk(HOME) if facts is not None else None
    words = {"Words": task.words, "Done": task.done, "Total": task.total} if task and task.under_way else {}
    failure = {"Cause": task.cause, "Remedy": task.remedy} if task is not None and task.cause else {}
    return {
        "HostId": host.id,
        "Name": host.name,
        "Address": _address_shape(Address.from_json(json.loads(host.address))),
        "HostKey": host.host_key,
        "Fingerprint": HostKey.read(host.host_key).fingerprint,
        "AppPort": host.app_port,
        "AppAddress": host.app_address,
        "Labels": json.loads(host.labels),
        "State": host.state,
        "UnderWay": bool(words),
        **words,
        **failure,
        **({"Reachable": reached.state, "ReachableWords": reached.words} if reached is not None else {}),
        "MemoryAvailable": facts.memory_available if facts else None,
        "MemoryTotal": facts.memory_total if facts else None,
        "DiskFree": home.free if home else None,
        "CheckedAt": moment(host.checked_at) if host.checked_at else None,
        "AddedAt": moment(host.added_at),
    }


async def _keys(addresses: list[Address]) -> list[dict[str, Any]]:
    return list(await asyncio.gather(*(_key(address) for address in addresses)))


async def _key(address: Address) -> dict[str, Any]:
    try:
        found = await fetch_host_key(address)
    except ConnectionFailed as failure:
        return {"Cause": failure.cause, "Remedy": failure.remedy}
    return {"HostKey": str(found), "Fingerprint": found.fingerprint}


def _report(told: Report) -> dict[str, Any]:
    return {
        "Name": told.name,
        "Blocked": told.blocked,
        "Findings": [
            {"Code": each.code, "Severity": each.severity, "Cause": each.cause, "Remedy": each.remedy}
            for each in told.findings
        ],
        **({"Facts": _facts(told.facts)} if told.facts is not None else {}),
    }


def _facts(facts: Facts) -> dict[str, Any]:
    python, home = facts.python, facts.disk(HOME)
    return {
        "System": facts.os_name,
        "Architecture": facts.architecture,
        "Cpus": facts.cpus,
        "MemoryAvailable": facts.memory_available,
        "MemoryTotal": facts.memory_total,
        "DiskFree": home.free if home else None,
        "DiskTotal": home.total if home else None,
        "Python": ".".join(map(str, python.version)) if python is not None and python.version else None,
        "Ports": [
            {"Address": each.address, "Port": each.port, "Process": each.process, "Unit": each.unit}
            for each in facts.listening or ()
        ],
        "Services": [
            {"Unit": each.unit, "User": each.user, "Command": each.command, "Folder": each.folder}
            for each in facts.services or ()
        ],
    }


def _address(given: dict[str, Any]) -> Address:
    """Raises the API's error for what is no address."""
    try:
        return Address(
            host=given["Host"],
            user=given["User"],
            port=given.get("Port", 22),
            key=Path(given["Key"]) if given.get("Key") else None,
            jump=given.get("Jump"),
            jump_key=Path(given["JumpKey"]) if given.get("JumpKey") else None,
            agent=given.get("Agent"),
        )
    except AddressError as strange:
        raise errors.invalid(f"{strange.cause[:1].upper()}{strange.cause[1:]}. {strange.remedy}") from strange


def _address_shape(address: Address) -> dict[str, Any]:
    return {
        "Host": address.host,
        "User": address.user,
        "Port": address.port,
        "Key": str(address.key) if address.key else None,
        "Jump": address.jump,
        "JumpKey": str(address.jump_key) if address.jump_key else None,
        "Agent": address.agent,
    }


def _by(call: Call) -> By:
    return By(call.caller.user, call.request_id)
