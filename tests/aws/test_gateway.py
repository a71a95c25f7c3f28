"""The door on a real port: real clients, toy services, and whatever a stranger may send."""

from __future__ import annotations

import hashlib
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from botocore.loaders import Loader
from served import KEY, REGION, Ledger, client, exchange, keys, served, session

from beanpole.aws.call import Call, Service
from beanpole.aws.errors import AwsError
from beanpole.aws.gateway import Gateway
from beanpole.aws.models import load_model

EB_DATA = next(Path(__file__).parents[2].glob(".eb/lib/python3*/site-packages/ebcli/lib/botocoredata"), None)

NOW = datetime(2026, 10, 12, 8, 29, 31, 693000, UTC)


def describe_configuration_settings(call: Call) -> dict[str, Any]:
    tier = {"Name": "WebServer", "Type": "Standard", "Version": "1.0"}
    return {"ConfigurationSettings": [{**call.params, "Tier": tier, "DateUpdated": NOW, "OptionSettings": []}]}


def create_application(call: Call) -> dict[str, Any]:
    raise AwsError("InvalidParameterValue", f"Application {call.params['ApplicationName']} already exists.")


def describe_events(call: Call) -> dict[str, Any]:
    raise ZeroDivisionError("a mistake of ours")


HANDLERS = {
    "DescribeConfigurationSettings": describe_configuration_settings,
    "CreateApplication": create_application,
    "DescribeEvents": describe_events,
    "DescribeEnvironments": lambda call: {"Environments": "a result of another shape"},
    "ListAvailableSolutionStacks": lambda call: {"SolutionStacks": [call.endpoint, call.region, call.caller.user]},
    "RebuildEnvironment": lambda call: None,
}


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture(scope="module")
def url(ledger: Ledger) -> Iterator[str]:
    beanstalk = Service("elasticbeanstalk", load_model("elasticbeanstalk"), HANDLERS)
    own = Service("beanpole", load_model("beanpole"), {"DescribeReleases": lambda call: {"Releases": [{"Number": 3}]}})
    with served(Gateway([beanstalk, own], keys, audit=ledger.audit, on_error=ledger.on_error)) as url:
        yield url


@pytest.fixture(autouse=True)
def forget(ledger: Ledger) -> None:
    ledger.calls.clear()
    ledger.errors.clear()


@pytest.fixture(scope="module")
def clients() -> botocore.session.Session:
    return session()


@pytest.fixture(scope="module")
def eb(clients: botocore.session.Session, url: str) -> Any:
    return client(clients, "elasticbeanstalk", url)


def test_a_call_and_what_the_audit_hears(eb: Any, url: str, ledger: Ledger) -> None:
    answer = eb.list_available_solution_stacks()
    assert answer["SolutionStacks"] == [url, REGION, "jo"]
    (call, outcome), *rest = ledger.calls
    assert (call.service, call.operation, outcome, rest) == (
        "elasticbeanstalk",
        "ListAvailableSolutionStacks",
        "Success",
        [],
    )
    assert (call.caller.access_key, call.caller.user, call.caller.source) == (KEY.id, "jo", "127.0.0.1")
    assert call.request_id == answer["ResponseMetadata"]["RequestId"]


def test_every_answer_has_a_date_and_a_request_id(eb: Any) -> None:
    headers = eb.rebuild_environment(EnvironmentName="name")["ResponseMetadata"]["HTTPHeaders"]
    assert abs((parsedate_to_datetime(headers["date"]) - datetime.now(UTC)).total_seconds()) < 60
    assert headers["x-amzn-requestid"]
    assert headers["content-type"] == "text/xml"


def test_the_members_that_the_eb_cli_adds(eb: Any) -> None:
    found = eb.describe_configuration_settings(ApplicationName="app")["ConfigurationSettings"]
    tier = {"Name": "WebServer", "Type": "Standard", "Version": "1.0"}
    assert found == [{"ApplicationName": "app", "Tier": tier, "DateUpdated": NOW, "OptionSettings": []}]


@pytest.mark.skipif(EB_DATA is None, reason="the EB CLI is not installed beside the project")
def test_the_eb_clis_own_model(url: str) -> None:
    made = botocore.session.Session()
    made.register_component("data_loader", Loader(extra_search_paths=[str(EB_DATA)]))
    made.set_credentials(KEY.id, KEY.secret)
    theirs = client(made, "elasticbeanstalk", url)
    assert "Process" not in theirs.meta.service_model.shape_for("ApplicationVersionDescription").members
    settings = theirs.describe_configuration_settings(ApplicationName="app")["ConfigurationSettings"][0]
    assert settings["Tier"]["Version"] == "1.0"
    with pytest.raises(ClientError, match="does not have the operation CreateEnvironment"):
        theirs.create_environment(
            ApplicationName="app",
            EnvironmentName="name",
            Tags=[],
            TemplateSpecification={"TemplateSource": {"EnvironmentName": "other"}},
        )


def test_our_own_service(clients: botocore.session.Session, url: str) -> None:
    own = client(clients, "beanpole", url)
    assert own.describe_releases(EnvironmentName="e")["Releases"] == [{"Number": 3}]


def test_errors_of_handlers(eb: Any, ledger: Ledger) -> None:
    with pytest.raises(ClientError) as raised:
        eb.create_application(ApplicationName="app")
    response = raised.value.response
    assert response["Error"] == {
        "Type": "Sender",
        "Code": "InvalidParameterValue",
        "Message": "Application app already exists.",
    }
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert response["ResponseMetadata"]["HTTPHeaders"]["date"]
    assert response["ResponseMetadata"]["RequestId"] == response["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    assert ledger.outcomes == [("CreateApplication", "InvalidParameterValue")]
    assert ledger.errors == []


@pytest.mark.parametrize(
    ("operation", "error"), [("describe_events", ZeroDivisionError), ("describe_environments", TypeError)]
)
def test_our_mistakes(eb: Any, ledger: Ledger, operation: str, error: type[Exception]) -> None:
    with pytest.raises(ClientError) as raised:
        getattr(eb, operation)()
    response = raised.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 500
    assert response["Error"]["Code"] == "InternalFailure"
    assert "mistake of ours" not in str(response)
    request_id, call, reported = ledger.errors[0]
    assert request_id == response["ResponseMetadata"]["RequestId"]
    assert call is not None
    assert isinstance(reported, error)
    assert [outcome for _, outcome in ledger.calls] == ["InternalFailure"]


def test_all_operations_of_elastic_beanstalk_are_known(url: str) -> None:
    for name in load_model("elasticbeanstalk").operation_names:
        status, _, body = post(url, f"Action={name}&Version=2010-12-01".encode())
        assert b"InvalidAction" not in body
        if name not in HANDLERS:
            assert status == 400
            assert b"MissingParameter" in body or b"not have the operation " + name.encode() in body


def post(url: str, body: bytes, *, method: str = "POST", service: str = "elasticbeanstalk", **headers: str) -> Any:
    """A signed request; headers are added after it was signed."""
    request = AWSRequest(method, url + "/", data=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
    SigV4Auth(Credentials(KEY.id, KEY.secret), service, REGION).add_auth(request)
    lines = {**dict(request.headers.items()), "Host": url.removeprefix("http://"), "Content-Length": str(len(body))}
    lines |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return exchange(url, f"{method} / HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)


def code(body: bytes) -> str:
    return body.decode().partition("<Code>")[2].partition("</Code>")[0]


FORM = b"Action=ListAvailableSolutionStacks&Version=2010-12-01"


@pytest.mark.parametrize(
    ("body", "options", "status", "expected"),
    [
        (FORM, {}, 200, ""),
        (FORM.replace(b"&Version=2010-12-01", b""), {}, 200, ""),
        (b"", {}, 400, "MissingAction"),
        (b'{"json": true}', {}, 400, "MissingAction"),
        (b"Action=Nonsense", {}, 400, "InvalidAction"),
        (b"Action=" + b"N" * 5000, {}, 400, "InvalidAction"),
        (FORM.replace(b"2010", b"2011"), {}, 400, "InvalidAction"),
        (b"Action=%ff", {}, 400, "MalformedQueryString"),
        (b"\xff\x00=&&&==%%%", {}, 400, "MalformedQueryString"),
        (FORM, {"service": "sqs"}, 400, "UnknownService"),
        (FORM, {"service": "s3"}, 400, "UnknownService"),
        (FORM, {"method": "PUT"}, 405, "MethodNotAllowed"),
        (FORM, {"method": "DELETE"}, 405, "MethodNotAllowed"),
        (b"x" * (1024 * 1024 + 1), {}, 413, "RequestEntityTooLarge"),
        (FORM, {"X_Filler": "x" * 40_000}, 431, "RequestHeaderSectionTooLarge"),
        (FORM, {"Host": "other.example"}, 403, "SignatureDoesNotMatch"),
        (FORM, {"Host": "<script>"}, 400, "InvalidRequest"),
        (FORM, {"Host": ""}, 400, "InvalidRequest"),
        (FORM, {"X_Amz_Unsigned": "x"}, 403, "SignatureDoesNotMatch"),
        (FORM, {"Authorization": "AWS4-HMAC-SHA256 \xe9"}, 400, "IncompleteSignature"),
        (FORM, {"Authorization": "Basic am86am8="}, 400, "IncompleteSignature"),
        (FORM, {"Content_Type": "multipart/form-data"}, 403, "SignatureDoesNotMatch"),
    ],
)
def test_what_strangers_send(url: str, body: bytes, options: dict[str, str], status: int, expected: str) -> None:
    found, headers, answer = post(url, body, **options)
    assert (found, code(answer)) == (status, expected)
    assert headers["date"]
    assert headers["x-amzn-requestid"].encode() in answer
    assert b"Traceback" not in answer


@pytest.mark.parametrize(
    ("request_line", "status", "expected"),
    [
        ("POST / HTTP/1.1", 403, "MissingAuthenticationToken"),
        ("GET / HTTP/1.1", 403, "MissingAuthenticationToken"),
        ("GET /bucket/key HTTP/1.1", 403, "MissingAuthenticationToken"),
        ("OPTIONS * HTTP/1.1", 403, "MissingAuthenticationToken"),
        ("GET /%00%ff/../..//x?%zz&&=&a HTTP/1.1", 403, "MissingAuthenticationToken"),
        ("GET /?AWSAccessKeyId=x HTTP/1.1", 400, "IncompleteSignature"),
        ("GET /?X-Amz-Algorithm=AWS4-HMAC-SHA256 HTTP/1.1", 400, "AuthorizationQueryParametersError"),
    ],
)
def test_requests_that_are_not_signed(url: str, request_line: str, status: int, expected: str) -> None:
    raw = f"{request_line}\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n".encode()
    found, headers, answer = exchange(url, raw)
    assert (found, code(answer)) == (status, expected)
    assert headers["date"]


def test_an_error_in_json_for_a_client_that_speaks_it(url: str) -> None:
    raw = b"POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: Logs_20140328.GetLogEvents\r\nContent-Length: 0\r\n\r\n"
    _, headers, answer = exchange(url, raw)
    assert headers["content-type"] == "application/x-amz-json-1.1"
    assert b'"__type": "MissingAuthenticationToken"' in answer


def test_an_unknown_key(clients: botocore.session.Session, url: str) -> None:
    stranger = botocore.session.Session()
    stranger.set_credentials("AKSTRANGER", "x")
    with pytest.raises(ClientError) as raised:
        client(stranger, "elasticbeanstalk", url).list_available_solution_stacks()
    assert raised.value.response["Error"]["Code"] == "InvalidClientTokenId"
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_wrong_secret(url: str, ledger: Ledger) -> None:
    impostor = botocore.session.Session()
    impostor.set_credentials(KEY.id, "wrong")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client(impostor, "elasticbeanstalk", url).list_available_solution_stacks()
    assert ledger.calls == []


def test_a_body_that_was_changed_on_the_way(url: str) -> None:
    body = b"Action=RebuildEnvironment&EnvironmentName=mine"
    request = AWSRequest("POST", url + "/", data=body)
    SigV4Auth(Credentials(KEY.id, KEY.secret), "elasticbeanstalk", REGION).add_auth(request)
    other = body.replace(b"mine", b"your")
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    head += f"Host: {url.removeprefix('http://')}\r\nContent-Length: {len(other)}\r\n"
    for extra in ("", f"X-Amz-Content-Sha256: {hashlib.sha256(body).hexdigest()}\r\n"):
        _, _, answer = exchange(url, f"POST / HTTP/1.1\r\n{head}{extra}\r\n".encode() + other)
        assert code(answer) == "SignatureDoesNotMatch"


def test_a_signed_get_with_the_form_in_its_url(url: str) -> None:
    request = AWSRequest("GET", f"{url}/?{FORM.decode()}")
    SigV4Auth(Credentials(KEY.id, KEY.secret), "elasticbeanstalk", REGION).add_auth(request)
    with urllib.request.urlopen(urllib.request.Request(request.url, headers=dict(request.headers.items()))) as answer:
        assert b"<SolutionStacks>" in answer.read()


def test_expect_100_continue_is_answered_before_the_body(url: str) -> None:
    refused = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n"
    status, headers, _ = exchange(url, refused)
    assert status == 403
    assert headers["connection"] == "close"


def test_a_client_that_stops_in_the_middle(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beanpole.aws.exchange.FORM_TIMEOUT", 0.05)
    head = f"POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Date: 20261012T000000Z\r\nAuthorization: {UNPROVEN}\r\n"
    status, headers, answer = exchange(url, f"{head}Content-Length: 10\r\n\r\nAction".encode())
    assert (status, code(answer)) == (400, "RequestTimeout")
    assert headers["date"]


UNPROVEN = "AWS4-HMAC-SHA256 Credential=A/20261012/r/iam/aws4_request,SignedHeaders=host,Signature=" + "0" * 64


def test_a_handler_that_takes_its_time_holds_up_nobody(clients: botocore.session.Session) -> None:
    second_came = threading.Event()

    def first(call: Call) -> dict[str, Any]:
        return {"SolutionStacks": ["the second came" if second_came.wait(10) else "alone"]}

    handlers = {"ListAvailableSolutionStacks": first, "RebuildEnvironment": lambda call: second_came.set()}
    service = Service("elasticbeanstalk", load_model("elasticbeanstalk"), handlers)
    with served(Gateway([service], keys)) as url, ThreadPoolExecutor(1) as pool:
        eb = client(clients, "elasticbeanstalk", url)
        slow = pool.submit(eb.list_available_solution_stacks)
        eb.rebuild_environment(EnvironmentName="name")
        assert slow.result(20)["SolutionStacks"] == ["the second came"]


def test_a_failing_audit_does_not_deny_what_was_done() -> None:
    ledger = Ledger()

    def broken(call: Call, outcome: str) -> None:
        raise OSError("disk full")

    service = Service("elasticbeanstalk", load_model("elasticbeanstalk"), HANDLERS)
    with served(Gateway([service], keys, audit=broken, on_error=ledger.on_error)) as url:
        assert post(url, FORM)[0] == 200
    assert isinstance(ledger.errors[0][2], OSError)


def test_a_failing_key_lookup_is_reported() -> None:
    ledger = Ledger()

    def broken(identifier: str) -> None:
        raise OSError("database gone")

    with served(Gateway([], broken, on_error=ledger.on_error)) as url:
        status, headers, answer = post(url, FORM)
    assert (status, code(answer)) == (500, "InternalFailure")
    assert ledger.errors[0][0] == headers["x-amzn-requestid"]


def test_what_passes_by_itself_is_answered_so_that_clients_repeat_the_call() -> None:
    ledger = Ledger()

    def away(*_: object) -> None:
        raise TimeoutError("the database is away")

    service = Service("elasticbeanstalk", load_model("elasticbeanstalk"), {"ListAvailableSolutionStacks": away})
    for lookup in (keys, away):
        gateway = Gateway([service], lookup, on_error=ledger.on_error, of_the_moment=(TimeoutError,))
        with served(gateway) as url:
            status, _, answer = post(url, FORM)
        assert (status, code(answer)) == (503, "ServiceUnavailable")
        assert b"database" not in answer
    assert [str(problem) for _, _, problem in ledger.errors] == ["the database is away"] * 2


def test_a_gateway_below_a_path() -> None:
    service = Service("elasticbeanstalk", load_model("elasticbeanstalk"), HANDLERS)
    gateway = Gateway([service], keys)

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        await gateway({**scope, "root_path": "/aws"}, receive, send)

    with served(mounted) as url:
        stacks = client(session(), "elasticbeanstalk", url + "/aws").list_available_solution_stacks()["SolutionStacks"]
    assert stacks[0] == url + "/aws"
