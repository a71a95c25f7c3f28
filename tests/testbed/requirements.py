"""What a test bed needs from this machine: rights, kernel features, programs. `lacks` looks, `install` acts."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from .cgroup import roots
from .machine import PATH, BedError, attempt, run

PACKAGE_OF = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "bridge": "iproute2",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "mkfs.ext4": "e2fsprogs",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "mount": "mount",
    "nft": "nftables",
}
"""Debian's package for each program."""

TRY_OVERLAY = """
set -eu
mount -t tmpfs testbed /mnt
mkdir /mnt/lower /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work testbed /mnt/root
"""


def say(text: str) -> None:
    print(f"hosts: {text}", file=sys.stderr, flush=True)


def missing_packages() -> list[str]:
    search = os.environ.get("PATH", "") + ":" + PATH
    return sorted({package for tool, package in PACKAGE_OF.items() if not shutil.which(tool, path=search)})


def lacks() -> list[str]:
    """Why no test bed can be made here, in words; empty if it can, maybe after installing packages. Changes nothing."""
    if os.geteuid():
        return ["it must run as root"]
    found = []
    packages = missing_packages()
    if packages and not shutil.which("apt-get"):
        found.append(f"the packages {' '.join(packages)} are missing, and there is no apt-get (Debian, Ubuntu) here")
    try:
        group = roots()[0]
    except BedError as error:
        found.append(str(error))
    else:
        if not os.access(group, os.W_OK):
            found.append(f"{group} is mounted read-only")
    if not Path("/dev/loop-control").exists() and attempt("modprobe", "-q", "loop").returncode:
        found.append("there are no loop devices")
    tried = attempt("unshare", "--mount", "--propagation", "private", "sh", "-c", TRY_OVERLAY)
    if tried.returncode:
        found.append(f"an overlay cannot be mounted: {tried.stdout.strip()[-200:]}")
    return found


def install() -> None:
    """Installs what is missing with apt-get, and says so."""
    packages = missing_packages()
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise BedError(f"needs the packages {' '.join(packages)}, and there is no apt-get here")
    say(f"installing the Debian packages {' '.join(packages)} with apt-get")
    attempt("apt-get", "-q", "update")  # old lists may do; if not, the next command says so
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    run("apt-get", "-q", "-y", "--no-install-recommends", "install", *packages, env=environment)
