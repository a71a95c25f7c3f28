"""The edge balancer on a server: it moves there under load, serves by itself, and comes back. Nothing is lost."""

from __future__ import annotations

import contextlib
import http.client
from typing import Any

import pytest
from beanpole_site import app, wait_for
from bed import Bed, Server
from botocore.exceptions import ClientError
from servers_site import ServersSite, counted
from traces import traces

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

PORT = 8000
BRISK = (("aws:elasticbeanstalk:environment:process:default", "DeregistrationDelay", "3"),)
DOMAIN = "example.test"
HOST = f"shop-dev.{DOMAIN}"
KILL = """
for path in /proc/[0-9]*; do
    case $(readlink "$path/exe"),$(readlink "$path/cwd") in
    /var/lib/beanpole/bin/envoy-*,/var/lib/beanpole/edge/*) kill -9 "${path##*/}" ;;
    esac
done
"""


def refused(call: Any, **words: Any) -> str:
    """What the API says."""
    with pytest.raises(ClientError) as problem:
        call(**words)
    assert problem.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400, problem.value.response
    return str(problem.value.response["Error"]["Message"])


def get(server: Server, host: str = HOST) -> int:
    """The status of a request through the edge there; 0 when nobody takes it."""
    connection = http.client.HTTPConnection(server.address, PORT, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/version", headers={"Host": host})
            return connection.getresponse().status
        except OSError:
            return 0


def test_it_moves_under_load_and_serves_without_the_control_plane(
    fleet: ServersSite, servers: list[Server], bed: Bed
) -> None:
    front, other = servers[:2]
    there = f"{front.address}:{PORT}"
    fleet.add([front, other])
    fleet.shop(2, settings=BRISK)
    api = fleet.client("beanpole")
    with counted(fleet):
        assert api.move_edge(Name=front.name, Port=PORT, Domain=DOMAIN)["Edge"]["Url"] == f"http://{there}"
        known = fleet.environment()
        assert (known["CNAME"], known["EndpointURL"]) == (f"{HOST}:{PORT}", there)
        assert api.describe_control_plane()["BalancerUrl"] == f"http://{there}"
        # Through the former edge as well, which the outer load goes on to use.
        with counted(fleet, to=there, host=HOST):
            assert fleet.deploy("v2", app("probe", "v2"))["Outcome"] == "succeeded"
            assert set(fleet.answers().values()) == {"v2"}
            assert fleet.scale(1)["Outcome"] == "succeeded"
            assert fleet.scale(2)["Outcome"] == "succeeded"
            fleet.kill()
            assert {get(front) for _ in range(50)} == {200}
            fleet.start()
            assert fleet.environment()["CNAME"] == f"{HOST}:{PORT}"
            assert fleet.deploy("v3", app("probe", "v3"))["Outcome"] == "succeeded"
        assert "came through the edge on this machine" in refused(api.end_former_edges)
    assert set(fleet.answers().values()) == {"v3"}

    assert "has the edge" in refused(api.remove_host, Name=front.name, Force=True)
    local = [{"Namespace": "beanpole:fleet", "OptionName": "Location", "Value": "local"}]
    said = refused(
        fleet.client().create_environment,
        ApplicationName="shop",
        EnvironmentName="shop-here",
        VersionLabel="v1",
        SolutionStackName=fleet.stack(),
        OptionSettings=local,
    )
    assert f"The edge is on host {front.name}" in said

    assert api.end_former_edges(Force=True)["Cut"] == 0
    with pytest.raises(OSError, match="refused"):
        fleet.get()
    assert get(front) == 200

    # Its agent starts it again.
    bed.exec(front.name, "sh", "-s", text=KILL)
    wait_for("Envoy of the edge", lambda: get(front) == 200)

    with counted(fleet, to=there, host=HOST):
        assert "Name" not in api.move_edge()["Edge"]
        assert fleet.environment()["CNAME"] == f"shop-dev.localhost:{fleet.port}"
        assert fleet.get()[0] == 200
    api.end_former_edges(Force=True)
    assert get(front) == 0
    assert not [line for line in traces(bed, front.name) if "edge" in line]
    assert fleet.answers() == {front.name: "v3", other.name: "v3"}


def test_what_stands_in_the_way_changes_nothing(fleet: ServersSite, servers: list[Server], bed: Bed) -> None:
    front = servers[0]
    fleet.add([front])
    api = fleet.client("beanpole")
    before = api.describe_edges()["Edges"]

    bed.exec(front.name, "systemd-run", "--unit=taker", "python3", "-m", "http.server", str(PORT))
    wait_for("a taken port", lambda: get(front) == 404)
    assert f"port {PORT} on 0.0.0.0 is taken by process" in refused(api.move_edge, Name=front.name, Port=PORT)
    assert "that of its applications" in refused(api.move_edge, Name=front.name, Port=8080)
    assert "is no domain" in refused(api.move_edge, Name=front.name, Domain="no domain")
    bed.exec(front.name, "systemctl", "stop", "taker.service")

    bed.cut(front.name)
    said = refused(api.move_edge, Name=front.name, Port=PORT)
    assert "cannot" in said
    assert f"host {front.name}" in said.lower()
    assert api.describe_edges()["Edges"] == before
    bed.join(front.name)

    local = (("beanpole:fleet", "Location", "local"),)
    assert fleet.create(app("probe", "v1"), name="shop-here", settings=local)["Outcome"] == "succeeded"
    assert "shop-here" in refused(api.move_edge, Name=front.name, Port=PORT)

    assert not [line for line in traces(bed, front.name) if "edge" in line]
    assert api.describe_edges()["Edges"] == before
    assert fleet.get(host="shop-here.localhost")[0] == 200
