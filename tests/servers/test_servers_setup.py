"""What is decided about a server without it: which Python, which programs, what the unit of its agent says."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

import pytest

from beanpole.fleet.servers.agent_unit import AgentUnit
from beanpole.fleet.servers.equipment import Equipment
from beanpole.fleet.servers.facts import Facts, Python
from beanpole.fleet.servers.setup import agent_python


def python(path: str, *version: int, executable: str | None = None) -> Python:
    return Python(path=path, version=version or None, executable=executable)


@pytest.mark.pure
@pytest.mark.parametrize(
    ("pythons", "chosen"),
    [
        ((python("/usr/bin/python3", 3, 9, 2), python("/usr/bin/python3.11", 3, 11, 2)), "/usr/bin/python3.11"),
        ((python("/usr/bin/python3", 3, 9, 2, executable="/usr/bin/python3.9"),), "/usr/bin/python3.9"),
        ((python("/usr/bin/python3", 3, 9, 2), python("/home/x/python3.13", 3, 13, 0)), "/usr/bin/python3"),
        ((python("/usr/bin/python3", 3, 8, 2), python("/root/python3.13", 3, 13, 0)), "/root/python3.13"),
        ((python("/usr/bin/python3", 3, 8, 2), python("/usr/bin/python3.12")), None),
        (None, None),
    ],
)
def test_the_newest_python_that_is_nobodys_own_runs_the_agent(
    pythons: tuple[Python, ...] | None, chosen: str | None
) -> None:
    assert agent_python(Facts(pythons=pythons)) == chosen


@pytest.mark.pure
def test_the_unit_of_an_agent() -> None:
    unit = AgentUnit("i-1", "s1", "instance", "127.1.0.1", "bp-i-1")
    lines = unit.text("/opt/my python/100%/bin/python").splitlines()
    start = next(line for line in lines if line.startswith("ExecStart="))
    assert start == (
        'ExecStart="/opt/my python/100%%/bin/python" -I /var/lib/beanpole/agent/current run --home '
        "/var/lib/beanpole/instances/i-1 --socket /run/beanpole/i-1.sock --store s1 --role instance --force "
        "--address 127.1.0.1 --user bp-i-1"
    )
    assert {"Restart=always", "RestartSec=1", "KillMode=process", "WantedBy=multi-user.target"} <= set(lines)
    assert unit.file == "beanpole-agent-i-1.service"
    proxy = AgentUnit("proxy", "s1", "balancer").text("/usr/bin/python3")
    assert "--home /var/lib/beanpole/proxy " in proxy and "--address" not in proxy and "--user" not in proxy


def test_programs_for_another_architecture_are_those_that_were_given(tmp_path: Path) -> None:
    program = tmp_path / "agent-0123.pyz"
    program.write_bytes(b"agent")
    own = tmp_path / "own-envoy"
    own.write_bytes(b"own")
    folder = tmp_path / "given"
    equipment = Equipment(program, folder, lambda: own)
    assert equipment.machines() == [platform.machine()]
    assert equipment.binary("envoy", platform.machine()).path == own
    (folder / "riscv64").mkdir(parents=True)
    (folder / "riscv64" / "uv").write_bytes(b"uv for riscv64")
    assert equipment.machines() == [platform.machine()]
    (folder / "riscv64" / "envoy").write_bytes(b"envoy for riscv64")
    assert equipment.machines() == [platform.machine(), "riscv64"]
    digest = hashlib.sha256(b"envoy for riscv64").hexdigest()
    item = equipment.binary("envoy", "riscv64")
    assert (item.name, item.sha256, item.size) == (f"envoy-{digest[:16]}", digest, 17)
    assert equipment.envoy_path("riscv64") == f"/var/lib/beanpole/bin/envoy-{digest[:16]}"
    assert equipment.version == "0123" and equipment.program.name == "agent-0123.pyz"
