"""The texts that systemd is given for one process of a release: its unit, and the file with its environment. Pure.

systemd reads much into plain text: specifiers (%), variables ($), escapes, ends of lines. Whatever a command or a
variable holds arrives exactly, or is refused by name.
"""

from __future__ import annotations

import base64
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import List, Mapping, Optional

from .failure import JobFailure
from .kernel import MARK
from .runner import OOM_RAISED, STAGE, Order
from .shell import shell_line

STOP_SECONDS = 90.0  # from SIGTERM to SIGKILL when the machine is shut down
RESTART_SECONDS = 1.0  # before systemd starts a proven process again
STRING_LIMIT = 128 * 1024 - 1  # bytes of NAME=value: what Linux gives to a program as one string
ENCODED = "BEANPOLE_ENCODED_"
"""Begins the names of variables that hold another one, of a kind that systemd would drop."""

FOREIGN = ("INVOCATION_ID", "JOURNAL_STREAM", "SHELL", "SYSTEMD_EXEC_PID")
"""What systemd adds by itself and an application does not get elsewhere; SHELL would be the one that admits nobody."""

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAME_LIMIT = 255  # characters of a unit's name
# Older versions of systemd drop variables with control characters, and all drop those with Unicode's non-characters.
_NON_CHARACTERS = "".join(chr(plane + end) for plane in range(0, 0x110000, 0x10000) for end in (0xFFFE, 0xFFFF))
_DROPPED = re.compile(f"[\x00-\x08\x0b-\x1f\x7f\ufdd0-\ufdef{_NON_CHARACTERS}]")
_DECODER = (
    "import base64,os,sys;e=os.environb;"
    f"d=[base64.b64decode(e.pop(k)).split(b'=',1) for k in list(e) if k.startswith(b'{ENCODED}')];"
    "os.execve('/bin/sh',['/bin/sh','-c',sys.argv[1]],{**e,**dict(d)})"
)


@dataclass(frozen=True)
class Site:
    """What all units of one instance have in common. `python` makes what had to be encoded plain again."""

    instance: str
    user: str
    python: str


def unit_name(instance: str, process: str, release: str) -> str:
    """The unit of that process. JobFailure for what cannot be part of a name."""
    name = f"beanpole-{instance}-{process}-{release}.service"
    if not all(_PART.fullmatch(part) for part in (instance, process, release)) or len(name) > _NAME_LIMIT:
        raise JobFailure(STAGE, f"{name!r} cannot name a unit of systemd", "Give the process a shorter, plain name.")
    return name


def unit_text(site: Site, order: Order, environment: Path) -> str:
    """The unit. JobFailure for a command that no unit can hold."""
    try:
        shell_line(order.command).encode()
    except UnicodeEncodeError as error:
        message = f"the command of process {order.name} is no text: {error}"
        raise JobFailure(STAGE, message, "Correct the Procfile.", command=ascii(order.command)) from error
    words = [site.python, "-I", "-c", _DECODER] if _encoded(order.environment) else ["/bin/sh", "-c"]
    command = " ".join(_word(word) for word in [*words, shell_line(order.command)])
    foreign = [name for name in FOREIGN if name not in order.environment]
    text = f"""\
# Written by Beanpole. Put changes of yours into a drop-in (systemctl edit): this file is written anew.
[Unit]
Description=Beanpole {site.instance}: {order.name} of release {order.release}
After=network.target network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
User={site.user}
WorkingDirectory={_plain(str(order.folder))}
EnvironmentFile={_plain(str(environment))}
UnsetEnvironment={" ".join(foreign)}
ExecStart={command}
StandardInput=null
StandardOutput=append:{_plain(str(order.log))}
StandardError=append:{_plain(str(order.log))}
UMask=0022
LimitNOFILE=65536
KillMode=control-group
TimeoutStopSec={STOP_SECONDS:.0f}
OOMPolicy=continue
OOMScoreAdjust=
Restart=
RestartSec={RESTART_SECONDS:.0f}

[Install]
WantedBy=multi-user.target
"""
    return staged(text, proven=order.proven, raised=order.raised)


def staged(
    text: str, *, proven: Optional[bool] = None, raised: Optional[bool] = None, stop: Optional[float] = None
) -> str:
    """The same unit at another stage: restarted when it dies or not, first victim of a lack of memory or not.

    `stop`: seconds before SIGKILL, which for one stop may have to be more than usual.
    """
    lines = text.splitlines()
    if proven is not None:
        lines = _with(lines, "Restart=", "always" if proven else "no")
    if raised is not None:
        lines = _with(lines, "OOMScoreAdjust=", str(OOM_RAISED) if raised else "")
    if stop is not None:
        lines = _with(lines, "TimeoutStopSec=", f"{stop:.0f}")
    return "\n".join([*lines, ""])


def environment_text(environment: Mapping[str, str], mark: str) -> str:
    """The file for EnvironmentFile=. JobFailure that names a variable which no process can be given."""
    lines = []
    for name, value in {**environment, MARK: mark}.items():
        if _is_plain(name, value):
            lines.append(f"{name}={_quoted(name, value)}")
    for number, (name, value) in enumerate(_encoded(environment).items()):
        key = f"{ENCODED}{number}"
        lines.append(f"{key}={_quoted(key, base64.b64encode(_bytes(name, value)).decode(), name)}")
    return "\n".join([*lines, ""])


def _encoded(environment: Mapping[str, str]) -> Mapping[str, str]:
    return {name: value for name, value in environment.items() if not _is_plain(name, value)}


def _is_plain(name: str, value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return bool(_PLAIN_NAME.fullmatch(name)) and not _DROPPED.search(value)


def _bytes(name: str, value: str) -> bytes:
    try:
        return os.fsencode(name) + b"=" + os.fsencode(value)
    except UnicodeEncodeError as error:
        message = f"the environment variable {name!a} is no text: {error}"
        raise JobFailure(STAGE, message, "Correct the environment property.") from error


def _quoted(key: str, value: str, name: str = "") -> str:
    if len(f"{key}={value}".encode()) > STRING_LIMIT:
        message = f"the environment variable {name or key} is longer than {STRING_LIMIT} bytes"
        raise JobFailure(STAGE, message, "Put so much into a file of the bundle, or let the application fetch it.")
    # Between double quotes these four are escaped, and all else, ends of lines too, stands for itself.
    return '"' + re.sub(r'(["\\`$])', r"\\\1", value) + '"'


def _word(text: str) -> str:
    """One word of a command line: C's escapes, no specifier, no variable."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return '"' + re.sub(r"[\x01-\x1f\x7f]", lambda found: f"\\x{ord(found.group()):02x}", escaped) + '"'


def _plain(path: str) -> str:
    return path.replace("%", "%%")


def _with(lines: List[str], key: str, value: str) -> List[str]:
    return [f"{key}{value}" if line.startswith(key) else line for line in lines]
