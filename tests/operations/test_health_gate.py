"""How strict the settings are about the health of a new release."""

from __future__ import annotations

import msgspec
import pytest
from engine_site import FLEET, NEW, REGISTRY, EngineSite, content, launch

from beanpole.operations import release as releases
from beanpole.operations.health_check import checks_needed, forgives
from beanpole.options.precedence import Context, resolve
from beanpole.options.setting import Setting
from beanpole.options.settings import Settings
from beanpole.policies.plan import Activate
from beanpole.store import instances
from beanpole.store.environments import update_release

IGNORE = ("aws:elasticbeanstalk:command", "IgnoreHealthCheck", "true")
THRESHOLD = ("aws:elasticbeanstalk:healthreporting:system", "HealthCheckSuccessThreshold")


def settings(*given: tuple[str, str, str]) -> Settings:
    return resolve(REGISTRY, Context(), stored=[Setting.of(*each) for each in given])


@pytest.mark.parametrize(
    ("threshold", "checks", "forgiven"),
    [("Ok", 5, False), ("Warning", 3, False), ("Degraded", 1, False), ("Severe", 1, True)],
)
def test_the_threshold_says_how_many_checks_have_to_pass(threshold: str, checks: int, forgiven: bool) -> None:
    found = settings(("beanpole:deployment", "GateChecks", "5"), (*THRESHOLD, threshold))
    assert (checks_needed(found), forgives(found)) == (checks, forgiven)


@pytest.mark.parametrize(("given", "outcome"), [((), "failed"), ((IGNORE,), "succeeded")])
def test_a_release_that_the_balancer_finds_unhealthy(
    site: EngineSite, given: tuple[tuple[str, str, str], ...], outcome: str
) -> None:
    found = msgspec.structs.replace(content("New Python"), settings=tuple(settings(*given).rows()))
    with site.database.write() as db:
        update_release(db, "e-1", 2, content=releases.encode(found))

    async def unhealthy(*_: object) -> bool:
        return False

    site.edge.healthy = unhealthy  # type: ignore[method-assign]
    asked = []
    job = site.fleet.job

    async def noted(instance: str, key: str, kind: str, arguments: dict[str, object], **more: object) -> object:
        asked.append((kind, arguments.get("health")))
        return await job(instance, key, kind, arguments, **more)

    site.fleet.job = noted  # type: ignore[method-assign, assignment]
    step = Activate(key="activate-1", slots=("new-1",), batch=1, words="Start")
    done = site.carry_out(site.submit(launch("new-1"), step))
    assert done.outcome == outcome
    (health,) = (each for kind, each in asked if kind == "start")
    assert (health["path"] is None) is bool(given), "a connection is what is left to ask for"
    with site.database.read() as db:
        serving = {each.instance_id for each in instances.endpoints(db) if each.digest == NEW}
    assert bool(serving - set(FLEET)) is (outcome == "succeeded")
    warned = [words for severity, words in site.told() if severity == "WARN"]
    assert any("The deployment goes on, as its settings say." in words for words in warned) is bool(given)
