"""Memory, and what is used of a processor, of each process of Beanpole while nothing is asked of it. Needs /proc."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from beanpole.cli.leftovers import leftovers
from figure import Figure
from scratch import Broken, Scratch

SECONDS = 25.0
"""Of watching. Shorter, a tick of the processor's clock (10 ms) would be a large part of what an agent uses."""

SETTLE = 5.0
"""Seconds before that, for whatever the last operation left to do."""

PROC = Path("/proc")


@dataclass(frozen=True)
class Use:
    """Megabytes of memory, with shared pages shared out (PSS) and whole (RSS), and percent of one core."""

    pss: float
    rss: float
    cpu: float


def idle(scratch: Scratch) -> list[Figure]:
    """Raises Broken where a process that should be there is not."""
    if not (PROC / "self" / "smaps_rollup").exists():
        return [Figure("idle", "memory and idle processor", None, "", note="needs Linux's /proc")]
    groups = processes(scratch)
    time.sleep(SETTLE)
    before = {pid: cpu_seconds(pid) for pids in groups.values() for pid in pids}
    began = time.monotonic()
    time.sleep(SECONDS)
    passed = time.monotonic() - began
    found: list[Figure] = []
    for key, name, memory, cpu in (
        ("control_plane", "control plane", 150.0, 1.0),
        ("agent", "agent of an instance", 40.0, 0.2),
        ("edge_agent", "agent of the balancer", 40.0, 0.2),
        ("envoy", "Envoy", None, None),
    ):
        uses = [_use(pid, before[pid], passed) for pid in groups[key]]
        worst = Use(max(u.pss for u in uses), max(u.rss for u in uses), max(u.cpu for u in uses))
        of = f"the largest of {len(uses)}, " if len(uses) > 1 else ""
        found.append(
            Figure(
                f"idle.{key}.memory",
                f"{name}: memory",
                worst.pss,
                "MB",
                most=memory,
                goal=f"{memory:.0f} MB" if memory else "",
                note=f"{of}PSS; RSS {worst.rss:.0f} MB",
            )
        )
        found.append(
            Figure(
                f"idle.{key}.cpu",
                "  processor when idle",
                worst.cpu,
                "% of a core",
                most=cpu,
                goal=f"{cpu:g} %" if cpu else "",
                note=f"{of}over {passed:.0f} s",
            )
        )
    return found


def processes(scratch: Scratch) -> dict[str, list[int]]:
    """Pids of control plane, instances' agents, balancer's agent and Envoy."""
    groups: dict[str, list[int]] = {"control_plane": [], "agent": [], "edge_agent": [], "envoy": []}
    if (holder := scratch.home.holder()) is not None:
        groups["control_plane"].append(holder)
    for process in leftovers(scratch.home.root):
        words = (PROC / str(process.pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
        if process.name == "envoy":
            groups["envoy"].append(process.pid)
        elif "--role" in words:
            groups["agent" if "instance" in words else "edge_agent"].append(process.pid)
    if missing := [name for name, pids in groups.items() if not pids]:
        raise Broken(f"these processes are not there: {', '.join(missing)}")
    return groups


def cpu_seconds(pid: int) -> float:
    """Used so far, in user mode and in the kernel."""
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _use(pid: int, before: float, seconds: float) -> Use:
    pairs = (line.split() for line in (PROC / str(pid) / "smaps_rollup").read_text().splitlines()[1:])
    sizes = {pair[0].rstrip(":"): int(pair[1]) / 1024 for pair in pairs}
    return Use(sizes["Pss"], sizes["Rss"], 100 * (cpu_seconds(pid) - before) / seconds)
