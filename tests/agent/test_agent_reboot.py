"""After a reboot: what /state tells of the web process, which the balancer is then told."""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from agent_site import PYTHON, WEB, Site, eventually

from beanpole.agent.kernel import this_kernel
from beanpole.fleet.agent_client import JobFailed

SWITCHABLE = "import os\nif os.path.exists('broken'):\n    raise SystemExit(3)\n" + WEB


def committed(site: Site, **more: object) -> dict[str, object]:
    """What /state told of a web process that was the boot target before the reboot."""
    site.prepare("r1", {"web": f"{PYTHON} web.py"}, {"web.py": SWITCHABLE}, **more)
    site.run_web("r1")
    site.job("commit", release="r1", keep=[])
    return site.process("r1")


def reboot(site: Site) -> None:
    """As far as an agent can tell: nothing runs, and the kernel's boot id is another one."""
    site.end()
    prefix = json.loads((site.home / "home.json").read_text())["id"]
    for pid in this_kernel().marked(prefix):
        os.kill(pid, signal.SIGKILL)
    eventually("nothing runs", lambda: not this_kernel().marked(prefix))
    table = site.home / "processes.json"
    table.write_text(json.dumps({**json.loads(table.read_text()), "boot": "the one before"}))


@contextmanager
def taken(port: int) -> Iterator[None]:
    with socket.create_server(("127.0.0.1", port)):
        yield


@pytest.mark.parametrize("bind", ["127.0.0.1", "127.0.0.7"], ids=["all instances' address", "its own address"])
def test_a_web_process_whose_port_was_taken_is_found_at_what_the_state_tells(site: Site, bind: str) -> None:
    before = committed(site, environment={"BIND": bind})
    assert before["address"] == bind
    reboot(site)

    with taken(int(str(before["port"]))):
        site.start()
        after = eventually("web runs", lambda: site.process("r1") if site.process("r1").get("pid") else None)

        assert after["address"] == bind
        assert after["port"] not in (None, before["port"])
        eventually("it answers there", lambda: answers(after["address"], after["port"]))


@pytest.mark.parametrize("kind", ["switch", "commit"])
def test_what_a_reboot_ended_before_it_was_committed_is_not_committed(site: Site, kind: str) -> None:
    before = committed(site)
    site.prepare("r2", {"web": f"{PYTHON} web.py"}, {"web.py": WEB})
    site.run_web("r2")
    reboot(site)
    site.start()
    eventually("web runs", lambda: site.process("r1").get("pid"))

    with pytest.raises(JobFailed, match="web of release r2, which had passed its checks, is not there any more"):
        site.job(kind, release="r2", keep=[], serving=True)

    assert site.process("r1")["port"] == before["port"]
    assert site.job(kind, release="r1", keep=[], serving=True)


def answers(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return connection.recv(64).startswith(b"HTTP/1.1 200")
    except ConnectionRefusedError:
        return False


def test_a_boot_target_that_no_agent_ever_saw_running_is_told_with_the_instances_address(site: Site) -> None:
    committed(site, environment={"BIND": site.address})
    reboot(site)
    (site.home / "processes.json").unlink()

    site.start()

    told = site.process("r1")
    assert told["address"] == site.address
    assert told["port"] is not None
    eventually("it answers there", lambda: answers(told["address"], told["port"]))


def test_a_process_that_waits_for_its_next_start_is_told_with_address_and_port(site: Site) -> None:
    before = committed(site)
    reboot(site)
    (site.home / "releases" / "r1" / "app" / "broken").touch()

    with taken(int(str(before["port"]))):
        site.start()
        waiting = eventually(
            "it waits", lambda: site.process("r1") if site.process("r1").get("state") == "backoff" else None
        )

    assert waiting["address"] == before["address"]
    assert waiting["port"] not in (None, before["port"])
    (site.home / "releases" / "r1" / "app" / "broken").unlink()
    eventually("it answers there", lambda: answers(waiting["address"], waiting["port"]))


def test_a_release_that_returns_is_told_with_the_address_at_which_it_listened(site: Site) -> None:
    before = committed(site)
    assert before["address"] == "127.0.0.1" != site.address
    site.prepare("r2", stop_first=True)
    site.run_web("r2", verdict=0.3)

    eventually("r1 runs again", lambda: site.process("r1")["state"] == "running")

    assert site.process("r1")["address"] == before["address"]
