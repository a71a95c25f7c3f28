"""Logs by way of the object store and past it: whatever goes wrong, who waits is told."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from api_site import ApiSite, api_site, refused
from served import session

from beanpole.fleet.agent_client import AgentRefused, AgentUnreachable
from beanpole.services.beanpole import api as own_api

DONE = "Pulled logs for environment instances."
FAILED = "Failed to pull logs for environment instances. No instance handed them over."


@pytest.fixture(scope="module")
def sessions() -> botocore.session.Session:
    return session()


@pytest.fixture
def site(tmp_path: Path, sessions: botocore.session.Session) -> Iterator[ApiSite]:
    with api_site(tmp_path, sessions) as made:
        made.instance(made.environment())
        yield made


@pytest.fixture
def eb(site: ApiSite) -> Any:
    return site.client()


def told(eb: Any) -> list[str]:
    """The events of a request for a tail, oldest first, once one that ends it is there."""
    request = eb.request_environment_info(EnvironmentName="shop-dev", InfoType="tail")["ResponseMetadata"]["RequestId"]
    limit = time.monotonic() + 10
    while True:
        found = [each["Message"] for each in reversed(eb.describe_events(RequestId=request)["Events"])]
        if found[-1] in (DONE, FAILED):
            return found
        assert time.monotonic() < limit, found
        time.sleep(0.02)


def test_logs_when_the_bucket_was_deleted(site: ApiSite, eb: Any) -> None:
    s3 = site.client("s3")
    s3.delete_object(Bucket=site.control.bucket, Key="v1.zip")
    s3.delete_bucket(Bucket=site.control.bucket)
    assert told(eb)[-1] == DONE
    found = eb.retrieve_environment_info(EnvironmentName="shop-dev", InfoType="tail")["EnvironmentInfo"]
    with urllib.request.urlopen(found[0]["Message"], timeout=10) as answer:
        assert b"of i-1" in answer.read()


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (AgentRefused(500, "broken", {}), "[Instance: i-1] The logs could not be read: broken."),
        (AgentUnreachable("nobody there"), "[Instance: i-1] The logs could not be read: nobody there."),
        (TimeoutError(), "[Instance: i-1] The logs could not be read: no answer in time."),
        (ZeroDivisionError("ours"), "[Instance: i-1] The logs could not be collected. Beanpole's own log says why."),
    ],
)
def test_logs_that_cannot_be_had(site: ApiSite, eb: Any, fault: Exception, words: str) -> None:
    def fail(_instance: str) -> Any:
        raise fault

    site.fleet.logs = fail
    assert told(eb)[-2:] == [words, FAILED]


def test_logs_that_cannot_be_stored(site: ApiSite, eb: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(site.control.objects, "put", fail)
    assert told(eb)[-1] == FAILED


def test_one_of_two_instances_is_enough(site: ApiSite, eb: Any) -> None:
    site.instance(eb.describe_environments()["Environments"][0]["EnvironmentId"], "i-2")

    def some(instance: str) -> Any:
        if instance == "i-2":
            raise AgentUnreachable("nobody there")
        return [{"name": "web.stdout.log", "text": "x"}]

    site.fleet.logs = some
    assert told(eb)[-2:] == ["[Instance: i-2] The logs could not be read: nobody there.", DONE]


def test_a_tail_of_an_agent_that_is_gone(site: ApiSite) -> None:
    def fail(_instance: str) -> Any:
        raise AgentUnreachable("the agent at i-1 cannot be reached")

    site.fleet.logs = fail
    code, words = refused(site.client("beanpole").tail_logs, EnvironmentName="shop-dev")
    assert (code, words.startswith("the agent at i-1 cannot be reached. Try again")) == ("AgentUnavailable", True)


def test_a_tail_of_an_agent_that_hangs(site: ApiSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_api, "ANSWER_LIMIT", 1.2)
    site.fleet.logs = lambda _instance: asyncio.sleep(60)
    code, words = refused(site.client("beanpole").tail_logs, EnvironmentName="shop-dev")
    assert (code, "i-1 gave no answer" in words) == ("AgentUnavailable", True)
