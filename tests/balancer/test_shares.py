"""Requests are split as the per cent says, at the edge and at each server's proxy, and testers find their release."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.balancer.lint import WEIGHT_LIMIT, lint
from beanpole.balancer.pool import Endpoint, Health, Pin, Pool, presence_path, readiness_path
from beanpole.balancer.routes import route_table
from beanpole.balancer.rows import Seat, Server, Site, rows
from beanpole.balancer.shares import weights

pytestmark = pytest.mark.pure

CHECK = Health(path="/health")
PIN = Pin(("X-Beanpole-Canary", "1"), ("release", "n.w"))
SERVERS = {f"h-{at}": Server(f"10.0.0.{at}", 8080, "e-a") for at in range(1, 6)}


def share(new: int, others: int, pair: tuple[int, int]) -> float:
    mine, theirs = pair
    return new * mine / (new * mine + others * theirs)


@given(st.integers(1, 100), st.integers(0, 100))
def test_as_many_new_as_old_ones_make_every_per_cent_exact(count: int, percent: int) -> None:
    pair = weights(count, count, percent)
    assert share(count, count, pair) == pytest.approx(percent / 100, abs=1e-12)
    assert sum(pair) <= WEIGHT_LIMIT, "both on one server are one endpoint"


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 100))
def test_other_numbers_come_near(new: int, others: int, percent: int) -> None:
    pair = weights(new, others, percent)
    assert max(pair) <= WEIGHT_LIMIT
    assert (pair[0] > 0) is (percent > 0)
    assert (pair[1] > 0) is (percent < 100)
    if 0.5 <= new / others <= 2 and 2 <= percent <= 98:
        assert share(new, others, pair) == pytest.approx(percent / 100, abs=0.01)


def test_whoever_is_alone_gets_everything() -> None:
    assert weights(2, 0, 10) == (1, 0)
    assert weights(0, 2, 10) == (0, 1)


def seat(instance: str, host: str | None, port: int, weight: int, pin: Pin | None = None) -> Seat:
    return Seat(instance, "127.0.0.2", port, "serving", CHECK, host, weight=weight, pin=pin)


def site(*seats: Seat) -> Site:
    return Site("e-a", ("a.localhost",), seats, frozenset(each.host for each in seats if each.host is not None))


def test_a_second_instance_on_each_server_is_split_alike_in_both_rows() -> None:
    seats = [
        each
        for at in (1, 2)
        for each in (seat(f"i-{at}", f"h-{at}", at, 9), seat(f"i-new-{at}", f"h-{at}", 10 + at, 1))
    ]
    told = rows([site(*seats)], SERVERS)
    assert {each.weight for each in told.edge[0].endpoints} == {10}
    for host in ("h-1", "h-2"):
        (pool,) = told.servers[host]
        assert [each.weight for each in pool.endpoints] == [9, 1]


def test_a_new_instance_on_a_server_of_its_own_is_split_in_front() -> None:
    told = rows([site(seat("i-1", "h-1", 1, 9), seat("i-new", "h-2", 2, 1))], SERVERS)
    assert [each.weight for each in told.edge[0].endpoints] == [9, 1]


def test_more_than_a_weight_may_be_is_scaled_and_nobody_loses_its_part() -> None:
    seats = [seat(f"i-{at}", "h-1", at, 100) for at in range(1, 4)]
    told = rows([site(*seats, seat("i-9", "h-2", 9, 1), seat("i-8", "h-3", 8, 0))], SERVERS)
    assert [each.weight for each in told.edge[0].endpoints] == [WEIGHT_LIMIT, 1, 0]
    assert lint(told.edge) == ()


def test_a_server_whose_only_instance_waits_is_checked_and_gets_nothing() -> None:
    told = rows([site(seat("i-1", "h-1", 1, 1), seat("i-new", "h-2", 2, 0))], SERVERS)
    assert told.edge[0].endpoints[1] == Endpoint("10.0.0.2", 8080, weight=0)
    (pool,) = told.servers["h-2"]
    assert pool.readiness == "waiting"
    assert pool.endpoints == (Endpoint("127.0.0.2", 2),), "who comes past the edge all the same is served"
    routes = route_table(told.servers["h-2"], inner=True)["virtual_hosts"][0]["routes"]
    answers = {route["match"].get("path"): route for route in routes}
    assert answers[readiness_path("e-a")]["direct_response"]["status"] == 503
    assert answers[presence_path("e-a")]["route"]["cluster"] == "e-a"


def test_the_canary_is_a_pool_without_names_and_a_route_by_header_or_cookie() -> None:
    told = rows([site(seat("i-1", None, 1, 9), seat("i-new", None, 2, 1, PIN))], {})
    main, canary = told.edge
    assert (canary.name, canary.hosts) == ("e-a.canary", ())
    assert canary.endpoints == (Endpoint("127.0.0.2", 2),)
    assert main.pin == PIN
    assert lint(told.edge) == ()
    (host,) = route_table(told.edge)["virtual_hosts"]
    led = [(route["match"].get("headers"), route["route"]["cluster"]) for route in host["routes"]]
    assert [cluster for _, cluster in led] == ["e-a.canary"] * 4 + ["e-a"] * 2
    assert led[1][0] == [{"name": "x-beanpole-canary", "string_match": {"exact": "1"}}]
    cookie = led[3][0][0]
    assert cookie["name"] == "cookie"
    assert cookie["string_match"]["safe_regex"]["regex"] == r"(.*; *)?release=n\.w(;.*)?"


@pytest.mark.parametrize(("old", "new"), [(9, 0), (0, 1)])
def test_the_canary_is_there_before_its_route_and_after_it(old: int, new: int) -> None:
    told = rows([site(seat("i-1", None, 1, old), seat("i-new", None, 2, new, PIN))], {})
    assert [pool.name for pool in told.edge] == ["e-a", "e-a.canary"]
    assert told.edge[0].pin is None


def test_a_canary_changes_nothing_of_the_main_pool_but_weights() -> None:
    before, after = (
        rows([site(seat("i-1", None, 1, 9), seat("i-new", None, 2, 1, pin))], {}).edge[0] for pin in (None, PIN)
    )
    assert replace(after, pin=None) == before


def test_servers_have_the_canary_where_they_have_its_instances() -> None:
    told = rows([site(seat("i-1", "h-1", 1, 9), seat("i-new", "h-1", 2, 1, PIN), seat("i-2", "h-2", 3, 9))], SERVERS)
    main, canary = told.edge
    assert (canary.proxies, canary.health.path) == (True, presence_path("e-a.canary"))
    assert canary.endpoints == (Endpoint("10.0.0.1", 8080),)
    assert [pool.name for pool in told.servers["h-1"]] == ["e-a", "e-a.canary"]
    assert told.servers["h-1"][0].pin == PIN
    assert [pool.hosts for pool in told.servers["h-1"]] == [("a.localhost", "*"), ()]
    assert told.servers["h-1"][1].readiness == "ready"
    (alone,) = told.servers["h-2"]
    assert alone.pin is None
    table = route_table(told.servers["h-1"], inner=True)
    known = {pool.name for pool in told.servers["h-1"]}
    led = {route["route"]["cluster"] for host in table["virtual_hosts"] for route in host["routes"] if "route" in route}
    assert led <= known
    assert isinstance(main, Pool)
