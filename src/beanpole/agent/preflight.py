"""The job `preflight`: what a deployment must know before it begins. Changes nothing."""

from __future__ import annotations

import os
import sys
from typing import Any, Dict

from .instance import Instance
from .jobs import Job


async def preflight(instance: Instance, job: Job) -> Dict[str, Any]:
    """Bytes free on disk and in memory, of the machine's whole memory, and held by the running web process; cores and
    Python's version.

    On a server `systemd` is what it says of itself, such as running or degraded.
    `kept` are the releases that were committed once and are still here: they can be started as they are.
    """
    releases = [instance.releases.find(digest) for digest in instance.releases.all()]
    return {
        "disk_free": instance.disk_free(),
        "memory_available": instance.kernel.memory_available(),
        "memory_total": instance.kernel.memory_total(),
        "rss": instance.running_web(),
        "cpus": os.cpu_count() or 1,
        "python": sys.version.split()[0],
        "boot": instance.releases.current,
        **await instance.runner.check(),
        "kept": [release.digest for release in releases if release is not None and release.durable],
    }
