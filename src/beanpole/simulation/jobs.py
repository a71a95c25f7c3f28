"""What a simulated agent does when it is told to: the jobs of the real one, in as little as can be noticed of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from beanpole.simulation.machine import Machine

MOMENT = 0.02
"""Seconds for a job that has nothing to do but write."""

Arguments = dict[str, Any]


class Failed(Exception):
    def __init__(self, stage: str, message: str) -> None:
        super().__init__(message)
        self.error: dict[str, Any] = {"stage": stage, "message": message, "remedy": "Look at the version."}
        self.error |= {"command": None, "exit_status": 1, "last_lines": []}


async def _preflight(machine: Machine, _: Arguments) -> dict[str, Any]:
    await machine.takes(MOMENT)
    used = max((machine.world.scenario.memory_used for web in machine.webs.values() if web.up), default=0)
    free = {"disk_free": 1 << 40, "memory_available": machine.world.memory_of(machine), "rss": used}
    return {**free, "kept": sorted(machine.ready)}


async def _fetch(machine: Machine, arguments: Arguments) -> dict[str, Any]:
    await machine.takes(machine.world.scenario.fetch)
    machine.fetched.add(arguments["release"])
    return {}


async def _again(machine: Machine, arguments: Arguments) -> dict[str, Any]:
    digest = arguments["release"]
    alike = sorted(each for each in machine.ready if each.partition(".")[0] == digest.partition(".")[0])
    if not alike:
        return {"of": None}
    machine.fetched.add(digest)
    machine.ready.add(digest)
    return {"of": next((each for each in (digest, machine.boot) if each in alike), alike[-1])}


async def _layer(machine: Machine, _: Arguments) -> dict[str, Any]:
    await machine.takes(MOMENT)
    return {"installed": 0}


async def _run(machine: Machine, arguments: Arguments) -> dict[str, Any]:
    stage, version = arguments["stage"], machine.world.version(arguments["release"])
    await machine.takes(machine.world.scenario.command)
    if version.flaw == stage.lower():
        raise Failed(stage, "the command failed with exit status 1")
    return {}


async def _prepare(machine: Machine, arguments: Arguments) -> dict[str, Any]:
    await machine.takes(MOMENT)
    if arguments["release"] not in machine.fetched:
        raise Failed("prepare", "the release is not on the instance")
    machine.ready.add(arguments["release"])
    return {}


async def _start(machine: Machine, arguments: Arguments) -> dict[str, Any]:
    digest, version = arguments["release"], machine.world.version(arguments["release"])
    if digest not in machine.ready:
        raise Failed("start", "the release is not on the instance")
    web = machine.webs.get(digest)
    began = machine.world.loop.time()
    if web is None:
        others = [each for each in machine.webs.values() if each.digest != digest]
        if others and (version.port is not None or arguments.get("stop_first")):
            before = (
                machine.undo[0]
                if machine.undo is not None and machine.undo[1] == others[0].digest
                else others[0].digest
            )
            machine.undo = (before, digest)
            machine.world.loop.call_later(arguments["verdict"], machine.no_verdict, machine.undo)
            for each in others:
                machine.stop(each.digest)
        web = machine.begin(digest, proven=False)
    try:
        limit = began + arguments["deadline"]
        while not web.works:
            if machine.webs.get(digest) is not web or machine.world.loop.time() > limit:
                raise Failed("start", "web did not become ready (simulated)")
            await asyncio.sleep(0.05)
    except BaseException:
        if not web.proven and machine.webs.get(digest) is web:
            machine.stop(digest)
        if machine.undo is not None and machine.undo[1] == digest:
            machine.go_back()
        raise
    web.proven = True
    if machine.undo is not None and machine.undo[0] == digest:
        machine.undo = None
    return {"address": machine.address, "port": web.port, "seconds": machine.world.loop.time() - began, "static": None}


async def _gate(machine: Machine, arguments: Arguments) -> dict[str, Any]:
    limit = machine.world.loop.time() + arguments["deadline"]
    passed = 0
    while True:
        web = machine.webs.get(arguments["release"])
        if web is None or not (web.up or web.starting):
            raise Failed("gate", "web does not run")
        passed = passed + 1 if web.works else 0
        if passed >= arguments["checks"]:
            return {"checks": passed, "errors": {"count": 0, "last": "", "lines": []}}
        if machine.world.loop.time() + arguments["interval"] > limit:
            raise Failed("gate", "web did not pass its checks")
        await asyncio.sleep(arguments["interval"])


async def _switch(machine: Machine, arguments: Arguments) -> dict[str, Any]:
    await machine.takes(MOMENT)
    _refuse_absent(machine, arguments["release"], "switch")
    return {"stopped": [], "started": []}


async def _commit(machine: Machine, arguments: Arguments) -> dict[str, Any]:
    await machine.takes(MOMENT)
    digest = arguments["release"]
    _refuse_absent(machine, digest, "commit")
    machine.boot, machine.undo = digest, None
    kept = {digest, *arguments["keep"], *machine.webs}
    machine.ready &= kept
    machine.fetched &= kept
    return {"removed": []}


async def _stop(machine: Machine, arguments: Arguments) -> dict[str, Any]:
    digest = arguments["release"]
    if machine.undo is not None and machine.undo[0] == digest:
        machine.undo = None
    await machine.takes(MOMENT)
    machine.stop(digest)
    return {"killed": False}


async def _smoke(machine: Machine, _: Arguments) -> dict[str, Any]:
    await machine.takes(MOMENT)
    return {}


def _refuse_absent(machine: Machine, digest: str, stage: str) -> None:
    if digest not in machine.webs:
        raise Failed(stage, f"web of release {digest}, which had passed its checks, is not there any more")


KINDS: dict[str, Callable[[Machine, Arguments], Awaitable[dict[str, Any]]]] = {
    "preflight": _preflight,
    "fetch": _fetch,
    "again": _again,
    "layer": _layer,
    "run": _run,
    "hooks": _run,
    "prepare": _prepare,
    "start": _start,
    "gate": _gate,
    "switch": _switch,
    "commit": _commit,
    "stop": _stop,
    "smoke": _smoke,
}
