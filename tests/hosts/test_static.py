"""Static files on real servers: served by the release there, as the application's user, without loss."""

from __future__ import annotations

import contextlib
import http.client

import pytest
from beanpole_site import app
from bed import Bed, Server
from servers_site import APP_PORT, AT_ONCE, ServersSite, counted

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]


def files(version: str) -> dict[str, str]:
    return app("probe", version, **{"static/site.css": f"/* {version} */\n"})


def ask(server: Server, path: str) -> tuple[int, str]:
    """Past the edge."""
    connection = http.client.HTTPConnection(server.address, APP_PORT, timeout=5)
    with contextlib.closing(connection):
        connection.request("GET", path, headers={"Host": "shop-dev.localhost"})
        answer = connection.getresponse()
        return answer.status, answer.read().decode().strip()


def test_files_go_with_the_release_and_none_is_lost(fleet: ServersSite, bed: Bed, servers: list[Server]) -> None:
    two = servers[:2]
    fleet.add(two)
    created = fleet.create(files("v1"), instances=2)
    assert created["Outcome"] == "succeeded", created["Error"]
    for server in two:
        assert ask(server, "/static/site.css") == (200, "/* v1 */")
        assert ask(server, "/static/none")[0] == 404
        assert ask(server, "/static/../VERSION")[0] == 404
    with counted(fleet, path="/static/site.css"), counted(fleet):
        assert fleet.deploy("v2", files("v2"), settings=AT_ONCE)["Outcome"] == "succeeded"
    for server in two:
        assert ask(server, "/static/site.css") == (200, "/* v2 */")
        lines = bed.exec(server.name, "ps", "-eo", "user:32,args").splitlines()
        running = [line for line in lines if " static --root " in line]
        assert [line.startswith("bp-i-") for line in running] == [True], running
