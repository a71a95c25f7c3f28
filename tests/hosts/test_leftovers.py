"""What was left on a server that could not be reached serves nobody any more once it can be."""

from __future__ import annotations

import pytest
from beanpole_site import wait_for
from bed import Bed, Server
from servers_site import ServersSite

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]


def test_a_server_whose_last_instance_was_left_behind_is_told_so_after_a_restart(
    bed: Bed, servers: list[Server], fleet: ServersSite
) -> None:
    server = servers[0]
    fleet.add([server])
    fleet.shop(1)
    bed.cut(server.name)
    gone = fleet.client().terminate_environment(EnvironmentName="shop-dev")
    fleet.ended(request_id=gone["ResponseMetadata"]["RequestId"], seconds=300)
    fleet.stop()
    bed.join(server.name)
    assert fleet.answers() == {server.name: "v1"}, "it serves on while nobody can tell it otherwise"
    fleet.start()
    wait_for("a proxy without it", lambda: fleet.answers()[server.name].startswith("404"), 120)
