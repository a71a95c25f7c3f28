#!/usr/bin/env python3
"""The whole story on this machine: deployed, improved, broken, rolled back, killed, and no request lost.

Everything happens in a scratch folder. At the end the environment stays up until Ctrl-C; with --once it ends at once.
The exit status is 1 when a request failed or anything else was not as promised.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from meter import Counts
from scratch import Broken, Missing, Scratch
from story import ENVIRONMENT, Chapter, Story

WIDTH = 52
"""Columns of a chapter's title."""

TICK = 0.2
"""Seconds between two drawings of the chapter that is under way, on a terminal."""

PATIENCE = 10.0
"""Seconds after which a line says what a chapter is doing, where nothing can be drawn over."""


class Page:
    """Where the story is written: one line a chapter, and on a terminal one below it that says what happens now."""

    def __init__(self) -> None:
        self._drawn = sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        self._words = ""
        self._number = 0

    def say(self, text: str = "") -> None:
        print(text, flush=True)

    def heads(self) -> None:
        self.say(f"    {'':<{WIDTH}}{'seconds':>9}{'requests':>10}{'failed':>8}")

    def row(self, number: str, title: str, seconds: float, counts: Counts | None) -> None:
        requests, failed = (f"{counts.requests:,}", f"{counts.failed:,}") if counts is not None else ("", "")
        self.say(f"{number:>2}  {title:<{WIDTH}}{seconds:>9.1f}{requests:>10}{failed:>8}".rstrip())

    def remark(self, text: str) -> None:
        for line in textwrap.wrap(text, 110, subsequent_indent="        "):
            self.say(f"      {line}")

    def hear(self, words: str) -> None:
        """What the chapter that is under way is doing. Lines that only say what is done are passed over."""
        self._words = _present(words) or self._words

    @contextlib.contextmanager
    def under_way(self, number: int, title: str) -> Iterator[None]:
        self._words = ""
        over = threading.Event()
        show = threading.Thread(target=self._draw if self._drawn else self._report, args=(number, title, over))
        show.start()
        try:
            yield
        finally:
            over.set()
            show.join()

    def _draw(self, number: int, title: str, over: threading.Event) -> None:
        began = time.monotonic()
        while True:
            line = f"{number:>2}  {title}… {time.monotonic() - began:.0f} s  {self._words}"
            print(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)
            if over.wait(TICK):
                break
        print("\r\x1b[K", end="", flush=True)

    def _report(self, number: int, title: str, over: threading.Event) -> None:
        began = time.monotonic()
        while not over.wait(PATIENCE):
            self.say(f"      … {time.monotonic() - began:.0f} s: {self._words or title}")


class Demo:
    def __init__(self, page: Page, once: bool) -> None:
        self._page = page
        self._once = once
        self._scratch = Scratch("demo")
        self._story = Story(self._scratch)
        self._broken = False

    def run(self) -> int:
        """The exit status. Whatever happens, nothing that was started is left running."""
        interrupted = False
        try:
            told = self._tell()
        except KeyboardInterrupt:
            interrupted = True
        else:
            if told and not self._once:
                self._stay()
        finally:
            self._end()
        return 130 if interrupted else int(self._broken)

    def _tell(self) -> bool:
        """Whether every chapter came to its end."""
        page, story = self._page, self._story
        page.say(f"Everything happens in {self._scratch.root}, which is removed at the end.")
        page.say("The first deployment fetches flask and numpy from the package index; the rest needs no network.")
        page.say()
        page.heads()
        began = time.monotonic()
        for number, chapter in enumerate(story.chapters(), 1):
            if not self._chapter(number, chapter):
                return False
        assert story.meter is not None
        total = story.meter.end()
        page.row("", "all together", time.monotonic() - began, total)
        self._verdict(total)
        return True

    def _chapter(self, number: int, chapter: Chapter) -> bool:
        before, began = self._story.counts(), time.monotonic()
        try:
            with self._page.under_way(number, chapter.title):
                remarks = chapter.act(self._page.hear)
                counts = self._story.counts() - before
        except Broken as problem:
            self._broken = True
            self._page.row(str(number), chapter.title, time.monotonic() - began, None)
            if isinstance(problem, Missing):
                self._page.say(f"\nMISSING: {problem}")
                return False
            self._page.say(f"\nBROKEN: {problem}")
            if log := self._scratch.log():
                self._page.say(f"\nThe end of the control plane's log:\n{textwrap.indent(log, '  ')}")
            return False
        counted = counts if self._story.meter is not None else None
        self._page.row(str(number), chapter.title, time.monotonic() - began, counted)
        for remark in remarks:
            self._page.remark(remark)
        return True

    def _verdict(self, total: Counts) -> None:
        assert self._story.meter is not None
        report = self._story.meter.report
        versions = " · ".join(f"{version} {count:,}" for version, count in sorted(total.versions.items()))
        times = report["latency_ms"]
        self._page.say(f"    Answers by version: {versions} · v3 {total.versions.get('v3', 0)}")
        self._page.say(f"    Half of the answers took {times['p50']} ms or less, 99 of 100 {times['p99']} ms or less.")
        if total.failed or "v3" in total.versions:
            self._broken = True
            self._page.say(f"BROKEN: {total.failed} requests failed: {total.kinds}")
            for failure in report["failures"][:10]:
                self._page.say(f"  after {failure['at']} s: {failure['kind']}: {failure['request']}")
        else:
            self._page.say("    No request failed.")

    def _stay(self) -> None:
        scratch = self._scratch
        words = f"{_command()} --home {scratch.home.root}"
        self._page.say(
            f"""
The environment is up, and stays up until Ctrl-C:

    http://{ENVIRONMENT}.localhost:{scratch.port}
    curl -H 'Host: {ENVIRONMENT}.localhost' http://127.0.0.1:{scratch.port}/version

Look at it from another terminal:

    {words} status {ENVIRONMENT}
    {words} releases {ENVIRONMENT}
    {words} events {ENVIRONMENT}
    {words} logs {ENVIRONMENT}
"""
        )
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                signal.pause()

    def _end(self) -> None:
        """Ctrl-C is heard no more: what was begun here is ended here."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        self._page.say("\nEnding everything…")
        if self._story.meter is not None:
            self._story.meter.kill()
        try:
            left = self._scratch.end(keep=self._broken)
        except Broken as problem:
            self._broken = True
            self._page.say(f"BROKEN: {problem}")
            return
        if left:
            self._broken = True
            names = ", ".join(f"{process.name} (pid {process.pid})" for process in left)
            self._page.say(f"BROKEN: these processes had to be killed: {names}")
        else:
            self._page.say("Nothing is left running.")
        if self._broken and self._scratch.root.exists():
            self._page.say(f"Its data is still there to look at: {self._scratch.root}")


def _present(line: str) -> str:
    """A line of `beanpole deploy` (`13:04:37  running  …`) without its first columns; "" where it tells of the past."""
    time_of_day, _, rest = line.partition(" ")
    if time_of_day.count(":") != 2:
        return line
    state, _, words = rest.strip().partition(" ")
    return "" if state == "done" else words.strip()


def _command() -> str:
    """How this environment's `beanpole` is typed from the current folder."""
    program = Path(sys.executable).parent / "beanpole"
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else str(program)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--once", action="store_true", help="end everything as soon as the story is told")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, _interrupt)
    return Demo(Page(), given.once).run()


if __name__ == "__main__":
    sys.exit(main())
