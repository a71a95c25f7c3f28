"""How many calls of DescribeEnvironments the control plane answers, and how fast, with few environments and with many.

Each call is verified like any other: the request is signed once and sent again and again, because the signer would
otherwise be slower than the server.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

import closed_loop
from figure import Figure
from scratch import Broken, Scratch

SECONDS = 4.0
"""Of asking, each time."""

CALLERS = 4
"""Connections that ask at once, where it is about calls a second."""

MANY = 200

GOAL_MS = 50.0
"""For 99 of 100 answers, at 1,000 instances in 200 environments."""


def few(scratch: Scratch, environment: str) -> list[Figure]:
    return _asked(scratch, "few", "1 environment", {}) + _named(scratch, "few_named", "that one, by name", environment)


def many(scratch: Scratch, environment: str) -> list[Figure]:
    """With `fill` done."""
    named = _named(scratch, "many_named", f"one of {MANY} environments, by name", environment)
    return named + _asked(scratch, "many", f"all of {MANY} environments", {})


def fill(scratch: Scratch) -> None:
    """Adds environments to the store until it has MANY, as copies of the one that is there, without instances.

    The balancer is told of them by the next operation or start: so let there be none afterwards.
    """
    with closing(sqlite3.connect(scratch.home.database)) as db, db:
        db.row_factory = sqlite3.Row
        one = db.execute("SELECT * FROM environment WHERE terminated_at IS NULL").fetchone()
        if one is None:
            raise Broken("the store has no environment to copy")
        for number in range(1, MANY):
            copy: dict[str, Any] = dict(one) | {
                "id": f"e-{number:010d}",
                "name": f"copy-{number}",
                "cname_prefix": f"copy-{number}",
                "desired": 0,
            }
            marks = ", ".join("?" for _ in copy)
            db.execute(f"INSERT INTO environment ({', '.join(copy)}) VALUES ({marks})", tuple(copy.values()))


def _named(scratch: Scratch, key: str, what: str, environment: str) -> list[Figure]:
    """As clients ask while they wait for one."""
    return _asked(scratch, key, what, {"EnvironmentNames.member.1": environment})


def _asked(scratch: Scratch, key: str, what: str, parameters: dict[str, str]) -> list[Figure]:
    request = signed(scratch, {"Action": "DescribeEnvironments", "Version": "2010-12-01", **parameters})
    one, several = (
        closed_loop.run(closed_loop.Job("127.0.0.1", scratch.api_port, request, callers, SECONDS))
        for callers in (1, CALLERS)
    )
    if one.others or several.others:
        raise Broken("some calls of DescribeEnvironments were refused")
    return [
        Figure(
            f"api.{key}.p99",
            f"{what}: 99 of 100 answers within",
            one.p99_ms,
            "ms",
            most=GOAL_MS,
            goal=f"{GOAL_MS:.0f} ms",
            note=f"one caller, {one.rate:,.0f} calls/s, half within {one.p50_ms:.1f} ms",
        ),
        Figure(
            f"api.{key}.rate",
            "  calls answered",
            several.rate,
            "calls/s",
            note=f"{CALLERS} callers at once, 99 of 100 answers within {several.p99_ms:.0f} ms",
        ),
    ]


def signed(scratch: Scratch, parameters: dict[str, str]) -> str:
    """A whole HTTP request, signed with the first key of that Beanpole, good for 15 minutes."""
    endpoint = scratch.api.endpoint
    assert endpoint.access_key is not None
    assert endpoint.secret is not None
    body = urlencode(parameters)
    headers = {"Host": endpoint.url.removeprefix("http://"), "Content-Type": "application/x-www-form-urlencoded"}
    request = AWSRequest("POST", f"{endpoint.url}/", headers=headers, data=body)
    SigV4Auth(Credentials(endpoint.access_key, endpoint.secret), "elasticbeanstalk", endpoint.region).add_auth(request)
    lines = [f"{name}: {value}" for name, value in request.headers.items()]
    return "\r\n".join(["POST / HTTP/1.1", *lines, f"Content-Length: {len(body)}", "", body])
