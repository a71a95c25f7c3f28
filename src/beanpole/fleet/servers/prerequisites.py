"""What a server must have before anything of ours runs there: rights, systemd, Python, architecture, C library.

Pure: facts in, findings out.
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from beanpole.fleet.servers.facts import PYTHON_FLOOR
from beanpole.fleet.servers.finding import SHOWN, Finding, blocking, dotted, some, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from beanpole.fleet.servers.facts import Facts

SYSTEMD_FLOOR = 240
"""The first with `StandardOutput=append:`, which our units need."""

GLIBC_FLOOR = (2, 31)
"""The oldest that Envoy's build starts on."""

ARCHITECTURES = ("x86_64", "aarch64")
"""What Envoy is built for."""


_TOOLS = {"find": ("findutils", "findutils"), "tar": ("tar", "tar"), "getent": ("libc-bin", "glibc-common")}
_TOOLS |= dict.fromkeys(("base64", "sha256sum"), ("coreutils", "coreutils"))
_TOOLS |= dict.fromkeys(("useradd", "userdel"), ("passwd", "shadow-utils"))
"""The packages of programs that smallest systems lack, of apt and of dnf."""


def rights(facts: Facts) -> Iterator[Finding]:
    if facts.uid == 0:
        return
    user = facts.user or "the user"
    line = f"{_sudoers_name(facts.user or 'USER')} ALL=(ALL:ALL) NOPASSWD: ALL"
    written = f"printf '%s\\n' {shlex.quote(line)}"
    permit = f"`{written} | sudo tee /etc/sudoers.d/beanpole && sudo chmod 0440 /etc/sudoers.d/beanpole`"
    said = f" ({facts.sudo_words})" if facts.sudo_words else ""
    if facts.sudo == "missing":
        install = _install(facts, "sudo", root=True)
        yield blocking(
            "sudo-missing",
            f"there is no sudo, and {user} is not root",
            f"as root: {install}, then `{written} > /etc/sudoers.d/beanpole`; or connect as root@HOST",
        )
    elif facts.sudo == "password":
        yield blocking("sudo-password", f"sudo asks {user} for a password{said}", f"as somebody who knows it: {permit}")
    elif facts.sudo == "no":
        yield blocking("sudo-refused", f"sudo refuses {user}{said}", f"as somebody with sudo: {permit}")
    elif facts.sudo is None and "rights" in facts.unfinished:
        name = shlex.quote(facts.host_name or "NAME")
        yield blocking(
            "sudo-silent",
            "sudo did not answer; often it cannot resolve the server's own name",
            f"on the server: `time sudo -n true`; if it is slow: `echo 127.0.1.1 {name} | sudo tee -a /etc/hosts`",
        )
    elif facts.sudo is None:
        yield blocking("sudo-unknown", f"whether {user} may use sudo is unknown", "on the server: `sudo -n true`")


def _sudoers_name(user: str) -> str:
    """The name as sudoers wants it; directory users are called `DOMAIN\\name` or `name@domain`."""
    return re.sub(r"([^\w.@$-])", r"\\\1", user)


def system(facts: Facts) -> Iterator[Finding]:
    if facts.init is not None and facts.init != "systemd":
        yield blocking(
            "systemd-missing",
            f"process 1 is {facts.init}, not systemd",
            "use a server that systemd manages (containers usually are not)",
        )
        return
    if facts.systemd is not None and facts.systemd < SYSTEMD_FLOOR:
        yield blocking(
            "systemd-old",
            f"systemd is {facts.systemd}; our units need {SYSTEMD_FLOOR} for StandardOutput=append:",
            "upgrade the system: Amazon Linux 2023, Debian 11, Ubuntu 20.04 or later",
        )
    state, failed = facts.systemd_state, facts.failed_units or ()
    if state in ("maintenance", "stopping"):
        yield blocking("systemd-state", f"systemd is in state {state}", "wait or reboot, then check again")
    elif state in ("initializing", "starting"):
        yield warning(
            "systemd-state", "the server is still starting", "`systemctl list-jobs`; check again when it is done"
        )
    elif state == "degraded" or failed:
        cause = f"systemd is degraded: {some(failed, 'unit')} failed" if failed else "systemd is degraded"
        yield warning("systemd-degraded", cause, "`systemctl --failed`; then mend, or `sudo systemctl reset-failed`")


def tools(facts: Facts) -> Iterator[Finding]:
    missing = [name for name in facts.missing_tools if name in _TOOLS]
    if missing:
        at = 1 if _family(facts) == "dnf" else 0
        packages = " ".join(dict.fromkeys(_TOOLS[name][at] for name in missing))
        yield blocking("tools-missing", f"there is no {' and no '.join(missing)}", _install(facts, packages))


def pythons(facts: Facts) -> Iterator[Finding]:
    if facts.pythons is None:
        return
    python, floor = facts.python, dotted(PYTHON_FLOOR)
    install = _install(facts, _newer(facts))
    if python is None:
        started = [each for each in facts.pythons if each.version]
        if started:
            seen = ", ".join(f"{dotted(each.version or ())} ({each.path})" for each in started[:SHOWN])
            yield blocking("python-old", f"Python is {seen}; the agent needs {floor} or later", install)
        elif facts.pythons:
            path = facts.pythons[0].path
            yield blocking(
                "python-broken",
                f"{path} does not start; the agent needs Python {floor} or later",
                f"try `{path} -V`; {install}",
            )
        else:
            yield blocking("python-missing", f"there is no python3; the agent needs {floor} or later", install)
        return
    if python.private:
        yield warning(
            "python-private",
            f"the only Python {floor} or later is {python.executable or python.path}; applications cannot look there",
            install,
        )
    if python.venv is False:
        yield warning(
            "python-venv",
            f"{python.path} ({dotted(python.version or ())}) cannot import venv and ensurepip",
            _install(facts, f"{python.path.rpartition('/')[2]}-{'libs' if _family(facts) == 'dnf' else 'venv'}"),
        )


def machine(facts: Facts) -> Iterator[Finding]:
    supported = " or ".join(ARCHITECTURES)
    if facts.architecture is not None and facts.architecture not in ARCHITECTURES:
        yield blocking(
            "architecture", f"the architecture is {facts.architecture}; Envoy needs {supported}", "use another server"
        )
    elif facts.word_bits == 32:
        yield blocking(
            "architecture",
            f"the system is 32-bit on a {facts.architecture} kernel; Envoy needs {supported}",
            "install a 64-bit system",
        )
    if facts.libc == "musl":
        yield blocking(
            "libc",
            f"the C library is musl; Envoy needs glibc {dotted(GLIBC_FLOOR)} or later",
            "use Debian, Ubuntu or Amazon Linux instead of Alpine",
        )
    elif facts.libc_version is not None and facts.libc_version < GLIBC_FLOOR:
        yield blocking(
            "libc",
            f"glibc is {dotted(facts.libc_version)}; Envoy needs {dotted(GLIBC_FLOOR)} or later",
            "upgrade the system: Amazon Linux 2023, Debian 11, Ubuntu 20.04 or later",
        )


def _newer(facts: Facts) -> str:
    """The package to install: where the system's own python3 is too old, these lie beside it in the distribution's."""
    beside = {"apt-get": "python3.9", "dnf": "python3.11"}.get(_family(facts) or "")
    return beside if facts.pythons and beside else "python3"


def _family(facts: Facts) -> str | None:
    kin = {facts.os_id, *facts.os_like}
    if kin & {"debian", "ubuntu"}:
        return "apt-get"
    return "dnf" if kin & {"amzn", "fedora", "rhel", "centos"} else None


def _install(facts: Facts, package: str, *, root: bool = False) -> str:
    family = _family(facts)
    if family is None:
        return f"install {package} from the system's packages"
    return f"`{'' if root else 'sudo '}{family} install {package}`"
