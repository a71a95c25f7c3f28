"""The story that the demo tells, chapter by chapter: what is done in each, and what must be true afterwards.

It goes as a user would go: one folder whose content changes, and `beanpole` commands. One load runs from the third
chapter to the last, so that no request between two chapters goes uncounted.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from meter import Counts, Meter
from scratch import Broken, Missing, Ran, Scratch

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "pet-breeds"

ENVIRONMENT = "pets-dev"
INSTANCES = 3
RATE = 200
"""Requests a second."""

WINDOW = 2 * RATE // 3
"""Answers from which we conclude which versions serve: they come from the three instances in turn."""

WINDOW_LIMIT = 20.0
"""Seconds for these answers to come. At that rate it takes less than one."""

BATCH_LIMIT = 60.0
"""Seconds for a deployment to begin its second batch."""

ALONE = 2.0
"""Seconds that the dead control plane stays dead, while the load goes on."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Chapter:
    """A title in few words, and the act: it answers remarks for below the chapter's line, or raises Broken."""

    title: str
    act: Callable[[Say], list[str]]


class Story:
    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.meter: Meter | None = None
        self._folder = scratch.root / "pets"

    def chapters(self) -> Iterator[Chapter]:
        yield Chapter("Beanpole starts", self.start)
        yield Chapter(f"v1 is deployed to {INSTANCES} new instances", self.first)
        yield Chapter(f"{RATE} requests a second arrive", self.load)
        yield Chapter("v2, a better model: one instance after the other", self.better)
        yield Chapter("v3 cannot start: every instance keeps v2", self.broken)
        yield Chapter("one command goes back to v1", self.back)
        yield Chapter("v2 again; kill -9 of the control plane half way", self.killed)

    def counts(self) -> Counts:
        """Of the load so far; nothing before there is one."""
        return self.meter.read() if self.meter is not None else Counts()

    # -- the chapters -----------------------------------------------------------------------------------------------

    def start(self, say: Say) -> list[str]:
        self.scratch.up()
        return []

    def first(self, say: Say) -> list[str]:
        self._become("v1-good")
        ran = self._deploy("v1", say, "--instances", str(INSTANCES))
        if ran.status != 0:
            raise first_failure(ran)
        return []

    def load(self, say: Say) -> list[str]:
        say("asking /version through the balancer")
        words = [f"127.0.0.1:{self.scratch.port}", "--host", f"{ENVIRONMENT}.localhost", "--path", "/version"]
        self.meter = Meter(*words, "--rate", str(RATE), "--idle", "10")
        self._serves("v1")
        return []

    def better(self, say: Say) -> list[str]:
        self._become("v2-better")
        expect_success(self._deploy("v2", say), "the deployment of v2")
        self._serves("v2")
        return []

    def broken(self, say: Say) -> list[str]:
        self._become("v3-broken")
        ran = self._deploy("v3", say)
        error = (ran.result or {}).get("error")
        if ran.status != 1 or not error:
            raise Broken(f"v3 cannot start, and `beanpole deploy` ended with exit status {ran.status}")
        self._serves("v2")
        if "v3" in self.counts().versions:
            raise Broken("v3 answered requests")
        return [f"Blame:  {error['line']}", f"Remedy: {error['remedy']}"]

    def back(self, say: Say) -> list[str]:
        expect_success(self.scratch.run("rollback", ENVIRONMENT, "--yes", say=say, check=False), "the rollback")
        self._serves("v1")
        return []

    def killed(self, say: Say) -> list[str]:
        self._become("v2-better")
        command = self.scratch.begin("deploy", str(self._folder), "--label", "v2", say=say)
        try:
            if not command.heard("Batch 2: Starting", BATCH_LIMIT):
                raise Broken("the deployment did not reach its second batch")
            pid = self.scratch.kill()
            say(f"the control plane (pid {pid}) is dead; the load goes on")
            before = self.counts()
            time.sleep(ALONE)
            alone = self.counts() - before
            if not alone.answered:
                raise Broken("nothing answered while the control plane was dead")
            say("starting it again")
            self.scratch.up()
        finally:
            ran = command.end()
        outcome = (ran.result or {}).get("outcome")
        if outcome not in ("succeeded", "failed"):
            raise Broken(f"the deployment that lost its control plane ended as {outcome!r}: {last(ran)}")
        self._serves("v2" if outcome == "succeeded" else "v1")
        how = "completed" if outcome == "succeeded" else "taken back"
        served = f"{alone.answered} requests were served and {alone.failed} failed"
        return [f"Dead for {ALONE:.0f} s, in which {served}; then the deployment was {how}."]

    # -- what they need ---------------------------------------------------------------------------------------------

    def _become(self, version: str) -> None:
        """The folder's files are those of that version, as after a commit."""
        shutil.copytree(
            EXAMPLE / version, self._folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )

    def _deploy(self, label: str, say: Say, *more: str) -> Ran:
        return self.scratch.run("deploy", str(self._folder), "--label", label, *more, say=say, check=False)

    def _serves(self, version: str) -> None:
        """Every instance serves this version, and none another: as answers to the load say, and the API."""
        before = self.counts()
        until = time.monotonic() + WINDOW_LIMIT
        while (seen := self.counts() - before).answered < WINDOW:
            if time.monotonic() > until:
                raise Broken(f"only {seen.answered} answers in {WINDOW_LIMIT:.0f} s: {seen.kinds or 'no failures'}")
            time.sleep(0.1)
        if set(seen.versions) != {version}:
            raise Broken(f"{version} should serve everywhere, and these answered: {seen.versions}")
        api = self.scratch.api
        found = api.beanstalk("DescribeEnvironments", EnvironmentNames=[ENVIRONMENT])["Environments"][0]
        resources = api.beanstalk("DescribeEnvironmentResources", EnvironmentName=ENVIRONMENT)["EnvironmentResources"]
        instances = len(resources["Instances"])
        if (found["Status"], found["VersionLabel"], instances) != ("Ready", version, INSTANCES):
            raise Broken(f"the environment is {found['Status']} with {found['VersionLabel']} on {instances} instances")


def expect_success(ran: Ran, what: str) -> None:
    if ran.status != 0:
        raise Broken(f"{what} ended with exit status {ran.status}: {last(ran)}")


def first_failure(ran: Ran) -> Broken:
    """Of the only deployment that needs the network."""
    error = (ran.result or {}).get("error") or {}
    if error.get("stage") != "Fetch":
        return Broken(f"the first deployment failed: {last(ran)}")
    return Missing(
        f"the packages of the example cannot be had: {error['cause']}.\n{error['remedy']}\n"
        "The demo needs a package index once, for flask and numpy. Behind a proxy set HTTPS_PROXY; to use an index of "
        "your own, configure it for pip (`pip config set global.index-url URL`)."
    )


def last(ran: Ran) -> str:
    return " ".join(line for line in ran.words if line.startswith(("Error:", "Remedy:"))) or " ".join(ran.words[-2:])
