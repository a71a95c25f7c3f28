from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.utils import percent_encode
from hypothesis import given, settings
from hypothesis import strategies as st

from beanpole.aws import sigv4
from beanpole.aws.errors import AwsError

pytestmark = pytest.mark.pure

KEY, SECRET = "AKBEANPOLETEST000001", "s3cr3t/of+the=user"
AUTHS = {"s3": S3SigV4Auth, "elasticbeanstalk": SigV4Auth}


def signed(service: str, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None) -> AWSRequest:
    request = AWSRequest(method, url, headers=headers or {}, data=body)
    AUTHS[service](Credentials(KEY, SECRET), service, "local-1").add_auth(request)
    return request


def arrived(request: Any, host: str = "") -> sigv4.Message:
    """The request as the server sees it."""
    parts = urlsplit(request.url)
    headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    headers.append((b"host", (host or parts.netloc).encode()))
    return sigv4.Message(request.method, (parts.path or "/").encode(), parts.query.encode(), headers)


def clock() -> float:
    """What botocore signs with: asked anew each time, for a run of all tests takes minutes."""
    return datetime.now(UTC).timestamp()


def accept(
    message: sigv4.Message, body: bytes = b"", now: float | None = None, payload: str | None = None
) -> sigv4.Claim:
    claim = sigv4.claim(message)
    sigv4.verify(message, claim, SECRET, payload or hashlib.sha256(body).hexdigest(), now or clock())
    return claim


def refused(message: sigv4.Message, **options: Any) -> AwsError:
    with pytest.raises(AwsError) as raised:
        accept(message, **options)
    return raised.value


def replaced(message: sigv4.Message, **headers: str | None) -> sigv4.Message:
    """The message with some headers changed or (None) removed."""
    names = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    kept = [(name, value) for name, value in message.headers if name not in names]
    added = [(name, value.encode("latin-1")) for name, value in names.items() if value is not None]
    return sigv4.Message(message.method, message.path, message.query, kept + added)


def test_the_published_example() -> None:
    """AWS's documented request, "get-vanilla-query-order-key-case" of its test suite."""
    authorization = (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        "SignedHeaders=host;x-amz-date, Signature=b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"
    )
    message = sigv4.Message(
        "GET",
        b"/",
        b"Param2=value2&Param1=value1",
        [
            (b"host", b"example.amazonaws.com"),
            (b"x-amz-date", b"20150830T123600Z"),
            (b"authorization", authorization.encode()),
        ],
    )
    now = datetime(2015, 8, 30, 12, 36, tzinfo=UTC).timestamp()
    sigv4.verify(message, sigv4.claim(message), "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", sigv4.EMPTY, now)


PATHS = ["/", "/a b/c", "/a//b/../c/./d", "/%7Ex", "/k%2Fey%20(1)+=@:é", "/" + "x" * 300]
QUERIES = ["", "?delete", "?a=2&a=1&B=3&a", "?prefix=a%20b%2Fc%2B&x=%C3%A9&list-type=2", "?empty=&=x"]


@pytest.mark.parametrize("service", ["s3", "elasticbeanstalk"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("query", QUERIES)
def test_what_botocore_signs_is_accepted(service: str, path: str, query: str) -> None:
    url = "http://h.example:8600" + percent_encode(path, safe="/%+=@:()~") + query
    headers = {"X-Amz-Meta-Spaces": "  a   b  ", "Content-Type": "text/plain"}
    message = arrived(signed(service, "POST", url, b"body", headers))
    claim = accept(message, b"body")
    assert (claim.access_key, claim.region, claim.service) == (KEY, "local-1", service)


@settings(max_examples=60, deadline=None, database=None)
@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), st.sampled_from(["s3", "elasticbeanstalk"]))
def test_any_path_can_be_signed(key: str, service: str) -> None:
    message = arrived(signed(service, "PUT", "http://h/b/" + percent_encode(key, safe="/~")))
    accept(message)


def test_a_path_that_the_client_encoded_otherwise_than_it_signed() -> None:
    request = signed("s3", "GET", "http://h/b/a%2Bb%3D")
    request.url = "http://h/b/a+b="
    accept(arrived(request))


@pytest.mark.parametrize("auth", [S3SigV4QueryAuth, SigV4QueryAuth])
def test_what_botocore_presigns_is_accepted(auth: type[SigV4QueryAuth]) -> None:
    service = "s3" if auth is S3SigV4QueryAuth else "sts"
    request = AWSRequest("GET", "http://h:1/b/some%20key?response-content-type=a%2Fb")
    auth(Credentials(KEY, SECRET), service, "local-1", expires=60).add_auth(request)
    message = arrived(request)
    payload = sigv4.UNSIGNED if service == "s3" else sigv4.EMPTY
    assert accept(message, payload=payload).expires == 60
    assert refused(message, payload=payload, now=clock() + 120).code == "AccessDenied"
    assert refused(message, payload=payload, now=clock() - 1200).code == "AccessDenied"
    other = sigv4.Message("PUT", message.path, message.query, message.headers)
    assert refused(other, payload=payload).code == "SignatureDoesNotMatch"


def test_what_we_presign_holds_for_its_time_and_its_object() -> None:
    url = sigv4.presign("GET", "http://h:1/b/a%20b?x=1", KEY, SECRET, "local-1", "s3", clock(), 60)
    message = arrived(AWSRequest("GET", url))
    accept(message, payload=sigv4.UNSIGNED)
    accept(message, payload=sigv4.UNSIGNED, now=clock() + 59)
    assert "expired" in refused(message, payload=sigv4.UNSIGNED, now=clock() + 62).message
    elsewhere = sigv4.Message("GET", b"/b/other", message.query, message.headers)
    assert refused(elsewhere, payload=sigv4.UNSIGNED).code == "SignatureDoesNotMatch"


def test_the_forms_of_the_header() -> None:
    message = arrived(signed("s3", "GET", "http://h/b"))
    given = message.header("authorization") or ""
    scheme, _, parts = given.partition(" ")
    credential, names, signature = parts.split(", ")
    for form in (
        f"{scheme} {credential},{names},{signature}",
        f"{scheme}   {signature} ,  {names},{credential} ",
    ):
        accept(replaced(message, authorization=form))


def test_a_date_header_instead_of_x_amz_date() -> None:
    request = AWSRequest("GET", "http://h/", headers={"Date": "x"})
    SigV4Auth(Credentials(KEY, SECRET), "elasticbeanstalk", "local-1").add_auth(request)
    assert "X-Amz-Date" not in request.headers
    accept(arrived(request))


@pytest.mark.parametrize(
    ("service", "minutes", "code", "words"),
    [
        ("s3", 16, "RequestTimeTooSkewed", "clock"),
        ("s3", -16, "RequestTimeTooSkewed", "clock"),
        ("elasticbeanstalk", 16, "SignatureDoesNotMatch", "Signature expired"),
        ("elasticbeanstalk", -16, "SignatureDoesNotMatch", "Signature not yet current"),
    ],
)
def test_clocks_that_differ(service: str, minutes: int, code: str, words: str) -> None:
    message = arrived(signed(service, "POST", "http://h/"))
    accept(message, now=clock() + 14 * 60 * (1 if minutes > 0 else -1))
    error = refused(message, now=clock() + minutes * 60)
    assert (error.code, error.status) == (code, 403)
    assert words in error.message


def test_whatever_is_changed_on_the_way_is_noticed() -> None:
    message = arrived(signed("s3", "PUT", "http://h/b/key?a=1", b"body", {"Content-Type": "text/plain"}))
    digest = hashlib.sha256(b"body").hexdigest()
    changed = [
        sigv4.Message("POST", message.path, message.query, message.headers),
        sigv4.Message("PUT", b"/b/other", message.query, message.headers),
        sigv4.Message("PUT", message.path, b"a=2", message.headers),
        sigv4.Message("PUT", message.path, b"a=1&b", message.headers),
        replaced(message, host="elsewhere"),
        replaced(message, content_type="text/html"),
        replaced(message, content_type=None),
        replaced(message, x_amz_added="x"),
    ]
    for one in changed:
        assert refused(one, payload=digest).code == "SignatureDoesNotMatch"
    assert refused(message, body=b"other").code == "SignatureDoesNotMatch"
    with pytest.raises(AwsError, match="SignatureDoesNotMatch"):
        sigv4.verify(message, sigv4.claim(message), "another secret", digest, clock())


GOOD = (
    "AWS4-HMAC-SHA256 Credential=AKX/20261012/local-1/s3/aws4_request, SignedHeaders=host;x-amz-date, "
    "Signature=" + "0" * 64
)


@pytest.mark.parametrize(
    ("authorization", "code"),
    [
        (None, "MissingAuthenticationToken"),
        ("", "IncompleteSignature"),
        ("AWS AKX:c2ln", "IncompleteSignature"),
        ("Bearer abc", "IncompleteSignature"),
        ("AWS4-ECDSA-P256-SHA256 Credential=x", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256", "IncompleteSignature"),
        ("AWS4-HMAC-SHA256 ,,,===,", "IncompleteSignature"),
        (GOOD.replace("20261012", "20261013"), "IncompleteSignature"),
        (GOOD.replace("/s3/", "/S3!/"), "IncompleteSignature"),
        (GOOD.replace("aws4_request", "aws5_request"), "IncompleteSignature"),
        (GOOD.replace("0" * 64, "0" * 63), "IncompleteSignature"),
        (GOOD.replace("host;x", "host;;x"), "IncompleteSignature"),
        (GOOD.replace("AKX", "AK\xe9"), "IncompleteSignature"),
        (GOOD.replace("AKX", "A" * 129), "IncompleteSignature"),
        (GOOD, None),
    ],
)
def test_malformed_authorization(authorization: str | None, code: str | None) -> None:
    message = sigv4.Message("GET", b"/", b"", [(b"host", b"h"), (b"x-amz-date", b"20261012T000000Z")])
    message = replaced(message, authorization=authorization)
    if code is None:
        assert sigv4.claim(message).access_key == "AKX"
        return
    with pytest.raises(AwsError) as raised:
        sigv4.claim(message)
    assert raised.value.code == code


@pytest.mark.parametrize("date", ["", "20261012T000000", "20261312T000000Z", "20261012T990000Z", "yesterday"])
def test_malformed_dates(date: str) -> None:
    message = sigv4.Message("GET", b"/", b"", [(b"host", b"h"), (b"x-amz-date", date.encode())])
    with pytest.raises(AwsError, match="IncompleteSignature"):
        sigv4.claim(replaced(message, authorization=GOOD))


@pytest.mark.parametrize("expires", ["", "0", "-1", "604801", "9" * 50, "1e3"])
def test_malformed_lifetimes(expires: str) -> None:
    query = f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Expires={expires}"
    with pytest.raises(AwsError, match="X-Amz-Expires"):
        sigv4.claim(sigv4.Message("GET", b"/", query.encode(), []))


def test_signature_version_2_is_named() -> None:
    with pytest.raises(AwsError, match="Version 2"):
        sigv4.claim(sigv4.Message("GET", b"/b/k", b"AWSAccessKeyId=a&Signature=b", []))


def test_a_browsers_form_is_told_that_it_is_not_built() -> None:
    """Its signature is inside of the body; "not signed" would send people to look at their keys."""
    form = [(b"host", b"h"), (b"content-type", b"multipart/form-data; boundary=x")]
    with pytest.raises(AwsError, match="browser") as raised:
        sigv4.claim(sigv4.Message("POST", b"/b", b"", form))
    assert (raised.value.code, raised.value.status) == ("NotImplemented", 501)
