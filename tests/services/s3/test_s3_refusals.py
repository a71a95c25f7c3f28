"""What is refused, what breaks in the middle, and what comes as over https."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from s3_site import LIMIT, chunked, chunked_headers, code, crc32, refusal, send, stored
from served import KEY, REGION, Ledger, exchange

from beanpole.services.s3 import S3
from beanpole.store.blobs import Blobs


def test_what_is_not_there(boto: Any, bucket: str) -> None:
    for call, expected in [
        (lambda: boto.get_object(Bucket=bucket, Key="none"), ("NoSuchKey", 404)),
        (lambda: boto.head_object(Bucket=bucket, Key="none"), ("404", 404)),
        (lambda: boto.get_object(Bucket="none-here", Key="k"), ("NoSuchBucket", 404)),
        (lambda: boto.put_object(Bucket="none-here", Key="k", Body=b"x"), ("NoSuchBucket", 404)),
        (lambda: boto.list_objects(Bucket="none-here"), ("NoSuchBucket", 404)),
        (lambda: boto.create_multipart_upload(Bucket="none-here", Key="k"), ("NoSuchBucket", 404)),
        (lambda: boto.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/none"), ("NoSuchKey", 404)),
        (lambda: boto.get_bucket_policy(Bucket=bucket), ("NotImplemented", 501)),
        (lambda: boto.delete_bucket_policy(Bucket=bucket), ("NotImplemented", 501)),
        (lambda: boto.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": []}), ("NotImplemented", 501)),
        (lambda: boto.put_object(Bucket=bucket, Key="k", Tagging="a=b"), ("NotImplemented", 501)),
        (lambda: boto.create_bucket(Bucket="Upper"), ("InvalidBucketName", 400)),
    ]:
        with pytest.raises(ClientError) as raised:
            call()
        assert refusal(raised) == expected
    assert boto.head_bucket(Bucket=bucket)


def test_an_object_above_the_limit(boto: Any, bucket: str, blobs: Blobs) -> None:
    with pytest.raises(ClientError) as raised:
        boto.put_object(Bucket=bucket, Key="k", Body=b"x" * (LIMIT + 1))
    assert refusal(raised) == ("EntityTooLarge", 400)
    assert stored(blobs) == set()
    boto.put_object(Bucket=bucket, Key="k", Body=b"x" * LIMIT)


def test_uploads_as_over_https(url: str, bucket: str, s3: S3) -> None:
    content = os.urandom(300_000)
    status, headers, body = send(
        url, "PUT", f"/{bucket}/k", sent=chunked(content, crc32(content)), trailing=True, **chunked_headers(content)
    )
    assert (status, body) == (200, b"")
    assert headers["etag"] == f'"{hashlib.md5(content).hexdigest()}"'
    assert s3.read(bucket, "k") == content


@pytest.mark.parametrize(
    ("sent", "length", "expected"),
    [
        (chunked(b"content", "AAAAAA=="), 7, "BadDigest"),
        (chunked(b"content", ""), 7, "MalformedTrailerError"),
        (chunked(b"content", crc32(b"content"))[:8], 7, "IncompleteBody"),
        (chunked(b"content", crc32(b"content")), 6, "IncompleteBody"),
        (chunked(b"content", crc32(b"content")), 8, "IncompleteBody"),
        (b"content", 7, "IncompleteBody"),
        (chunked(b"content", crc32(b"content")), LIMIT + 1, "EntityTooLarge"),
    ],
)
def test_broken_uploads_as_over_https(
    url: str, bucket: str, blobs: Blobs, sent: bytes, length: int, expected: str
) -> None:
    headers = {**chunked_headers(b""), "X_Amz_Decoded_Content_Length": str(length)}
    status, _, body = send(url, "PUT", f"/{bucket}/k", sent=sent, trailing=True, **headers)
    assert (status, code(body)) == (400, expected)
    assert stored(blobs) == set()


def test_bytes_that_lie_about_their_hashes_never_become_visible(url: str, bucket: str, s3: S3, blobs: Blobs) -> None:
    s3.put(bucket, "k", b"before")
    md5 = base64.b64encode(hashlib.md5(b"content").digest()).decode()
    right = {"X_Amz_Checksum_Crc32": crc32(b"content"), "Content_MD5": md5, "X_Amz_Checksum_Xxhash64": "unverified"}
    for sent, headers, expected in [
        (b"CONTENT", {}, "XAmzContentSHA256Mismatch"),
        (b"content", {"X_Amz_Checksum_Crc32": "AAAAAA=="}, "BadDigest"),
        (b"content", {"X_Amz_Checksum_Sha256": "AAAAAA=="}, "BadDigest"),
        (b"content", {"X_Amz_Checksum_Crc32c": "AAAAAA=="}, "BadDigest"),
        (b"content", {"X_Amz_Checksum_Crc64nvme": "AAAAAAAAAAA="}, "BadDigest"),
        (b"content", {"Content_MD5": "nonsense"}, "BadDigest"),
    ]:
        status, _, body = send(url, "PUT", f"/{bucket}/k", b"content", sent=sent, **headers)
        assert (status, code(body)) == (400, expected)
        assert s3.read(bucket, "k") == b"before"
        assert len(stored(blobs)) == 1
    assert send(url, "PUT", f"/{bucket}/k", b"content", **right)[0] == 200


def test_a_client_that_goes_away_in_the_middle(url: str, bucket: str, blobs: Blobs, s3: S3, ledger: Ledger) -> None:
    ledger.calls.clear()
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(half_an_upload(url, bucket))
    s3.put(bucket, "k", b"other")
    ledger.wait_for("IncompleteBody")
    assert stored(blobs) == {hashlib.sha256(b"other").hexdigest()}


def test_a_client_that_stops_in_the_middle(
    url: str, bucket: str, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beanpole.aws.body.STALL", 0.05)
    status, _, body = exchange(url, half_an_upload(url, bucket))
    assert (status, code(body)) == (400, "RequestTimeout")
    assert stored(blobs) == set()


def half_an_upload(url: str, bucket: str) -> bytes:
    request = AWSRequest("PUT", f"{url}/{bucket}/half", data=b"x" * 1000)
    S3SigV4Auth(Credentials(KEY.id, KEY.secret), "s3", REGION).add_auth(request)
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    lines += f"Host: {url.removeprefix('http://')}\r\nContent-Length: 1000\r\n"
    return f"PUT /{bucket}/half HTTP/1.1\r\n{lines}\r\n".encode() + b"x" * 500


@pytest.mark.parametrize(
    ("method", "target", "options", "status", "expected"),
    [
        ("PATCH", "/BUCKET/k", {}, 405, "MethodNotAllowed"),
        ("DELETE", "/", {}, 405, "MethodNotAllowed"),
        ("POST", "/BUCKET", {}, 405, "MethodNotAllowed"),
        ("POST", "/BUCKET/k", {}, 405, "MethodNotAllowed"),
        ("GET", "//k", {}, 400, "InvalidURI"),
        ("GET", "/BUCKET/%ff", {}, 400, "InvalidURI"),
        ("GET", "/BUCKET/%00", {}, 400, "InvalidArgument"),
        ("GET", "/BUCKET/" + "x" * 1025, {}, 400, "KeyTooLongError"),
        ("GET", "/BUCKET?prefix=%ff", {}, 400, "InvalidArgument"),
        ("GET", "/BUCKET?max-keys=many", {}, 400, "InvalidArgument"),
        ("GET", "/BUCKET?max-keys=-1", {}, 400, "InvalidArgument"),
        ("GET", "/BUCKET?encoding-type=base64", {}, 400, "InvalidArgument"),
        ("GET", "/BUCKET?list-type=2&continuation-token=%21", {}, 400, "InvalidArgument"),
        ("GET", "/BUCKET?list-type=2&continuation-token=gICA", {}, 400, "InvalidArgument"),
        ("GET", "/BUCKET?" + "&".join(f"a{n}" for n in range(200)), {}, 400, "InvalidArgument"),
        ("PUT", "/BUCKET/k?partNumber=0&uploadId=x", {}, 400, "InvalidArgument"),
        ("PUT", "/BUCKET/k?partNumber=10001&uploadId=x", {}, 400, "InvalidArgument"),
        ("PUT", "/BUCKET/k?partNumber=1&uploadId=x", {}, 404, "NoSuchUpload"),
        ("PUT", "/BUCKET/k?acl", {}, 501, "NotImplemented"),
        ("PUT", "/BUCKET/k", {"X_Amz_Copy_Source": "%ff"}, 400, "InvalidURI"),
        ("PUT", "/BUCKET/k", {"X_Amz_Copy_Source": "nonsense"}, 404, "NoSuchBucket"),
        ("PUT", "/BUCKET/k", {"X_Amz_Checksum_Md5": "x"}, 400, "BadDigest"),
        ("POST", "/BUCKET?delete", {"body": b"<"}, 400, "MalformedXML"),
        ("POST", "/BUCKET?delete", {"body": b"\xff"}, 400, "MalformedXML"),
        ("POST", "/BUCKET?delete", {"body": b"<Delete/>"}, 400, "MalformedXML"),
        ("POST", "/BUCKET?delete", {"body": b"<Delete><Object/></Delete>"}, 400, "MalformedXML"),
        ("POST", "/BUCKET?delete", {"body": b"<Other/>"}, 400, "MalformedXML"),
        ("POST", "/BUCKET?delete", {"body": b'<!DOCTYPE x [<!ENTITY a "b">]><Delete/>'}, 400, "MalformedXML"),
        ("POST", "/BUCKET?delete", {"body": b"<a>" * 100_000}, 400, "MalformedXML"),
        ("POST", "/BUCKET?delete", {"body": b" " * (2 * 1024 * 1024 + 1)}, 413, "EntityTooLarge"),
        ("POST", "/BUCKET/k?uploadId=x", {"body": b"<CompleteMultipartUpload/>"}, 404, "NoSuchUpload"),
    ],
)
def test_what_strangers_send(
    url: str, bucket: str, method: str, target: str, options: dict[str, Any], status: int, expected: str
) -> None:
    found, headers, body = send(url, method, target.replace("BUCKET", bucket), **options)
    assert (found, code(body)) == (status, expected)
    assert headers["x-amzn-requestid"].encode() in body
    assert headers["content-type"] == "application/xml"
    assert parsedate_to_datetime(headers["date"])


def test_what_stands_for_a_body_that_has_no_signed_hash(url: str, bucket: str) -> None:
    request = b"PUT /b/k HTTP/1.1\r\nHost: h\r\nX-Amz-Date: 20261012T000000Z\r\nContent-Length: 0\r\n"
    authorization = "AWS4-HMAC-SHA256 Credential=A/20261012/r/s3/aws4_request,SignedHeaders=host,Signature=" + "0" * 64
    for payload, expected in [
        ("STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", "NotImplemented"),
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "InvalidAccessKeyId"),
        ("nonsense", "InvalidArgument"),
        ("UNSIGNED-PAYLOAD", "InvalidAccessKeyId"),
    ]:
        lines = f"Authorization: {authorization}\r\nX-Amz-Content-Sha256: {payload}\r\n\r\n"
        _, _, body = exchange(url, request + lines.encode())
        assert code(body) == expected


def test_a_browsers_form_is_told_that_it_is_not_built(boto: Any, url: str, bucket: str) -> None:
    form = boto.generate_presigned_post(bucket, "k")
    assert form["fields"]["policy"]
    request = f"POST /{bucket} HTTP/1.1\r\nHost: h\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    status, headers, body = exchange(url, f"{request}Content-Length: 0\r\n\r\n".encode())
    assert (status, code(body), headers["content-type"]) == (501, "NotImplemented", "application/xml")


@pytest.mark.parametrize("word", ["PAYLOAD", "PAYLOAD-TRAILER"])
@pytest.mark.parametrize("forged", [False, True])
def test_signed_chunks(url: str, bucket: str, s3: S3, blobs: Blobs, word: str, forged: bool) -> None:
    """As Java, .NET and MinIO send them over http."""
    pieces = (os.urandom(70_000), os.urandom(70_000), b"")
    content = b"".join(pieces)
    payload = f"STREAMING-AWS4-HMAC-SHA256-{word}"
    headers = {"X-Amz-Content-Sha256": payload, "X-Amz-Decoded-Content-Length": str(len(content))}
    trailer = f"x-amz-checksum-crc32:{crc32(content)}" if word.endswith("TRAILER") else ""
    if trailer:
        headers["X-Amz-Trailer"] = "x-amz-checksum-crc32"
    request = AWSRequest("PUT", f"{url}/{bucket}/k", headers=headers, data=b"")
    auth = S3SigV4Auth(Credentials(KEY.id, KEY.secret), "s3", REGION)
    auth.payload = lambda request: payload
    auth.add_auth(request)
    scope = request.headers["Authorization"].partition("/")[2].partition(",")[0]
    previous = request.headers["Authorization"].rpartition("=")[2]
    key = f"AWS4{KEY.secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")

    def signature(kind: str, what: str) -> str:
        to_sign = f"AWS4-HMAC-SHA256-{kind}\n{request.headers['X-Amz-Date']}\n{scope}\n{previous}\n{what}"
        return hmac.digest(key, to_sign.encode(), "sha256").hex()

    body = b""
    for piece in pieces:
        previous = signature("PAYLOAD", f"{hashlib.sha256(b'').hexdigest()}\n{hashlib.sha256(piece).hexdigest()}")
        body += b"%x;chunk-signature=%b\r\n%b" % (len(piece), previous.encode(), piece + b"\r\n" if piece else b"")
    if trailer:
        line = signature("TRAILER", hashlib.sha256(f"{trailer}\n".encode()).hexdigest())
        body += f"{trailer}\r\nx-amz-trailer-signature:{line}\r\n".encode()
    body += b"\r\n"
    if forged:
        at = body.index(pieces[1]) + 5
        body = body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :]
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    lines += f"Host: {url.removeprefix('http://')}\r\nContent-Length: {len(body)}\r\n"
    status, _, answer = exchange(url, f"PUT /{bucket}/k HTTP/1.1\r\n{lines}\r\n".encode() + body)
    if forged:
        assert (status, code(answer), stored(blobs)) == (403, "SignatureDoesNotMatch", set())
    else:
        assert (status, s3.read(bucket, "k")) == (200, content)
