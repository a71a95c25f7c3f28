"""The base system: a small Debian tree that all hosts share, read-only, below a disk of each one's own.

Built once per suite and list of packages, kept in the settings' `bases` folder, which other beds may share.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .machine import PATH, BedError, attempt, read, remove_tree, wait, write
from .requirements import say
from .settings import Settings

VERSION = "1"  # of the recipe below; another number makes another base system
USER, UID = "admin", 1000
PACKAGES = [
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "python3", "python3-venv", "iproute2"),
    *("ca-certificates", "sudo", "curl", "procps", "iputils-ping", "less", "rsync", "unzip", "xz-utils"),
]
MASKED = [
    *("console-getty.service", "apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer"),
    *("e2scrub_reap.service", "fstrim.timer", "dpkg-db-backup.timer"),
]
"""Units that would act by themselves, at times of their own."""

PREPARE = f"""
rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /etc/ssh/ssh_host_*
groupadd -g {UID} {USER}
useradd -m -u {UID} -g {UID} -G adm,sudo,systemd-journal -s /bin/bash {USER}
install -d -m 700 -o {UID} -g {UID} /home/{USER}/.ssh
"""

FILES = {
    f"etc/sudoers.d/90-{USER}": (f"{USER} ALL=(ALL) NOPASSWD:ALL\n", 0o440),
    "etc/ssh/sshd_config.d/10-testbed.conf": ("PermitRootLogin no\nPasswordAuthentication no\n", 0o644),
    "etc/systemd/journald.conf.d/10-testbed.conf": ("[Journal]\nStorage=persistent\nSystemMaxUse=64M\n", 0o644),
    "etc/default/locale": ("LANG=C.UTF-8\n", 0o644),
    "etc/machine-id": ("", 0o644),
}

BUILDING = 900.0  # seconds to wait for another bed that builds the same base system
SHOWN = 1500  # characters of the build's log that a failure shows


class Base:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @property
    def key(self) -> str:
        """Names the base system of these settings."""
        what = [VERSION, self.settings.suite, PACKAGES, list(self.settings.packages), MASKED, USER]
        return self.settings.suite + "-" + hashlib.sha256(json.dumps(what).encode()).hexdigest()[:10]

    def folder(self, key: str) -> Path:
        return self.settings.bases / f"base-{key}"

    def is_there(self, key: str) -> bool:
        return self._done(key).exists()

    def ensure(self) -> str:
        """Builds the base system if it is missing; returns its key."""
        if not self.is_there(self.key):
            self.settings.bases.mkdir(parents=True, exist_ok=True)
            with locked(self.settings.bases / "base-lock", BUILDING):
                if not self.is_there(self.key):  # nobody else built it meanwhile
                    self._build()
        return self.key

    def _done(self, key: str) -> Path:
        return self.settings.bases / f"base-{key}.ok"

    def _build(self) -> None:
        began = time.monotonic()
        base = self.folder(self.key)
        part, log = base.with_name(base.name + ".part"), base.with_name(base.name + ".log")
        remove_tree(base, self.settings.bases)
        remove_tree(part, self.settings.bases)
        mirror, proxy = apt_source(self.settings.suite)
        say(f"building the base system ({self.settings.suite}; up to a minute; log: {log})")
        debootstrap = ["mmdebstrap", "--variant=minbase", "--components=main"]
        include = "--include=" + ",".join([*PACKAGES, *self.settings.packages])
        self._step(log, proxy, *debootstrap, include, self.settings.suite, str(part), *([mirror] if mirror else []))
        self._step(log, proxy, "chroot", str(part), "sh", "-ec", PREPARE)
        for name, (text, mode) in FILES.items():
            write(part / name, text, mode)
        links = {f"etc/systemd/system/{unit}": "/dev/null" for unit in MASKED} | {"etc/mtab": "../proc/self/mounts"}
        for name, target in links.items():
            if not os.path.lexists(part / name):
                (part / name).symlink_to(target)
        part.rename(base)
        write(self._done(self.key), "")
        say(f"base system built in {time.monotonic() - began:.0f} s")

    def _step(self, log: Path, proxy: str, *words: str) -> None:
        environment = dict(os.environ, PATH=PATH, DEBIAN_FRONTEND="noninteractive", LC_ALL="C.UTF-8")
        environment.pop("LD_PRELOAD", None)
        if proxy:
            environment.setdefault("http_proxy", proxy)
        with log.open("ab") as output:
            # In a mount namespace of its own, so that no mount can be left behind.
            done = subprocess.run(
                ["unshare", "--mount", "--propagation", "private", *words],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=BUILDING,
                check=False,
            )
        if done.returncode:
            end = read(log)[-SHOWN:]
            raise BedError(f"building the base system: {words[0]}: exit {done.returncode}; end of {log}:\n{end}")


def apt_source(suite: str) -> tuple[str, str]:
    """(mirror, proxy) that apt uses on this machine for the suite; either may be empty."""
    mirror, proxy = os.environ.get("TESTBED_MIRROR", ""), ""
    if shutil.which("apt-get"):
        found = attempt("apt-get", "indextargets", "--format", "$(REPO_URI) $(CODENAME) $(COMPONENT)")
        for line in found.stdout.splitlines() if found.returncode == 0 else []:
            fields = line.split()
            if not mirror and len(fields) == 3 and fields[1:] == [suite, "main"]:
                mirror = fields[0].rstrip("/")
        found = attempt("apt-config", "shell", "P", "Acquire::http::Proxy")
        match = re.match(r"P='(http[^']*)'", found.stdout)
        proxy = match.group(1) if match else ""
    return mirror, proxy


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """One command at a time; a BedError when another one holds the lock for longer than this."""

    def taken() -> bool:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    with path.open("w") as lock:
        wait(f"another command that holds {path}", seconds, taken, step=0.05)
        yield
