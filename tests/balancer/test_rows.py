"""From environments, instances and servers to what each balancer is told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.balancer.lint import lint
from beanpole.balancer.pool import Endpoint, Health, presence_path
from beanpole.balancer.rows import MIXED, Seat, Server, Site, rows
from beanpole.balancer.snapshot import snapshot

pytestmark = pytest.mark.pure

CHECK = Health(path="/health")
ONE, TWO = Server("10.0.0.1", 8080), Server("10.0.0.2", 8081)
SERVERS = {"h-1": ONE, "h-2": TWO}


def seat(instance: str, host: str | None, port: int, **more: object) -> Seat:
    return replace(Seat(instance, "127.0.0.2", port, "serving", CHECK, host), **more)  # type: ignore[arg-type]


def site(*seats: Seat, name: str = "a", hosts: tuple[str, ...] | None = None) -> Site:
    there = hosts if hosts is not None else tuple(each.host for each in seats if each.host is not None)
    return Site(f"e-{name}", (f"{name}.localhost",), seats, frozenset(there))


def test_instances_here_are_endpoints_of_the_edge() -> None:
    told = rows([site(seat("i-1", None, 1), seat("i-2", None, 2, state="draining"))], {})
    (pool,) = told.edge
    assert pool.endpoints == (Endpoint("127.0.0.2", 1), Endpoint("127.0.0.2", 2, "draining"))
    assert (pool.hosts, pool.health, pool.proxies, told.servers) == (("a.localhost",), CHECK, False, {})


def test_a_server_is_one_endpoint_of_the_edge_and_its_proxy_has_the_releases() -> None:
    told = rows([site(seat("i-1", "h-1", 1), seat("i-1", "h-1", 2, state="draining"), seat("i-2", "h-2", 3))], SERVERS)
    (pool,) = told.edge
    assert pool.endpoints == (Endpoint("10.0.0.1", 8080), Endpoint("10.0.0.2", 8081))
    assert (pool.proxies, pool.health.path) == (True, presence_path("e-a"))
    (first,), (second,) = told.servers["h-1"], told.servers["h-2"]
    assert first.endpoints == (Endpoint("127.0.0.2", 1), Endpoint("127.0.0.2", 2, "draining"))
    assert second.endpoints == (Endpoint("127.0.0.2", 3),)
    assert {(each.readiness, each.proxies, each.health) for each in (first, second)} == {("ready", False, CHECK)}


def test_a_change_of_release_on_a_server_concerns_its_proxy_alone() -> None:
    before = rows([site(seat("i-1", "h-1", 1), seat("i-2", "h-2", 2))], SERVERS)
    for new in (
        (seat("i-1", "h-1", 1), seat("i-1", "h-1", 9)),
        (seat("i-1", "h-1", 1, state="draining"), seat("i-1", "h-1", 9)),
        (seat("i-1", "h-1", 9, health=Health(path="/other")),),
    ):
        after = rows([site(*new, seat("i-2", "h-2", 2))], SERVERS)
        assert (after.edge, after.servers["h-2"]) == (before.edge, before.servers["h-2"])
        assert after.servers["h-1"] != before.servers["h-1"]


def test_what_a_server_boots_stands_by_until_the_next_release_is_what_it_boots() -> None:
    old, new = seat("i-1", "h-1", 1, state="draining", boots=True), seat("i-1", "h-1", 2)
    told = rows([site(old, new)], SERVERS)
    assert told.servers["h-1"][0].endpoints == (Endpoint("127.0.0.2", 1, "standby"), Endpoint("127.0.0.2", 2))
    for seats in (
        (replace(old, boots=False), replace(new, boots=True)),  # committed
        (old, replace(new, instance="i-2")),  # it leaves for good
    ):
        told = rows([site(*seats)], SERVERS)
        assert told.servers["h-1"][0].endpoints == (Endpoint("127.0.0.2", 1, "draining"), Endpoint("127.0.0.2", 2))
    here = rows([site(replace(old, host=None), replace(new, host=None))], {}).edge[0]
    assert here.endpoints[0].state == "draining", "what dies on this machine is started again as it was"


def test_a_server_that_the_environment_leaves_drains_and_says_so() -> None:
    told = rows([site(seat("i-1", "h-1", 1, state="draining"), seat("i-2", "h-2", 2))], SERVERS)
    assert told.edge[0].endpoints[0] == Endpoint("10.0.0.1", 8080, "draining")
    (pool,) = told.servers["h-1"]
    assert pool.readiness == "leaving"
    assert pool.endpoints == (Endpoint("127.0.0.2", 1),), "others may not know yet, and are served"
    old = seat("i-1", "h-1", 9, state="draining", since=1)
    told = rows([site(old, seat("i-1", "h-1", 1, state="draining", since=2))], SERVERS)
    assert told.servers["h-1"][0].endpoints == (Endpoint("127.0.0.2", 9, "draining"), Endpoint("127.0.0.2", 1))
    told = rows([site(seat("i-2", "h-2", 2), hosts=("h-1", "h-2"))], SERVERS)
    assert told.edge[0].endpoints == (Endpoint("10.0.0.2", 8081),)
    assert (told.servers["h-1"][0].endpoints, told.servers["h-1"][0].readiness) == ((), "leaving")
    assert rows([site(seat("i-2", "h-2", 2))], SERVERS).servers["h-1"] == ()


def test_shares_follow_the_instances_that_serve() -> None:
    serving = (seat("i-1", "h-1", 1), seat("i-1", "h-1", 2), seat("i-2", "h-1", 3))
    told = rows([site(*serving, seat("i-3", "h-1", 4, state="draining"))], SERVERS)
    assert told.edge[0].endpoints == (Endpoint("10.0.0.1", 8080, weight=2),)


def test_requests_that_name_no_environment_are_for_the_one_that_a_server_says() -> None:
    one, two = site(seat("i-1", "h-1", 1)), site(seat("i-2", "h-1", 2), name="b")
    servers = {"h-1": replace(ONE, catch_all="e-a")}
    assert rows([one], servers).servers["h-1"][0].hosts == ("a.localhost", "*")
    told = rows([one, two], servers).servers["h-1"]
    assert [pool.hosts for pool in told] == [("a.localhost", "*"), ("b.localhost",)]
    assert [pool.hosts for pool in rows([two], servers).servers["h-1"]] == [("b.localhost",)]


def test_a_server_without_a_known_address_has_a_proxy_and_no_place_in_front() -> None:
    told = rows([site(seat("i-1", "h-1", 1))], {"h-1": Server(None, 8080)})
    assert (told.edge[0].endpoints, told.edge[0].proxies) == ((), True)
    assert told.servers["h-1"][0].endpoints == (Endpoint("127.0.0.2", 1),)


def test_endpoints_that_cannot_be_checked_alike_are_checked_by_a_connection() -> None:
    here_and_there = rows([site(seat("i-1", None, 1), seat("i-2", "h-1", 2))], SERVERS)
    assert here_and_there.edge[0].health == MIXED
    two_checks = rows([site(seat("i-1", "h-1", 1), seat("i-1", "h-1", 2, health=Health(path="/x")))], SERVERS)
    assert two_checks.servers["h-1"][0].health == MIXED
    assert two_checks.edge[0].health.path == presence_path("e-a")


_seats = st.builds(
    Seat,
    instance=st.sampled_from(["i-1", "i-2", "i-3"]),
    address=st.sampled_from(["127.0.0.2", "127.0.0.3"]),
    port=st.integers(1, 65535),
    state=st.sampled_from(["serving", "draining"]),
    health=st.sampled_from([CHECK, Health(path=None)]),
    host=st.sampled_from([None, "h-1", "h-2"]),
    boots=st.booleans(),
)
_some = st.lists(_seats, max_size=6, unique_by=lambda each: (each.host, each.address, each.port))
_sites = st.lists(st.tuples(st.sampled_from("abc"), _some), unique_by=lambda each: each[0])


@given(_sites)
def test_whatever_the_database_says_can_be_served(drawn: list[tuple[str, list[Seat]]]) -> None:
    sites = [site(*seats, name=name) for name, seats in drawn]
    told = rows(sites, SERVERS)
    for pools in (told.edge, *told.servers.values()):
        assert lint(pools) == ()
        snapshot(pools, 1)
    for each in sites:
        keys = {endpoint.key for pools in told.servers.values() for pool in pools for endpoint in pool.endpoints}
        assert {one.endpoint.key for one in each.seats if one.host is not None} <= keys


def test_while_names_are_exchanged_a_server_takes_those_that_come_before_it_is_told() -> None:
    a = replace(site(seat("i-1", "h-1", 1)), also=("b.localhost",))
    b = replace(site(seat("i-2", "h-2", 2), name="b"), also=("a.localhost",))
    c = site(seat("i-3", "h-1", 3), seat("i-4", "h-2", 4), name="c")
    told = rows([a, b, c], SERVERS)
    assert {pool.name: pool.hosts for pool in told.edge} == {
        "e-a": ("a.localhost",),
        "e-b": ("b.localhost",),
        "e-c": ("c.localhost",),
    }
    assert [pool.hosts for pool in told.servers["h-1"]] == [("a.localhost", "b.localhost"), ("c.localhost",)]
    assert [pool.hosts for pool in told.servers["h-2"]] == [("b.localhost", "a.localhost"), ("c.localhost",)]


def test_a_server_of_both_goes_on_with_one_way_for_each_name() -> None:
    a = replace(site(seat("i-1", "h-1", 1)), also=("b.localhost",))
    b = replace(site(seat("i-2", "h-1", 2), name="b"), also=("a.localhost",))
    told = rows([a, b], {"h-1": ONE})
    assert [pool.hosts for pool in told.servers["h-1"]] == [("a.localhost",), ("b.localhost",)]
    assert not lint(told.servers["h-1"])
