"""What the demo and the bench conclude from what they measure. The demo itself is a program of its own: `make demo`."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

import closed_loop
import demo
from figure import Figure, median, table
from meter import Counts, Meter
from scratch import Broken, Missing, Ran, Scratch, free_port
from story import Story, first_failure

LIMIT = 20.0


class Application(ThreadingHTTPServer):
    """Answers every GET with `status` and the version that it has at the moment."""

    daemon_threads = True
    version, status = "v1", 200


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert isinstance(self.server, Application)
        self.send_response(self.server.status)
        self.send_header("X-App-Version", self.server.version)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def application() -> Iterator[Application]:
    with Application(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def meter(application: Application) -> Iterator[Meter]:
    meter = Meter(f"127.0.0.1:{application.server_port}", "--rate", "100")
    yield meter
    meter.kill()


def read_until(meter: Meter, answered: int = 0, failed: int = 0) -> Counts:
    limit = time.monotonic() + LIMIT
    while (counts := meter.read()).answered < answered or counts.failed < failed:
        assert time.monotonic() < limit, counts
        time.sleep(0.01)
    return counts


def test_the_difference_of_two_readings_is_what_happened_between_them(application: Application, meter: Meter) -> None:
    read_until(meter, answered=10)
    application.version = "v2"
    read_until(meter, answered=meter.read().answered + 10)  # none of v1 is under way any more
    before = meter.read()
    between = read_until(meter, answered=before.answered + 10) - before
    assert set(between.versions) == {"v2"}
    assert between.failed == 0
    assert between.requests == between.answered == between.versions["v2"]
    assert set(meter.end().versions) == {"v1", "v2"}


def test_a_failed_request_is_counted_with_its_kind(application: Application, meter: Meter) -> None:
    application.status = 503
    counts = read_until(meter, failed=3)
    assert counts.kinds == {"status 503": counts.failed}
    meter.end()
    assert meter.report["failures"][0]["kind"] == "status 503"


def test_a_closed_loop_counts_answers_of_200_apart_from_others(application: Application) -> None:
    request = "GET / HTTP/1.1\r\nHost: any\r\n\r\n"
    job = closed_loop.Job("127.0.0.1", application.server_port, request, connections=2, seconds=0.3, warm=0.0)
    good = closed_loop.run(job)
    assert good.answers > 0
    assert good.others == 0
    assert 0 < good.p50_ms <= good.p99_ms
    application.status = 500
    with pytest.raises(RuntimeError, match="not one answer with status 200"):
        closed_loop.run(job)


def test_another_version_than_the_expected_one_breaks_the_story(application: Application, meter: Meter) -> None:
    story = Story(cast("Scratch", SimpleNamespace(root=Path("/nowhere"))))  # the story breaks before it asks the API
    story.meter = meter
    with pytest.raises(Broken, match="v2 should serve everywhere, and these answered: "):
        story._serves("v2")


def test_an_unreachable_package_index_is_told_apart_from_a_fault_of_ours() -> None:
    def failed(stage: str) -> Ran:
        error = {"stage": stage, "cause": "the index does not answer", "remedy": "Check the network."}
        return Ran(1, {"error": error}, ["Error: The creation failed."], 1.0)

    network = first_failure(failed("Fetch"))
    assert isinstance(network, Missing)
    assert "the index does not answer" in str(network)
    assert "HTTPS_PROXY" in str(network)
    assert not isinstance(first_failure(failed("start")), Missing)


def test_a_port_that_is_taken_is_left_alone() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert free_port(port) not in (port, 0)
    assert free_port(port) == port


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("13:04:37  running    i-1 resolving dependencies", "i-1 resolving dependencies"),
        ("13:04:45  done       i-1", ""),
        ("Creating pets-dev with v1", "Creating pets-dev with v1"),
    ],
)
def test_a_chapter_says_what_is_being_done(line: str, words: str) -> None:
    assert demo._present(line) == words


def test_figures_stand_beside_their_goals() -> None:
    figures = [
        median("a", "quick", [3.0, 1.0, 2.0], "s", most=2.0, goal="2 s"),
        Figure("b", "slow", 2.5, "s", most=2.0, goal="2 s"),
        Figure("c", "unknown", None, "s", most=2.0, goal="2 s", note="no reason"),
    ]
    assert [figure.verdict for figure in figures] == ["met", "MISSED", ""]
    quick, slow, unknown = table([("times", figures)]).splitlines()[-3:]
    assert quick.split() == ["quick", "2", "s", "1", "to", "3", "2", "s", "met", "median", "of", "3"]
    assert slow.split() == ["slow", "2.50", "s", "2", "s", "MISSED"]
    assert unknown.split() == ["unknown", "not", "measured", "2", "s", "no", "reason"]
