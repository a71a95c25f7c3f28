"""The scripts that run on servers, here in a folder of this machine, with a systemctl that only takes notes."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from beanpole.fleet.servers import layout, scripts

MACHINE = platform.machine()


class Site:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.tools = root / "tools"
        self.tools.mkdir()
        self.notes = root / "notes"
        self.notes.touch()
        systemctl = self.tools / "systemctl"
        systemctl.write_text(f'#!/bin/sh\necho "$@" >>{self.notes}\n')
        systemctl.chmod(0o755)

    def run(self, name: str, *words: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = ["sh", "-c", scripts.script(name), "beanpole", *words]
        environment = {**os.environ, "PATH": f"{self.tools}:{os.environ['PATH']}"}
        return subprocess.run(command, input=data, capture_output=True, timeout=60, check=False, env=environment)

    def told(self, name: str, *words: str, data: bytes = b"") -> list[list[str]]:
        ran = self.run(name, *words, data=data)
        assert ran.returncode == 0, ran.stderr
        return list(scripts.told(ran.stdout))

    def prepare(self, store: str = "s1", force: str = "", python: str = "") -> list[list[str]]:
        return self.told("prepare", store, "2026-01-01T00:00:00+00:00", force, MACHINE, python)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    for name in ("HOLDER", "BLOBS", "LAYERS", "PROGRAMS", "PROGRAM", "BINARIES", "INSTANCES"):
        monkeypatch.setattr(layout, name, f"{tmp_path}/lib{getattr(layout, name).removeprefix(layout.ROOT)}")
    monkeypatch.setattr(layout, "ROOT", f"{tmp_path}/lib")
    monkeypatch.setattr(layout, "SOCKETS", f"{tmp_path}/run")
    monkeypatch.setattr(layout, "UNITS", f"{tmp_path}/units")
    (tmp_path / "units").mkdir()
    return Site(tmp_path)


def blob(data: bytes) -> str:
    digest = hashlib.sha256(data).hexdigest()
    path = Path(layout.BLOBS, digest[:2], digest)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return digest


def test_folders_are_made_and_the_holder_is_written_once(site: Site) -> None:
    assert site.prepare() == [["machine", MACHINE], ["ours"]]
    before = Path(layout.HOLDER).read_text()
    assert json.loads(before) == {"store": "s1", "since": "2026-01-01T00:00:00+00:00"}
    modes = {Path(path).stat().st_mode & 0o777 for path in (layout.BLOBS, layout.SOCKETS)}
    assert modes == {0o700} and Path(layout.ROOT).stat().st_mode & 0o777 == 0o711
    assert site.told("prepare", "s1", "later", "", MACHINE, "") == [["machine", MACHINE], ["ours"]]
    assert Path(layout.HOLDER).read_text() == before
    assert {path.name for path in Path(layout.ROOT).iterdir() if path.is_file()} == {"host.json"}


@pytest.mark.parametrize("text", ['{"store": "s0", "since": "then"}', "", "not json"])
def test_a_holder_that_is_not_us_is_left_alone_but_for_force(site: Site, text: str) -> None:
    Path(layout.ROOT).mkdir()
    Path(layout.HOLDER).write_text(text)
    told = site.prepare()
    assert told[1] == (["held", "s0", "then"] if text.startswith("{") else ["held", "", ""])
    assert ["ours"] not in told and Path(layout.HOLDER).read_text() == text
    assert [path.name for path in Path(layout.ROOT).iterdir()] == ["host.json"]
    assert ["ours"] in site.prepare(force="force")
    assert json.loads(Path(layout.HOLDER).read_text())["store"] == "s1"


def test_another_architecture_changes_nothing(site: Site) -> None:
    assert site.told("prepare", "s1", "now", "", "sparc64", "") == [["machine", MACHINE]]
    assert not Path(layout.ROOT).exists()


def test_what_is_there_is_told(site: Site) -> None:
    site.prepare()
    Path(layout.PROGRAMS, "agent-1.pyz").touch()
    Path(layout.PROGRAM).symlink_to("agent-1.pyz")
    Path(layout.UNITS, layout.agent_unit("i-1")).touch()
    Path(layout.UNITS, layout.agent_unit("proxy")).touch()
    home = Path(layout.ROOT, "proxy")
    home.mkdir()
    hello = {"protocol": [1, 2], "version": "0.1+ab"}
    (home / "agent.json").write_text(json.dumps(hello, separators=(",", ":")))
    told = site.prepare(python=sys.executable)
    assert told[2:] == [
        ["file", "agent-1.pyz"],
        ["file", "agent-1.pyz", "current"],
        ["python"],
        ["agent", "i-1", "-", "0", "0"],
        ["agent", "proxy", "0.1+ab", "1", "2"],
    ]
    assert ["python"] not in site.prepare(python="/nonexistent/python")


def test_a_program_gets_its_name_when_all_of_it_is_there(site: Site) -> None:
    site.prepare()
    digest = hashlib.sha256(b"program").hexdigest()
    cut = site.run("receive", digest, "agent-1.pyz", data=b"prog")
    assert cut.returncode == 3 and b"what came has SHA-256" in cut.stderr
    assert list(Path(layout.PROGRAMS).iterdir()) == []
    site.told("receive", digest, "agent-1.pyz", data=b"program")
    assert Path(layout.PROGRAMS, "agent-1.pyz").read_bytes() == b"program"
    assert len(list(Path(layout.PROGRAMS).iterdir())) == 1


def test_programs_get_their_names_and_the_one_before_stays(site: Site) -> None:
    site.prepare()
    names = [f"agent-{number}.pyz" for number in range(3)]
    for number, name in enumerate(names):
        Path(layout.PROGRAMS, name).write_text("")
        uv = blob(f"#!/bin/sh\necho uv {number}\n".encode())
        site.told("equip", sys.executable, name, f"uv-{number}", uv)
        assert Path(layout.PROGRAM).readlink() == Path(name)
        said = subprocess.run([f"{layout.BINARIES}/uv"], capture_output=True, text=True, check=True)
        assert said.stdout == f"uv {number}\n"
    assert sorted(path.name for path in Path(layout.PROGRAMS).iterdir()) == [*names[1:], "current"]


def test_a_program_that_does_not_start_there_is_not_switched_to(site: Site) -> None:
    site.prepare()
    Path(layout.PROGRAMS, "agent-1.pyz").write_text("raise SystemExit('it does not')")
    ran = site.run("equip", sys.executable, "agent-1.pyz")
    assert ran.returncode != 0 and b"it does not" in ran.stderr
    assert not Path(layout.PROGRAM).is_symlink()


def test_only_an_agent_without_a_job_is_restarted(site: Site, tmp_path: Path) -> None:
    jobs = tmp_path / "home" / "jobs"
    jobs.mkdir(parents=True)
    record = {"key": "k", "kind": "run", "state": "running"}
    done = {"key": "k0", "kind": "run", "state": "succeeded", "result": {"state": "running"}}
    (jobs / "k0.json").write_text(json.dumps(done, separators=(",", ":")))
    (jobs / "k.json").write_text(json.dumps(record, separators=(",", ":")))
    assert site.told("renew", "u.service", str(tmp_path / "home")) == [["busy"]]
    assert site.notes.read_text() == ""
    (jobs / "k.json").unlink()
    assert site.told("renew", "u.service", str(tmp_path / "home")) == [["restarted"]]
    assert site.notes.read_text() == "restart u.service\n"


def test_an_agents_unit_is_written_when_it_is_another(site: Site) -> None:
    site.told("agent", "a.service", "text 100% $x\n", "", "/home")
    path = Path(layout.UNITS, "a.service")
    assert path.read_text() == "text 100% $x\n" and path.stat().st_mode & 0o777 == 0o644
    assert site.notes.read_text().splitlines() == [
        "daemon-reload",
        "reset-failed a.service",
        "enable --quiet a.service",
        "start a.service",
    ]
    site.notes.write_text("")
    site.told("agent", "a.service", "text 100% $x\n", "", "/home")
    assert "daemon-reload" not in site.notes.read_text()
    site.notes.write_text("")
    site.told("agent", "a.service", "another\n", "", "/home")
    assert site.notes.read_text().splitlines()[-1] == "restart a.service"


def test_blobs_that_are_missing_are_told(site: Site) -> None:
    site.prepare()
    there, away = blob(b"x"), hashlib.sha256(b"y").hexdigest()
    assert site.told("missing", data=f"{there}\n{away}\n".encode()) == [["missing", away]]


def test_old_things_are_listed_and_what_is_named_goes(site: Site) -> None:
    site.prepare()
    digests = [blob(b"x"), blob(b"y"), blob(b"z")]
    layers = [Path(layout.LAYERS, name) for name in ("k1", "k2")]
    for layer in layers:
        layer.mkdir()
        Path(layout.LAYERS, f".{layer.name}.lock").touch()
    binaries = [Path(layout.BINARIES, name) for name in ("envoy-1", "envoy-2")]
    for binary in binaries:
        binary.touch()
    for path in (*layers, *binaries, *(Path(layout.BLOBS, each[:2], each) for each in digests[:2])):
        os.utime(path, (1, 1))
    told = sorted(site.told("listing", "60"))
    named = [["layer", "k1"], ["layer", "k2"], ["binary", "envoy-1"], ["binary", "envoy-2"]]
    assert told == sorted([["blob", digests[0]], ["blob", digests[1]], *named])
    # The agent beside the proxy would start that one.
    home = Path(layout.ROOT, layout.PROXY)
    home.mkdir()
    (home / "envoy.json").write_text(json.dumps({"setup": {"binary": str(binaries[1])}}))
    site.told("prune", data=f"blob {digests[0]}\nlayer k1\nbinary envoy-1\nbinary envoy-2\n".encode())
    assert sorted(site.told("listing", "60")) == sorted([["blob", digests[1]], ["layer", "k2"], ["binary", "envoy-2"]])
    assert [path.name for path in Path(layout.LAYERS).glob(".*")] == [".k2.lock"]
