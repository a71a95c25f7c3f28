"""What can become of a deployment, whatever its policy: the scenarios as data, for any fleet.

A scenario is a version that is spoiled in some way, or something that happens in the middle of the deployment, when a
new release has started on one instance and starts on another; or after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from beanpole_site import Settings
from rig import Rig
from stories import COMMAND, DEPLOYMENT, NOT_DEPLOYED, PROCESS, UPDATED

REVERTED = "The environment was reverted to the previous configuration setting."
CLOSING = {"succeeded": UPDATED, "failed": NOT_DEPLOYED, "aborted": REVERTED}
"""The sentence that ends a client's wait, by how the operation ended."""

POLICIES = ("AllAtOnce", "Rolling", "RollingWithAdditionalBatch", "Immutable", "TrafficSplitting")

GOOD_FOR = 30.0
"""Seconds from the call until a release that turns bad does so, or longer when its deployment takes longer."""

ENVIRONMENT: Settings = (
    (COMMAND, "BatchSizeType", "Fixed"),
    (COMMAND, "BatchSize", "1"),
    (DEPLOYMENT, "GateChecks", "2"),
    (DEPLOYMENT, "GateInterval", "0.3"),
    (DEPLOYMENT, "StopGrace", "10"),
    (PROCESS, "DeregistrationDelay", "5"),
    (PROCESS, "HealthCheckInterval", "5"),
    (PROCESS, "HealthCheckTimeout", "2"),
    (PROCESS, "UnhealthyThresholdCount", "2"),
    ("aws:elasticbeanstalk:environment", "LoadBalancerType", "application"),
    ("aws:elasticbeanstalk:healthreporting:system", "SystemType", "enhanced"),
    ("aws:elasticbeanstalk:trafficsplitting", "NewVersionPercent", "10"),
    ("beanpole:canary", "EvaluationSeconds", "8"),
)
"""As a user could choose them who is in a hurry."""

Files = dict[str, str]


@dataclass(frozen=True)
class Fate:
    """`outcome`: how the deployment has to end; '' where either end is right, as long as the fleet agrees with it.

    `spoil` makes the version of a good one; it may look for a file. `strike`, at a place, happens in the middle.
    `costly`: requests inside of what it ends may be lost. `turns`: once the deployment is closed, that file is there.
    """

    name: str
    words: str
    outcome: str
    spoil: Callable[[Files, str], Files] = lambda files, _: files
    strike: Callable[[Rig, str], None] | None = None
    costly: bool = False
    turns: bool = False


def policy(name: str) -> Settings:
    return ((COMMAND, "DeploymentPolicy", name),)


def _turns_bad(files: Files, file: str) -> Files:
    at, reasons = "    async def reply(self, request: Request) -> tuple[int, dict]:\n", "REASONS = {"
    assert at in files["server.py"]
    bad = f"        if Path({file!r}).exists():\n"
    bad += '            return 500, {"error": "the connection pool is exhausted"}\n'
    server = files["server.py"].replace(at, at + bad, 1)
    return files | {"server.py": server.replace(reasons, f'{reasons}500: "Internal Server Error", ', 1)}


def _cannot_start(files: Files, _file: str) -> Files:
    return files | {"server.py": "import nothing_like_this\n"}


def _hook_fails(files: Files, _file: str) -> Files:
    return files | {".platform/hooks/postdeploy/01_warm.sh": "#!/bin/sh\necho the cache does not answer\nexit 1\n"}


def _abort(rig: Rig, _place: str) -> None:
    rig.site.client().abort_environment_update(EnvironmentName="shop-dev")


def _kill_control_plane(rig: Rig, _place: str) -> None:
    rig.site.kill()
    rig.let_go()
    rig.site.start()


def _lose(rig: Rig, place: str) -> None:
    rig.lose(place)


FATES = (
    Fate("succeeds", "nothing goes wrong", "succeeded"),
    Fate("cannot-start", "the version cannot start", "failed", spoil=_cannot_start),
    Fate("turns-bad", "it answers 500 after 30 s", "succeeded", spoil=_turns_bad, turns=True),
    Fate("host-lost", "a host is lost", "", strike=_lose, costly=True),
    Fate("abort", "abort", "aborted", strike=_abort),
    Fate("control", "control plane killed", "succeeded", strike=_kill_control_plane),
    Fate("postdeploy", "a postdeploy hook fails", "failed", spoil=_hook_fails),
)


def fate_named(name: str) -> Fate:
    return next(each for each in FATES if each.name == name)
