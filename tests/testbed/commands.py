"""The commands of `hosts`: from words to actions. Every command returns when its effect is there."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import bed
from .base import Base, locked
from .disk import fill
from .host import Host, all_hosts
from .machine import PATH, BedError, wait, write
from .network import Bridge
from .requirements import lacks
from .settings import MOST_HOSTS, Settings, folder_of, load

FOLDER = "/var/tmp/testbed"  # where TESTBED_DIR is not set
VERSION = "1"  # of the folder's layout
TURN = 1200.0  # seconds that a command waits for its turn; the longest one builds a base system
SHUTDOWN = 120.0  # seconds for a shutdown in order; systemd kills what takes longer than 90
SLOWEST = 60_000  # milliseconds
Words = Sequence[str]


def the_host(settings: Settings, name: str) -> Host:
    match = re.fullmatch(r"(?:host)?(\d{1,3})", name)
    host = Host(settings, int(match.group(1))) if match else None
    if not host or not host.exists():
        have = " ".join(other.name for other in all_hosts(settings) if other.exists())
        raise BedError(f"no host {name} (there is: {have or 'none; run: hosts up N'})")
    return host


def only(settings: Settings, words: Words) -> Host:
    if len(words) != 1:
        raise BedError("this command takes one HOST")
    return the_host(settings, words[0])


def running(host: Host) -> Host:
    if not host.on():
        raise BedError(f"{host.name} is off (hosts start {host.name})")
    return host


# The bed


def up(settings: Settings, words: Words) -> None:
    rest = [word for word in words if word != "--fresh"]
    if len(rest) != 1 or not rest[0].isdigit() or not 1 <= int(rest[0]) <= MOST_HOSTS:
        raise BedError(f"usage: hosts up N [--fresh], with N from 1 to {MOST_HOSTS}")
    for host in bed.up(settings, int(rest[0]), fresh="--fresh" in words):
        print(host["name"], host["address"], host["port"], host["user"], host["key"])


def down(settings: Settings, words: Words) -> None:
    if list(words) not in ([], ["--purge"]):
        raise BedError("usage: hosts down [--purge]")
    bed.down(settings, purge=bool(words))


def status(settings: Settings, words: Words) -> None:
    if list(words) not in ([], ["--json"]):
        raise BedError("usage: hosts status [--json]")
    rows = bed.status(settings)
    if words:
        print(json.dumps(rows, indent=1))
        return
    if not rows:
        print("no hosts")
    for row in rows:
        faults = [name for name in ("cut", "filled") if row[name]]
        if row["slow_ms"] or row["loss_percent"]:
            faults.append(f"slow {row['slow_ms']:g} ms, {row['loss_percent']:g} % lost")
        line = f"{row['name']:<7} {row['address']:<13} {row['state']:<7}"
        if row["memory_mb"] is not None:
            line += f"disk {row['disk_used_mb']} of {row['disk_mb']} MB, "
            line += f"memory {row['memory_mb']} MB, {row['processes']} processes"
        print("; ".join([line, *faults]))


# Looking inside


def execute(settings: Settings, words: Words) -> None:
    if len(words) < 2:
        raise BedError("usage: hosts exec HOST CMD...")
    host = running(the_host(settings, words[0]))
    init = host.init()
    if not init:
        raise BedError(f"{host.name} has no init yet")
    command = [*host.enter(init), *words[1:]]
    os.execvp(command[0], command)


def ssh(settings: Settings, words: Words) -> None:
    if not words:
        raise BedError("usage: hosts ssh HOST [CMD...]")
    host = the_host(settings, words[0])
    os.execvp("ssh", ["ssh", "-F", str(settings.folder / "ssh_config"), host.name, *words[1:]])


# Power


def kill(settings: Settings, words: Words) -> None:
    only(settings, words).power_off()


def stop(settings: Settings, words: Words) -> None:
    host = running(only(settings, words))
    if host.cgroup.frozen():
        raise BedError(f"{host.name} is frozen: thaw it first, or kill it")
    init = host.init()
    if init:
        os.kill(init, signal.SIGRTMIN + 4)  # to systemd: power off in order
        wait(f"{host.name} to shut down", SHUTDOWN, lambda: not host.on(), 0.05)
    host.power_off()


def start(settings: Settings, words: Words) -> None:
    host = only(settings, words)
    if host.on():
        raise BedError(f"{host.name} is on")
    Bridge(settings).up()
    host.start()
    host.ready()


def reset(settings: Settings, words: Words) -> None:
    host = only(settings, [word for word in words if word != "--new-key"])
    base = Base(settings).ensure()
    Bridge(settings).up()
    host.power_off()
    host.make(base, new_key="--new-key" in words)
    bed.write_files(settings)
    host.start()
    host.ready()


# Faults


def freeze(settings: Settings, words: Words) -> None:
    running(only(settings, words)).cgroup.freeze(True)


def thaw(settings: Settings, words: Words) -> None:
    running(only(settings, words)).cgroup.freeze(False)


def cut(settings: Settings, words: Words) -> None:
    note_link_fault(only(settings, words), cut=True)


def join(settings: Settings, words: Words) -> None:
    note_link_fault(only(settings, words), cut=None)


def slow(settings: Settings, words: Words) -> None:
    usage = f"usage: hosts slow HOST MS [LOSS], with MS from 0 to {SLOWEST} and LOSS from 0 to 100"
    if len(words) not in (2, 3):
        raise BedError(usage)
    try:
        milliseconds, loss = float(words[1]), float(words[2]) if len(words) == 3 else 0.0
    except ValueError as error:
        raise BedError(usage) from error
    if not 0 <= milliseconds <= SLOWEST or not 0 <= loss <= 100:
        raise BedError(usage)
    if (milliseconds or loss) and not Path("/dev/net/tun").exists():
        raise BedError("slow is not supported here: there is no /dev/net/tun")
    # With loss alone the relay runs too, with next to no delay.
    note_link_fault(the_host(settings, words[0]), slow=milliseconds or (0.001 if loss else None), loss=loss or None)


def wall(settings: Settings, words: Words) -> None:
    if not words or not all(word.isdigit() and 0 < int(word) < 65536 for word in words[1:]):
        raise BedError("usage: hosts wall HOST [PORT...]")
    host = the_host(settings, words[0])
    ports = [int(word) for word in words[1:]]
    host.note(wall=ports or None)
    if host.on():
        host.link.wall(ports)


def note_link_fault(host: Host, **fault: float | None) -> None:
    """Notes it, so that it lasts through kill and start, and applies it if the host is on."""
    host.note(**fault)
    if host.on():
        host.apply_faults()


def fill_disk(settings: Settings, words: Words) -> None:
    if len(words) not in (1, 2) or not all(word.isdigit() for word in words[1:]):
        raise BedError("usage: hosts fill HOST [KB]")
    host = running(the_host(settings, words[0]))
    mounted = host.mounted()
    host.note(filled=True)
    fill(mounted, leave=int(words[1]) * 1024 if len(words) == 2 else 0)


def unfill_disk(settings: Settings, words: Words) -> None:
    bed.end_filling(running(only(settings, words)))


# From words to commands


def check(words: Words) -> int:
    """Prints why there can be no test bed here, one reason per line; 1 if there is any."""
    if words:
        raise BedError("usage: hosts check")
    reasons = lacks()
    for reason in reasons:
        print(reason)
    return 1 if reasons else 0


Command = Callable[[Settings, Words], None]
UNLOCKED: dict[str, Command] = {"status": status, "exec": execute, "ssh": ssh}
LOCKED: dict[str, Command] = {
    "up": up,
    "down": down,
    "kill": kill,
    "stop": stop,
    "start": start,
    "reset": reset,
    "freeze": freeze,
    "thaw": thaw,
    "cut": cut,
    "join": join,
    "slow": slow,
    "wall": wall,
    "fill": fill_disk,
    "unfill": unfill_disk,
}


def dispatch(name: str, words: Words) -> int:
    if name == "check":
        return check(words)
    if os.geteuid():
        raise BedError("must run as root")
    folder = folder_of("TESTBED_DIR", str(Path(os.environ.get("TESTBED_DIR") or FOLDER).absolute()))
    if not (folder / bed.MARK).exists():
        if name in ("down", "status"):
            print("no hosts")
            return 0
        if name != "up":
            raise BedError(f"no test bed in {folder} (hosts up N makes one)")
        if folder.is_dir() and any(folder.iterdir()):
            raise BedError(f"{folder} is not empty and not a test bed")
        folder.mkdir(parents=True, exist_ok=True)
        write(folder / bed.MARK, VERSION + "\n")
    if name in UNLOCKED:
        UNLOCKED[name](load(folder, name, os.environ), words)
    else:
        with locked(folder / bed.LOCK, TURN):
            LOCKED[name](load(folder, name, os.environ), words)
    return 0


def main(words: Words, usage: str) -> int:
    """The exit status: 0, 1 with the cause on stderr, or 2 for wrong words."""
    if not words or words[0] in ("-h", "--help", "help"):
        print(usage.strip())
        return 0 if words else 2
    if words[0] != "check" and words[0] not in UNLOCKED and words[0] not in LOCKED:
        print(f"hosts: no command {words[0]}\n\n{usage.strip()}", file=sys.stderr)
        return 2
    os.environ["PATH"] = os.environ.get("PATH", "") + ":" + PATH
    try:
        return dispatch(words[0], words[1:])
    except (BedError, OSError, subprocess.TimeoutExpired) as error:
        print(f"hosts: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
