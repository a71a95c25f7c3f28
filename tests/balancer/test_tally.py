"""Lines of an access log to counts: what failed, in which second, nothing twice."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from beanpole.agent.tally import RING_SECONDS, SAMPLES, Tallies, Tally, is_failed, lines_of

pytestmark = pytest.mark.pure

NOON = 1795435200  # 2026-11-23T12:00:00Z


def line(at: str = "12:00:00.000", **change: Any) -> bytes:
    entry = {
        "time": f"2026-11-23T{at}Z",
        "pool": "e-1",
        "upstream": "127.0.0.1:1",
        "status": 200,
        "flags": "-",
        "ms": 5,
    }
    return json.dumps({**entry, **change}).encode()


@pytest.mark.parametrize(
    ("status", "flags", "failed"),
    [
        (200, "-", False),
        (404, "NR", False),
        (500, "-", True),
        (503, "UH", True),
        (503, "UF,URX", True),
        (504, "UT", True),
        (200, "UC", True),  # cut off after its head
        (200, "DC", False),  # the client had enough
        (0, "DC", False),
        (502, "DC,UPE", True),
        (400, "DPE", False),
        (101, "UC", False),
        (200, "SI", True),
    ],
)
def test_what_failed(status: int, flags: str, failed: bool) -> None:
    assert is_failed(status, flags) is failed


def test_a_request_counts_in_the_second_in_which_it_ended() -> None:
    tallies = Tallies()
    tallies.add([line("12:00:00.900", ms=99), line("12:00:00.900", ms=100, status=503), line("11:59:58.000", ms=2500)])
    tallies.finish(NOON + 1)
    ok = {"2xx": 1, "3xx": 0, "4xx": 0, "5xx": 0, "failed": 0}
    assert tallies.since(0) == {
        "now": NOON + 1,
        "seconds": {
            str(NOON): {"e-1": {"127.0.0.1:1": {**ok, "2xx": 2, "latency_ms": [99, 2500]}}},
            str(NOON + 1): {"e-1": {"127.0.0.1:1": {**ok, "2xx": 0, "5xx": 1, "failed": 1, "latency_ms": [100]}}},
        },
        "totals": {"e-1": {"requests": 3, "failed": 1}},
        "unreadable": 0,
    }
    assert list(tallies.since(NOON)["seconds"]) == [str(NOON + 1)]


def test_whoever_asks_for_what_is_new_misses_nothing_and_counts_nothing_twice() -> None:
    tallies = Tallies()
    seen, after = 0, 0
    for step in range(6):
        # Each time a line of the present second, and a late one of long ago.
        tallies.add([line(f"12:00:0{step}.000"), line("12:00:00.000")])
        tallies.finish(NOON + step)
        answer = tallies.since(after)
        after = answer["now"]
        seen += sum(endpoint["2xx"] for pools in answer["seconds"].values() for endpoint in pools["e-1"].values())
    tallies.finish(NOON + 10)
    last = tallies.since(after)["seconds"]
    seen += sum(endpoint["2xx"] for pools in last.values() for endpoint in pools["e-1"].values())
    assert seen == tallies.totals["e-1"]["requests"] == 12


def test_incomplete_seconds_are_not_told_yet() -> None:
    tallies = Tallies()
    tallies.add([line()])
    tallies.finish(NOON - 1)
    assert tallies.since(0)["seconds"] == {}
    assert tallies.since(0)["totals"]["e-1"]["requests"] == 1


def test_old_seconds_are_forgotten_and_totals_are_not() -> None:
    tallies = Tallies()
    tallies.add([line()])
    tallies.finish(NOON + RING_SECONDS)
    assert tallies.since(0)["seconds"] == {}
    assert tallies.totals == {"e-1": {"requests": 1, "failed": 0}}


def test_torn_and_foreign_lines_are_counted_as_such() -> None:
    tallies = Tallies()
    tallies.add([line()[:30], b"", b"[]", b'{"time": "x"}', line(at="nonsense"), line()])
    assert tallies.unreadable == 5
    assert tallies.totals == {"e-1": {"requests": 1, "failed": 0}}


def test_requests_without_a_pool() -> None:
    tallies = Tallies()
    tallies.add([line(pool=None, upstream=None, status=404, flags="NR")])
    assert tallies.totals == {"-": {"requests": 1, "failed": 0}}


def test_checks_by_those_in_front_are_nobodys_requests() -> None:
    tallies = Tallies()
    tallies.add([line(route="readiness"), line(route="readiness", status=503), line(route=None)])
    assert tallies.totals == {"e-1": {"requests": 1, "failed": 0}}


def test_remembered_detail_leaves_totals_alone() -> None:
    tallies = Tallies()
    tallies.totals = {"e-1": {"requests": 7, "failed": 0}}
    tallies.remember([line("11:50:00.000"), b"torn", line()], NOON)
    tallies.finish(NOON)
    assert list(tallies.since(0)["seconds"]) == [str(NOON)]
    assert tallies.totals == {"e-1": {"requests": 7, "failed": 0}}
    assert tallies.unreadable == 0


def test_many_latencies_are_a_fair_sample() -> None:
    tally = Tally()
    for milliseconds in range(10 * SAMPLES):
        tally.add(200, False, milliseconds)
    sample = tally.record()["latency_ms"]
    assert SAMPLES // 2 <= len(sample) <= SAMPLES
    assert {later - earlier for earlier, later in pairwise(sample)} == {16}
    assert tally.counts["2xx"] == 10 * SAMPLES


def test_websockets_have_no_latency() -> None:
    tally = Tally()
    tally.add(101, False, 3_600_000)
    assert tally.record()["latency_ms"] == []
    assert tally.counts["1xx"] == 1


def test_only_whole_lines_are_taken() -> None:
    assert lines_of(b"one\ntwo\nthr") == ([b"one", b"two"], 8)
    assert lines_of(b"thr") == ([], 0)


def test_a_server_leaves_the_totals_of_what_came_through_the_edge_to_the_edge() -> None:
    tallies = Tallies()
    tallies.add(
        [
            line(front="1"),
            line(front="1", status=503, flags="UC"),
            line(front="1", status=503, flags="UH", upstream=None),
            line(front=None),
            line(front=None, status=503, flags="UH", upstream=None),
        ]
    )
    tallies.finish(NOON + 1)
    assert tallies.totals == {"e-1": {"requests": 2, "failed": 1}}
    found = tallies.since(NOON - 1)["seconds"][str(NOON)]["e-1"]
    counted = {key: (counts["2xx"], counts["5xx"]) for key, counts in found.items()}
    assert counted == {"127.0.0.1:1": (2, 1), "-": (0, 1)}
