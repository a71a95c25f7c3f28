"""Calls as no client of AWS makes them: any form, signed by anybody at any time, with values that nobody checked."""

from __future__ import annotations

import datetime as dt
import http.client
import re
from typing import Any
from unittest import mock
from urllib.parse import quote

import boto3
from beanpole_site import Site
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

FORM = "application/x-www-form-urlencoded"


def careless(site: Site) -> Any:
    """A client that sends what its own model forbids, as other SDKs do."""
    key, secret = site.keys()
    return boto3.session.Session().client(
        "elasticbeanstalk",
        region_name="local-1",
        endpoint_url=site.endpoint,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        config=Config(retries={"max_attempts": 1}, parameter_validation=False),
    )


def send(
    site: Site,
    form: str | bytes,
    *,
    key: str = "",
    secret: str = "",
    late: float = 0.0,
    service: str = "elasticbeanstalk",
) -> tuple[int, str, str]:
    """Status, code and message of a form sent as it is, signed so many seconds late."""
    mine = site.keys()
    request = AWSRequest("POST", f"{site.endpoint}/", data=form, headers={"Content-Type": FORM})
    now = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=late)
    with mock.patch("botocore.auth.get_current_datetime", return_value=now):
        SigV4Auth(Credentials(key or mine[0], secret or mine[1]), service, "local-1").add_auth(request)
    return post(site, form, dict(request.headers.items()))


def post(site: Site, form: str | bytes, headers: dict[str, str]) -> tuple[int, str, str]:
    connection = http.client.HTTPConnection("127.0.0.1", site.api_port, timeout=20)
    connection.request("POST", "/", body=form, headers=headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    assert answer.headers["x-amzn-RequestId"]
    assert answer.headers["Date"]
    code, message = (re.search(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL) for tag in ("Code", "Message"))
    return answer.status, code[1] if code else "", message[1] if message else text


def put(site: Site, bucket: str, key: str, content: bytes) -> int:
    """The status of an upload under exactly this key; boto3 would make other keys of some."""
    path = f"/{bucket}/{quote(key, safe='')}"
    headers = {"x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    request = AWSRequest("PUT", site.endpoint + path, data=content, headers=headers)
    S3SigV4Auth(Credentials(*site.keys()), "s3", "local-1").add_auth(request)
    connection = http.client.HTTPConnection("127.0.0.1", site.api_port, timeout=20)
    connection.request("PUT", path, body=content, headers=dict(request.headers.items()))
    status = connection.getresponse().status
    connection.close()
    return status
