"""What an operation looks like: drawn, as lines, in one sentence."""

from __future__ import annotations

import datetime as dt
import io

import pytest
from rich.console import Console, RenderableType

from beanpole.cli.event import Event
from beanpole.cli.lines import Lines
from beanpole.cli.operation import Blame, Operation, Progress, Step
from beanpole.cli.outcome import Change, failure, summary
from beanpole.cli.plan import plan_lines
from beanpole.cli.terminal import columns, printable
from beanpole.cli.view import blamed, picture

pytestmark = pytest.mark.pure

NOON = dt.datetime(2026, 11, 2, 12, 0, 0).astimezone()
BLAME = Blame(
    cause="the process ended before it listened",
    stage="Activate",
    instance="i-2",
    command="gunicorn app",
    exit_status=3,
    last_lines=("Traceback:", "[bold]ImportError\x1b[2J[/bold]"),
    remedy="Add it to requirements.txt.",
)


def drawn(operation: Operation) -> str:
    return rendered(picture("Deploying v2 to shop-dev", operation, 7.4), 80)


def rendered(drawing: RenderableType, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(drawing)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def operation(*steps: Step, **more: object) -> Operation:
    return Operation(id="1", environment="shop-dev", kind="update", phase="forward", steps=steps, **more)  # type: ignore[arg-type]


FETCH = Step("f/fetch", "Bring bundle and dependencies", "done", (Progress("i-1", "done"), Progress("i-2", "done")))


def test_steps_instances_and_progress() -> None:
    running = (Progress("i-1", "done"), Progress("i-2", "running", "waits until it listens", 3, 10))
    found = drawn(
        operation(
            FETCH,
            Step("f/activate", "Start the new release", "running", running),
            Step(
                "f/gate",
                "Check that it stays well",
                "waiting",
                (Progress("i-1", "waiting"), Progress("i-2", "waiting")),
            ),
            notes=("Stop-first: port 8000.",),
        )
    )
    assert found == (
        "Deploying v2 to shop-dev  7 s\n"
        "  Stop-first: port 8000.\n"
        "✓ Bring bundle and dependencies\n"
        "● Start the new release\n"
        "  ● i-2 ━━━───────── 3 of 10 waits until it listens\n"
        "  ✓ i-1\n"
        "○ Check that it stays well\n"
        "━━━━━━━━━━━━━━━━━━━━──────────────────── 3/6"
    )


def test_failure_shows_what_was_printed_and_steers_nothing() -> None:
    failed = (Progress("i-1", "done"), Progress("i-2", "failed", "the process ended before it listened"))
    found = drawn(operation(Step("f/activate", "Start the new release", "failed", failed), blame=BLAME))
    assert found == (
        "Deploying v2 to shop-dev  7 s\n"
        "✗ Start the new release\n"
        "  ✗ i-2 the process ended before it listened\n"
        "  ✓ i-1\n"
        "━━━━━━━━━━━━━━━━━━━━──────────────────── 1/2"
    )
    assert rendered(blamed(BLAME), 110) == (
        "✗ Activate failed on i-2: the process ended before it listened (command: gunicorn app) with exit status 3.\n"
        "    | Traceback:\n"
        "    | [bold]ImportError�[2J[/bold]\n"
        "  Add it to requirements.txt."
    )


def test_lines_show_what_was_printed_in_one_piece() -> None:
    event = Event(NOON, "ERROR", "[Instance: i-2] Activate failed: the process ended before it listened.")
    repeated = Event(NOON, "INFO", "[Instance: i-2] Traceback:")
    lines = Lines()
    assert lines.changes(operation(blame=BLAME), [repeated, event], NOON) == [
        "12:00:00  ERROR    [Instance: i-2] Activate failed: the process ended before it listened.",
        "    | Traceback:",
        "    | [bold]ImportError�[2J[/bold]",
    ]
    assert lines.changes(operation(blame=BLAME), [], NOON) == []


def test_a_wish_is_no_fault() -> None:
    assert operation(outcome="aborted", blame=BLAME).fault is None
    assert Blame("ended (exit status 3)", exit_status=3).line() == "ended (exit status 3)."


def test_a_long_plan_shows_what_is_around_the_present() -> None:
    done = [Step(f"f/{at}", f"Step {at}", "done") for at in range(30)]
    now = [
        Step("f/now", "Now", "running", tuple(Progress(f"i-{at}", "done" if at < 5 else "running") for at in range(20)))
    ]
    later = [Step(f"f/later-{at}", f"Later {at}", "waiting") for at in range(30)]
    lines = drawn(operation(*done, *now, *later)).splitlines()
    assert lines[1] == "✓ 26 steps before"
    assert "● Now" in lines
    assert "    and 12 more (5 done)" in [line.rstrip() for line in lines]
    assert "○ 23 more steps" in lines
    assert len(lines) < 30


def test_lines_say_each_change_once() -> None:
    lines = Lines()
    waiting = Step("f/a", "Start", "waiting", (Progress("i-1", "waiting"), Progress("i-2", "waiting")))
    running = Step("f/a", "Start", "running", (Progress("i-1", "running", "starts"), Progress("i-2", "waiting")))
    done = Step("f/a", "Start", "done", (Progress("i-1", "done"), Progress("i-2", "done")))
    event = Event(NOON, "WARN", "Two\nlines")
    assert lines.changes(operation(waiting), [], NOON) == []
    assert lines.changes(operation(running), [event], NOON) == [
        "12:00:00  WARN     Two lines",
        "12:00:00  running  Start",
        "12:00:00  running    i-1 starts",
    ]
    assert lines.changes(operation(running), [], NOON) == []
    assert lines.changes(operation(done), [], NOON) == [
        "12:00:00  done       i-1",
        "12:00:00  done       i-2",
        "12:00:00  done     Start",
    ]
    assert lines.changes(operation(done), [], NOON) == []


def test_lines_do_not_go_back_in_time() -> None:
    lines = Lines()
    ahead = Event(NOON + dt.timedelta(seconds=5), "INFO", "Said by a clock that is ahead.")
    running = Step("f/a", "Start", "running", (Progress("i-1", "running", "checks passed in a row", 2, 5),))
    done = Step("f/a", "Start", "done", (Progress("i-1", "done"),))
    written = lines.changes(operation(running), [ahead], NOON) + lines.changes(operation(done), [], NOON)
    assert written == [
        "12:00:05  INFO     Said by a clock that is ahead.",
        "12:00:05  running  Start",
        "12:00:05  running    i-1 2 of 5 checks passed in a row",
        "12:00:05  done       i-1",
        "12:00:05  done     Start",
    ]


NAMES = ("i-0123456789abcdef0", "i-0123456789abcdef1", "i-0123456789abcdef2")


def checking(*several: Progress) -> Operation:
    words = "Check that it stays well (batch 1 of 1: 3 instances)"
    long = "Start the new release beside the old one and switch (batch 1 of 1: 3 instances)"
    done = tuple(Progress(name, "done") for name in NAMES)
    return operation(Step("f/start", long, "done", done), Step("f/gate", words, "running", several))


@pytest.mark.parametrize("width", [60, 80, 100])
def test_each_line_begins_with_its_mark_however_narrow_it_is(width: int) -> None:
    words = "checks passed in a row; the last one was answered with status 200 after 0.004 s"
    several = (Progress(NAMES[0], "running", words, 3, 5), Progress(NAMES[1], "running", words, 0, 5))
    waiting = Progress(NAMES[2], "waiting")
    lines = rendered(picture("Deploying v2 to shop-dev", checking(*several, waiting), 7.4), width).splitlines()
    assert [line[:4].strip()[:1] for line in lines] == ["D", "✓", "●", "●", "●", "○", "━"]
    assert [len(line) <= width for line in lines] == [True] * len(lines)
    assert lines[2].startswith("● Check that it stays well (batch 1 of 1: 3 instances)")
    assert lines[3].startswith(f"  ● {NAMES[0]} ━━━━━━━───── 3 of 5 checks passe")
    assert lines[3].endswith("…") == (width < 120)


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_picture_keeps_its_height_while_instances_work(width: int) -> None:
    def height(*several: Progress) -> int:
        return len(rendered(picture("Deploying", checking(*several), 7.4), width).splitlines())

    starting = [Progress(name, "running", "waiting until web listens on port 20001 " * 3) for name in NAMES]
    counting = [Progress(name, "running", "checks passed in a row", at, 5) for at, name in enumerate(NAMES)]
    assert height(*starting) == height(*counting) == height(*(Progress(name, "waiting") for name in NAMES))


def test_bars_are_cyan_while_it_goes_on_and_green_at_the_end() -> None:
    def bar(*states: str) -> str:
        out = io.StringIO()
        step = Step("f/a", "Start", "waiting", tuple(Progress(f"i-{at}", state) for at, state in enumerate(states)))
        console = Console(file=out, width=80, force_terminal=True, color_system="standard")
        console.print(picture("Deploying", operation(step), 1))
        return out.getvalue().splitlines()[-1]

    assert bar("done", "running").startswith("\x1b[36m━")
    assert bar("done", "done").startswith("\x1b[32m━")


CHANGE = Change("shop-dev", "r", "Deploying", "shop-dev runs v2", "deployment")


def test_summary() -> None:
    over = operation(
        FETCH,
        outcome="succeeded",
        release=7,
        created_at=NOON,
        finished_at=NOON + dt.timedelta(seconds=4.23),
        served=12034,
        failed=0,
    )
    assert summary(CHANGE, over) == (
        "shop-dev runs v2 (release 7) on 2 instances, after 4.2 s. Meanwhile 12,034 requests were served, 0 failed."
    )
    assert summary(CHANGE, None) == "shop-dev runs v2; there was nothing to do."


@pytest.mark.parametrize(
    ("ended", "cause", "remedy"),
    [
        (
            operation(outcome="failed", blame=BLAME),
            "The deployment of shop-dev failed. Activate failed on i-2: the process ended before it listened "
            "(command: gunicorn app) with exit status 3.",
            "Add it to requirements.txt.",
        ),
        (
            operation(outcome="failed"),
            "The deployment of shop-dev failed. It did not say why.",
            "Look at `beanpole events shop-dev` and `beanpole logs shop-dev`.",
        ),
        (
            operation(outcome="aborted", blame=BLAME),
            "The deployment of shop-dev was aborted and the environment is as it was before.",
            "",
        ),
    ],
)
def test_failure(ended: Operation, cause: str, remedy: str) -> None:
    failed = failure(CHANGE, ended)
    assert (failed.cause, failed.remedy) == (cause, remedy)


def test_plan() -> None:
    steps = [{"Words": "Fetch", "Slots": ["i-1", "i-2"]}, {"Words": "Switch", "Slots": ["i-1"]}]
    assert plan_lines({"Policy": "Rolling", "Steps": steps, "Notes": ["Stop-first."]}) == [
        "Plan: Rolling, 2 steps on 2 instances",
        "  1. Fetch",
        "  2. Switch",
        "  Note: Stop-first.",
    ]
    assert plan_lines({"Policy": "Rolling"}) == ["Plan: no instance is touched."]


def test_columns() -> None:
    assert columns(("A", "B", "C"), [("long cell", "x", ""), ("", "yy", "z\n")]) == [
        "A          B   C",
        "long cell  x",
        "           yy  z",
    ]


def test_printable() -> None:
    assert printable("a\tb\r\n\x1b[31mc\x9bd") == "a   b �[31mc�d"


def test_instances_that_were_replaced_are_not_among_those_that_it_ended_on() -> None:
    stay, gone = Progress("i-new", "done"), Progress("i-old", "done")
    steps = (
        Step("f/activate", "Start", "done", (stay,), "Activate"),
        Step("f/retire", "Retire", "done", (gone,), "Retire"),
    )
    assert operation(*steps).instances == ["i-new"]
