"""Pools to Envoy's files: the same for the same pools, whole, in an order in which nothing dangles."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beanpole.balancer.bootstrap import bootstrap
from beanpole.balancer.lint import BadPools, dangling, lint
from beanpole.balancer.pool import Edge, Endpoint, Health, Pool
from beanpole.balancer.snapshot import Snapshot, snapshot

pytestmark = pytest.mark.pure

GOLDEN = Path(__file__).parent / "golden"
SHOP = Pool(
    "e-shop",
    ("Shop.localhost", "www.example.com"),
    (
        Endpoint("127.0.0.1", 20001),
        Endpoint("127.0.0.1", 20000, "draining"),
        Endpoint("::1", 20002, weight=3),
        Endpoint("127.0.0.1", 20003, weight=0),
    ),
    Health("/health", ((200, 299), (401, 401)), interval=10, timeout=2.5, unhealthy=5, healthy=3),
)
EMPTY = Pool("e-new", (), (), Health(path=None))

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
addresses = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(lambda address: address.compressed)
endpoint_values = st.builds(
    Endpoint, addresses, st.integers(1, 65535), st.sampled_from(["serving", "draining"]), st.integers(0, 128)
)
ranges = st.tuples(st.integers(100, 599), st.integers(100, 599)).map(lambda pair: (min(pair), max(pair)))
healths = st.builds(
    Health,
    st.one_of(st.none(), st.just("/"), st.from_regex(r"/[!-~]{0,20}", fullmatch=True)),
    st.lists(ranges, min_size=1, max_size=3).map(tuple),
    st.floats(0.05, 3600),
    st.floats(0.05, 3600),
    st.integers(1, 100),
    st.integers(1, 100),
)


@st.composite
def some_pools(draw: st.DrawFn) -> list[Pool]:
    names = draw(st.lists(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True), unique=True, max_size=5))
    hosts = draw(st.lists(labels, unique=True, max_size=10))
    pools = []
    for at, name in enumerate(names):
        own = draw(st.lists(endpoint_values, max_size=5, unique_by=lambda one: (one.address, one.port)))
        mine = tuple(f"{host}.localhost" for host in hosts[at :: len(names)])
        pools.append(Pool(name, mine, tuple(own), draw(healths)))
    return pools


def contents(made: Snapshot) -> dict[str, list[dict[str, object]]]:
    return {name: json.loads(text)["resources"] for name, text in made.files}


def test_golden_files() -> None:
    """Reads as what an operator would check. To renew a file, print `contents` of the same pools."""
    made = contents(snapshot([SHOP, EMPTY], 7, Edge(port=8080)))
    for name in ("cds.json", "rds.json", "lds.json", "eds/e-shop.json"):
        golden = json.loads((GOLDEN / name.replace("/", "-")).read_text())
        assert made[name] == golden, name
    assert made["eds/e-new.json"][0]["endpoints"] == []
    assert json.loads(bootstrap()) == json.loads((GOLDEN / "bootstrap.json").read_text())


@given(some_pools(), st.randoms(use_true_random=False))
def test_any_pools(pools: list[Pool], order: random.Random) -> None:
    assert lint(pools) == ()
    made = snapshot(pools, 1)
    shuffled = [
        replace(pool, endpoints=tuple(order.sample(pool.endpoints, len(pool.endpoints))), hosts=pool.hosts[::-1])
        for pool in order.sample(pools, len(pools))
    ]
    assert snapshot(shuffled, 1) == made
    files = contents(made)
    known = {cluster["name"] for cluster in files["cds.json"]}
    assert known == {pool.name for pool in pools}
    routes = [route for host in files["rds.json"][0]["virtual_hosts"] for route in host["routes"]]
    assert dangling((route["route"]["cluster"] for route in routes), known) == ()
    for pool in pools:
        (given_endpoints,) = files[f"eds/{pool.name}.json"]
        listed = [one for group in given_endpoints["endpoints"] for one in group["lb_endpoints"]]
        assert len(listed) == len(pool.endpoints)
        serving = sum(1 for one in pool.endpoints if one.state == "serving" and one.weight)
        assert sum(1 for one in listed if one["health_status"] == "HEALTHY") == serving
    assert set(made.versions) == set(files)


@given(some_pools().filter(len))
def test_a_change_of_endpoints_is_one_file(pools: list[Pool]) -> None:
    first = pools[0]
    changed = replace(first, endpoints=(*first.endpoints, Endpoint("192.0.2.250", 1)))
    before, after = dict(snapshot(pools, 1).files), dict(snapshot([changed, *pools[1:]], 2).files)
    assert {name for name in before if before[name] != after[name]} == {f"eds/{first.name}.json"}


def test_a_swap_changes_routes_only() -> None:
    one, two = Pool("e-1", ("a.localhost",), ()), Pool("e-2", ("b.localhost",), ())
    before = dict(snapshot([one, two], 1).files)
    after = dict(snapshot([replace(one, hosts=two.hosts), replace(two, hosts=one.hosts)], 2).files)
    assert {name for name in before if before[name] != after[name]} == {"rds.json"}


def test_what_is_referred_to_comes_first() -> None:
    names = [name for name, _ in snapshot([SHOP, EMPTY], 1).files]
    assert names == ["eds/e-new.json", "eds/e-shop.json", "cds.json", "rds.json", "lds.json"]


def test_bad_pools_make_no_snapshot() -> None:
    with pytest.raises(BadPools, match="leads to two pools"):
        snapshot([SHOP, replace(EMPTY, hosts=("shop.LOCALHOST",))], 1)


E1 = Pool("e-1", ("a.localhost",), (Endpoint("127.0.0.1", 20000),))


@pytest.mark.parametrize(
    ("pools", "problem"),
    [
        ([E1, replace(E1, name="e-2")], "the Host a.localhost leads to two pools, e-1 and e-2"),
        ([E1, replace(E1, hosts=())], "two pools are named e-1"),
        ([replace(E1, name="../x")], "a name has"),
        ([replace(E1, hosts=("a.localhost:8080",))], "is not a Host name"),
        ([replace(E1, hosts=("a.*.localhost",))], "is not a Host name"),
        ([replace(E1, hosts=("a.localhost", "A.localhost"))], "a Host is listed twice"),
        ([replace(E1, endpoints=(Endpoint("127.0.0.1", 0),))], "bad port"),
        ([replace(E1, endpoints=(Endpoint("127.0.0.1", 65536),))], "bad port"),
        ([replace(E1, endpoints=(Endpoint("localhost", 80),))], "is not an IP address"),
        ([replace(E1, endpoints=(Endpoint("fe80::1%eth0", 80),))], "is not an IP address"),
        ([replace(E1, endpoints=(Endpoint("0:0::1", 80),))], "must be written ::1"),
        ([replace(E1, endpoints=E1.endpoints * 2)], "listed twice"),
        ([replace(E1, endpoints=(Endpoint("::1", 80, weight=-1),))], "weight -1"),
        ([replace(E1, health=Health(path="health"))], "must start with '/'"),
        ([replace(E1, health=Health(codes=()))], "can never pass"),
        ([replace(E1, health=Health(codes=((300, 200),)))], "not a range"),
        ([replace(E1, health=Health(interval=0))], "health interval"),
        ([replace(E1, health=Health(timeout=30_000))], "health timeout"),
        ([replace(E1, health=Health(unhealthy=0))], "unhealthy threshold"),
    ],
)
def test_lint(pools: list[Pool], problem: str) -> None:
    (found,) = lint(pools)
    assert problem in found


@pytest.mark.parametrize(
    ("edge", "problem"),
    [
        (Edge(address="localhost"), "must be an IP address"),
        (Edge(port=0), "ports are 1 to 65535"),
        (Edge(domain="a b"), "is not a domain"),
        (Edge(trusted_proxies=-1), "trusted proxies"),
    ],
)
def test_lint_edge(edge: Edge, problem: str) -> None:
    (found,) = lint([], edge)
    assert problem in found


def test_wildcard_hosts() -> None:
    assert lint([replace(E1, hosts=("*",)), Pool("e-2", ("*.example.com",), ())]) == ()


def test_unknown_clusters() -> None:
    assert dangling(["b", "a", "c", "a"], ["c"]) == ("a", "b")
