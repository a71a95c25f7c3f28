"""A test bed for the tests of this folder: five real Debian servers, made once and ended with the session."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bed import Bed, Server
from plot import HOSTS, Plot
from servers_site import ServersSite
from traces import remove_traces

HOSTS_OF_A_BED = 5
FOLDER = Path(__file__).parent
LONGEST = 600  # seconds for a test here; the first one waits until the base system is built


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests below this folder `hosts`, so that a run without root can leave them out."""
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.hosts)
            if item.get_closest_marker("timeout") is None:
                item.add_marker(pytest.mark.timeout(LONGEST))


@pytest.fixture(scope="session")
def bed(request: pytest.FixtureRequest) -> Iterator[Bed]:
    """The session's own bed. Its hosts are in any state; most tests want `servers`."""
    looked = subprocess.run([HOSTS, "check"], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    if looked.returncode:
        pytest.skip("no test bed can be made here: " + "; ".join(looked.stdout.splitlines()))
    with Plot() as plot:
        made = Bed(plot)
        # Past pytest's capture: someone who waits should read that packages are installed and a system is built.
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            made.up(HOSTS_OF_A_BED)
        yield made


@pytest.fixture
def servers(bed: Bed) -> list[Server]:
    """All hosts: running, without faults, without anything of ours."""
    found = bed.up(HOSTS_OF_A_BED)
    remove_traces(bed, found)
    return found


@pytest.fixture
def fleet() -> Iterator[ServersSite]:
    """A control plane of the test's own, without servers yet. What it leaves there goes with the next `servers`."""
    made = ServersSite()
    try:
        made.start()
        yield made
    finally:
        print(made.log())  # shown where the test fails
        made.end()
