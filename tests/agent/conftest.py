"""Sites: homes with real agents, ended after each test with all that they started."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agent_site import Site

from beanpole.fleet.agent_program import agent_program


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return agent_program(tmp_path_factory.mktemp("program"))


@pytest.fixture(scope="module")
def shared_site(tmp_path_factory: pytest.TempPathFactory, program: Path) -> Iterator[Site]:
    """A running agent for the tests of a module that leave nothing to each other."""
    site = Site(tmp_path_factory.mktemp("shared"), program).start()
    yield site
    site.close()


@pytest.fixture
def new_site(tmp_path: Path, program: Path) -> Iterator[Callable[..., Site]]:
    """Makes sites, whose agents do not run yet."""
    sites: list[Site] = []

    def make(name: str = "site", **more: Any) -> Site:
        sites.append(Site(tmp_path / name, program, **more))
        return sites[-1]

    yield make
    for site in sites:
        site.close()


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    """A site with a running agent."""
    return new_site().start()
