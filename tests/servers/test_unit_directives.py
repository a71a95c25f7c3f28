"""Every directive of the units that we write is known to the oldest systemd that we take, or may be missing there.

Versions are those in which systemd's NEWS announces a directive or a value; 0: older than anything that matters.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from beanpole.agent.runner import Order
from beanpole.agent.unit_text import Site, unit_text
from beanpole.fleet.servers.agent_unit import AgentUnit
from beanpole.fleet.servers.prerequisites import SYSTEMD_FLOOR
from beanpole.fleet.servers.scripts import script

pytestmark = pytest.mark.pure

SINCE = {
    "After": 0,
    "Description": 0,
    "EnvironmentFile": 0,
    "ExecStart": 0,
    "KillMode": 0,
    "LimitNOFILE": 0,
    "OOMPolicy": 243,
    "OOMScoreAdjust": 0,
    "PIDFile": 0,
    "Restart": 0,
    "RestartPreventExitStatus": 189,
    "RestartSec": 0,
    "StandardError": 0,
    "StandardInput": 0,
    "StandardOutput": 0,
    "StartLimitIntervalSec": 230,
    "TimeoutStopSec": 188,
    "Type": 0,
    "UMask": 0,
    "UnsetEnvironment": 235,
    "User": 0,
    "WantedBy": 0,
    "WorkingDirectory": 0,
}
VALUES = {"Type=exec": 240, "StandardOutput=append:": 240, "StandardError=append:": 240}
OPTIONAL = {"OOMPolicy"}
"""Before 243 a kill for lack of memory ended no unit, which is what we ask for."""


def order() -> Order:
    folder = Path("/var/lib/beanpole/instances/i-1")
    return Order(
        name="web",
        release="r1",
        command="python app.py",
        folder=folder,
        environment={},
        mark="m",
        log=folder / "log" / "web.log",
        proven=True,
        raised=True,
    )


def left_behind() -> str:
    """The unit that Envoy becomes when Beanpole leaves."""
    text = script("remove")
    return text[text.index('cat >"$UNITS/') : text.index("systemctl enable")]


UNITS = {
    "application": lambda: unit_text(Site("i-1", "bp-i-1", "/usr/bin/python3"), order(), Path("/x/env")),
    "agent": lambda: AgentUnit("i-1", "s", "instance", "127.0.0.1", "bp-i-1").text("/usr/bin/python3"),
    "left behind": left_behind,
}


@pytest.mark.parametrize("name", UNITS)
def test_the_oldest_systemd_knows_what_we_write(name: str) -> None:
    text = UNITS[name]()
    directives = re.findall(r"^([A-Z][A-Za-z]+)=", text, re.MULTILINE)
    assert directives
    for directive in directives:
        assert SINCE[directive] <= SYSTEMD_FLOOR or directive in OPTIONAL, directive
    for words, since in VALUES.items():
        assert since <= SYSTEMD_FLOOR or words not in text, words
