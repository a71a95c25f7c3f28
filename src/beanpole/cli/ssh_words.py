"""The words with which the system's `ssh` goes to a server as we know it, and only to that one. Pure.

The pinned key is under the server's id in a known_hosts of its own: whatever the name or the port, no other one counts.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

AS_APPLICATION = """
import json, os, pwd, sys
instance, words = sys.argv[1], sys.argv[2:]
root = "/var/lib/beanpole/instances/" + instance
release = os.path.realpath(root + "/current")
try:
    with open(release + "/release.json") as file:
        made = json.load(file)
    user = pwd.getpwnam("bp-" + instance)
except FileNotFoundError:
    sys.exit("beanpole: instance %s has no release that is in use" % instance)
except KeyError:
    sys.exit("beanpole: there is no user bp-%s on this server" % instance)
path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
variables = {"HOME": root + "/home", "USER": user.pw_name, "LOGNAME": user.pw_name, "LANG": "C.UTF-8", "PATH": path}
variables.update({name: os.environ[name] for name in ("TERM",) if name in os.environ})
variables.update(made.get("environment") or {})
if made.get("layer"):
    variables["PATH"] = made["layer"] + "/bin:" + variables["PATH"]
    variables["VIRTUAL_ENV"] = made["layer"]
os.initgroups(user.pw_name, user.pw_gid)
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
os.chdir(release + "/app")
command = ["/bin/sh", "-c", words[0]] if words else ["/bin/sh", "-i"]
os.execve(command[0], command, variables)
"""
"""The program that becomes the application there: its user, its folder, its variables. Fixed; needs root to begin with.
The instance and the command come as words of their own."""


def known_hosts(host: dict[str, Any]) -> str:
    """The text of the file that `words_for` names."""
    return f"{host['HostId']} {host['HostKey']}\n"


def words_for(host: dict[str, Any], known: Path, command: Sequence[str], *, terminal: bool) -> list[str]:
    """`command`: one word that the login shell there reads, or none for a shell. `terminal`: ask for one there."""
    address = host["Address"]
    options = [
        f"UserKnownHostsFile={known}",
        "GlobalKnownHostsFile=none",
        f"HostKeyAlias={host['HostId']}",
        "StrictHostKeyChecking=yes",
        "CheckHostIP=no",
        "UpdateHostKeys=no",
    ]
    if address.get("Key"):
        options.append("IdentitiesOnly=yes")
    if address.get("Agent"):
        options.append(f"IdentityAgent={address['Agent']}")
    words = ["ssh", *(word for option in options for word in ("-o", option))]
    if address.get("Key"):
        words += ["-i", address["Key"]]
    words += _through(address)
    words += ["-p", str(address.get("Port", 22)), "-l", address["User"]]
    if terminal:
        words.append("-t")
    return [*words, "--", address["Host"], *command]


def as_application(host: dict[str, Any], instance: str, command: str | None) -> str:
    """The line for the login shell there that runs a command, or a shell, as the instance's application."""
    root = [] if host["Address"]["User"] == "root" else ["sudo", "-n"]
    words = [*root, "python3", "-I", "-c", AS_APPLICATION, instance, *([command] if command is not None else [])]
    return shlex.join(words)


def _through(address: dict[str, Any]) -> list[str]:
    """The way over jump hosts. Their own keys are asked for in the user's known_hosts, as `ssh -J` does."""
    jump, key = address.get("Jump"), address.get("JumpKey") or address.get("Key")
    if not jump:
        return []
    if not key or "," in jump:
        return ["-J", jump]
    # -J gives the jump host no key of its own; each % is doubled, since ssh replaces what comes after one.
    user, _, place = jump.rpartition("@")
    name, colon, port = place.rpartition(":") if place.count(":") == 1 else (place, "", "")
    words = ["ssh", "-i", key, *(["-l", user] if user else []), *(["-p", port] if colon else [])]
    line = shlex.join([*words, "-W", "HOST_AND_PORT", "--", (name or place).strip("[]")])
    return ["-o", f"ProxyCommand={line.replace('%', '%%').replace('HOST_AND_PORT', '[%h]:%p')}"]
