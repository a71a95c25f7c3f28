"""Changes of settings on real servers: successors on a second slot of the same server, and restarts of units."""

from __future__ import annotations

import pytest
from beanpole_site import app, options_of
from bed import Bed, Server
from servers_site import ServersSite, counted

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

ROLLING_UPDATE = "aws:autoscaling:updatepolicy:rollingupdate"
ROLLING = (
    (ROLLING_UPDATE, "RollingUpdateEnabled", "true"),
    (ROLLING_UPDATE, "RollingUpdateType", "Health"),
    (ROLLING_UPDATE, "MaxBatchSize", "1"),
)


def homes(fleet: ServersSite) -> dict[str, str]:
    """The server of each instance."""
    hosts = fleet.hosts().items()
    return {each["InstanceId"]: name for name, host in hosts for each in host.get("Instances", [])}


def units(bed: Bed, server: Server) -> list[str]:
    lines = bed.exec(server.name, "systemctl", "list-units", "--plain", "--no-legend", "beanpole-i-*").splitlines()
    return sorted(line.split()[0] for line in lines if "-web-" in line)


def test_instances_are_replaced_where_they_live_and_restarted_there(
    fleet: ServersSite, bed: Bed, servers: list[Server]
) -> None:
    two = servers[:2]
    fleet.add(two)
    fleet.shop(2, settings=ROLLING)
    before = homes(fleet)
    larger = options_of((("aws:autoscaling:launchconfiguration", "InstanceType", "m5.large"),))
    with counted(fleet):
        asked = fleet.client().update_environment(EnvironmentName="shop-dev", OptionSettings=larger)
        ended = fleet.ended(request_id=asked["ResponseMetadata"]["RequestId"])
        assert ended["Outcome"] == "succeeded", (ended, fleet.log())
        after = homes(fleet)
        assert not set(before) & set(after)
        assert sorted(after.values()) == sorted(server.name for server in two), "one on each again"

        for turn in (1, 2):
            asked = fleet.client().restart_app_server(EnvironmentName="shop-dev")
            ended = fleet.ended(request_id=asked["ResponseMetadata"]["RequestId"])
            assert ended["Outcome"] == "succeeded", (ended, fleet.log())
            for server in two:
                (unit,) = units(bed, server)
                assert unit.endswith(f".{turn}.service"), unit
        assert homes(fleet) == after
        assert fleet.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
    assert set(fleet.answers().values()) == {"v2"}
    for server in two:
        bed.exec(server.name, "systemctl", "is-enabled", *units(bed, server))
