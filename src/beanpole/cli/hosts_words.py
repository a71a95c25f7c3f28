"""Servers and what was found on them, as people and programs read it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beanpole.cli.terminal import printable

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator

HEADS = ("NAME", "ADDRESS", "LABELS", "PORT", "STATE", "REACHABLE", "INSTANCES", "MEMORY FREE", "DISK FREE", "CHECKED")

PORTS = 12
"""Ports and services that are shown; the rest is a number."""


def words_of_address(address: dict[str, Any]) -> str:
    host = f"[{address['Host']}]" if ":" in address["Host"] else address["Host"]
    port = address.get("Port", 22)
    return f"{address['User']}@{host}{'' if port == 22 else f':{port}'}"


def row(host: dict[str, Any], now: dt.datetime) -> tuple[str, ...]:
    """A line of the list."""
    environments = sorted({each["EnvironmentName"] for each in host.get("Instances", [])})
    state = host["State"]
    if host.get("Cause"):
        state += " (failed)"
    elif state == "joining" and not host.get("UnderWay"):
        state += " (cut off)"
    return (
        host["Name"],
        words_of_address(host["Address"]),
        ",".join(host.get("Labels", [])),
        f"{host['AppAddress']}:{host['AppPort']}" if host.get("AppAddress") else str(host["AppPort"]),
        state,
        host.get("Reachable", ""),
        f"{len(host.get('Instances', []))} ({', '.join(environments)})" if environments else "0",
        size(host.get("MemoryAvailable")),
        size(host.get("DiskFree")),
        ago(host.get("CheckedAt"), now),
    )


def as_json(host: dict[str, Any]) -> dict[str, Any]:
    instances = [
        {"instance": each["InstanceId"], "environment": each["EnvironmentName"]} for each in host.get("Instances", [])
    ]
    return {
        "name": host["Name"],
        "id": host["HostId"],
        "address": words_of_address(host["Address"]),
        "fingerprint": host["Fingerprint"],
        "labels": host.get("Labels", []),
        "app_port": host["AppPort"],
        "app_address": host.get("AppAddress"),
        "state": host["State"],
        "under_way": host.get("UnderWay", False),
        "cause": host.get("Cause"),
        "remedy": host.get("Remedy"),
        "reachable": host.get("Reachable"),
        "reachable_words": host.get("ReachableWords") or None,
        "instances": instances,
        "memory_available": host.get("MemoryAvailable"),
        "memory_total": host.get("MemoryTotal"),
        "disk_free": host.get("DiskFree"),
        "checked_at": host.get("CheckedAt"),
    }


def findings_json(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {name: each.get(name.title()) for name in ("code", "severity", "cause", "remedy")}
        for each in report.get("Findings", [])
    ]


def report_json(report: dict[str, Any]) -> dict[str, Any]:
    facts = report.get("Facts")
    return {
        "name": report["Name"],
        "blocked": report["Blocked"],
        "findings": findings_json(report),
        "facts": _facts_json(facts) if facts is not None else None,
    }


def report_lines(report: dict[str, Any]) -> Iterator[str]:
    """What was seen and what was found, without the name."""
    facts = report.get("Facts")
    if facts is not None:
        yield _machine(facts)
        if ports := [_port(each) for each in facts.get("Ports", [])]:
            yield f"ports in use: {_some(ports)}"
        if services := [_service(each) for each in facts.get("Services", [])]:
            yield f"services: {_some(services)}"
    yield from finding_lines(report)


def finding_lines(report: dict[str, Any]) -> Iterator[str]:
    for each in report.get("Findings", []):
        word = {"blocking": "blocks", "warning": "warning", "note": "note"}.get(each["Severity"], each["Severity"])
        yield printable(f"{word}: {each['Cause']}")
        if each.get("Remedy"):
            yield printable(f"  remedy: {each['Remedy']}")


def blocking(report: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for each in report.get("Findings", []) if each["Severity"] == "blocking"]


def size(amount: int | None) -> str:
    if amount is None:
        return "unknown"
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"


def ago(at: dt.datetime | None, now: dt.datetime) -> str:
    if at is None:
        return "never"
    seconds = max((now - at).total_seconds(), 0)
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= length:
            return f"{seconds // length:.0f} {unit} ago"
    return "just now"


def _machine(facts: dict[str, Any]) -> str:
    python = f"Python {facts['Python']}" if facts.get("Python") else "no Python that will do"
    memory = f"{size(facts.get('MemoryAvailable'))} of {size(facts.get('MemoryTotal'))} memory free"
    disk = f"{size(facts.get('DiskFree'))} of {size(facts.get('DiskTotal'))} disk free"
    cpus = f"{facts.get('Cpus', 'unknown')} CPUs"
    said = (facts.get("System") or "unknown system", facts.get("Architecture") or "", cpus, memory, disk, python)
    return printable(", ".join(filter(None, said)))


def _port(port: dict[str, Any]) -> str:
    who = port.get("Unit") or port.get("Process") or "unknown"
    return printable(f"{port['Port']} ({who})")


def _service(service: dict[str, Any]) -> str:
    return printable(f"{service['Unit']} ({service.get('User') or 'root'})")


def _some(words: list[str]) -> str:
    words = list(dict.fromkeys(words))
    more = f" and {len(words) - PORTS} more" if len(words) > PORTS else ""
    return f"{', '.join(words[:PORTS])}{more}"


def _facts_json(facts: dict[str, Any]) -> dict[str, Any]:
    plain = {_snake(name): value for name, value in facts.items() if not isinstance(value, list)}
    lists: Iterable[tuple[str, Any]] = ((name, value) for name, value in facts.items() if isinstance(value, list))
    return plain | {_snake(name): [{_snake(key): each[key] for key in each} for each in value] for name, value in lists}


def _snake(name: str) -> str:
    return "".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name).lstrip("_")
