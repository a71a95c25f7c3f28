"""Which operation a request means: over the whole of S3's own description, and in both styles of address."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import botocore.session
import pytest
from botocore.model import OperationModel
from served import client

from beanpole.aws.body import Body
from beanpole.aws.errors import AwsError
from beanpole.aws.request import Request, parse_query
from beanpole.aws.sigv4 import EMPTY, Message
from beanpole.services.s3 import S3
from beanpole.services.s3.router import route
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database

BUILT = frozenset(
    (
        *("ListBuckets", "CreateBucket", "HeadBucket", "DeleteBucket", "GetBucketLocation", "ListObjects"),
        *("ListObjectsV2", "PutObject", "CopyObject", "GetObject", "HeadObject", "DeleteObject", "DeleteObjects"),
        *("CreateMultipartUpload", "UploadPart", "UploadPartCopy", "CompleteMultipartUpload", "AbortMultipartUpload"),
        *("ListParts", "ListMultipartUploads"),
    )
)

SAME_ON_THE_WIRE = {"ListDirectoryBuckets": "ListBuckets"}
"""Only the host tells them apart: directory buckets have their own."""

VALUES = {"versionId": "null", "partNumber": "1", "encoding-type": "url", "max-buckets": "1"}


async def nothing() -> dict[str, Any]:
    raise AssertionError("routing reads no body")


def request(method: str, path: str, query: str = "", host: str = "127.0.0.1:1", **headers: str) -> Request:
    named = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    message = Message(method, path.encode(), query.encode(), [(b"host", host.encode()), *named])
    return Request(message, path.encode(), parse_query(query.encode()), Body(nothing, message, EMPTY))


def requests(operation: OperationModel) -> Iterator[Request]:
    """Requests of an operation as SDKs write them: what it must have, then with each two of what it may have."""
    http = operation.http
    path, _, literal = http["requestUri"].replace("{Bucket}", "bucket").replace("{Key+}", "some/key").partition("?")
    required: list[str] = [literal] if literal else []
    optional: list[str] = []
    headers = {}
    shape = operation.input_shape
    for name, member in shape.members.items() if shape else ():
        wire, place = member.serialization.get("name", name), member.serialization.get("location")
        if place == "querystring":
            must = name in shape.required_members
            (required if must else optional).append(f"{wire}={VALUES.get(wire, '1')}")
        elif place == "header" and name in shape.required_members:
            headers[wire.lower()] = "bucket/source" if wire == "x-amz-copy-source" else "x"
    for more in [(), *((one,) for one in optional), *combinations(optional, 2)]:
        for named in ((), (f"x-id={operation.name}",)):
            yield request(http["method"], path, "&".join([*required, *more, *named]), **headers)


@pytest.mark.pure
def test_no_operation_is_taken_for_another_one() -> None:
    """DeleteObjectAnnotation deletes no object, RenameObject writes no empty one."""
    model = botocore.session.Session().get_service_model("s3")
    built = set()
    for name in model.operation_names:
        for one in requests(model.operation_model(name)):
            shown = f"{name}: {one.method} {one.path!r} {dict(one.query)}"
            if name in BUILT:
                assert route(one, ())[0] == name, shown
                built.add(name)
                continue
            try:
                operation, _ = route(one, ())
            except AwsError as refused:
                wanted = ("InvalidBucketName", 400) if name == "WriteGetObjectResponse" else ("NotImplemented", 501)
                assert (refused.code, refused.status) == wanted, shown
            else:
                assert operation == SAME_ON_THE_WIRE.get(name), shown
    assert built == BUILT


@pytest.mark.pure
def test_every_operation_that_is_routed_has_a_handler(tmp_path: Any) -> None:
    s3 = S3(Database("sqlite://"), Blobs(tmp_path), lambda key: None)
    assert s3._handlers.keys() == BUILT


@pytest.mark.pure
@pytest.mark.parametrize(
    ("method", "path", "query", "headers"),
    [
        ("DELETE", "/bucket", "policy", {}),
        ("DELETE", "/bucket/k", "annotation&annotationName=x", {}),
        ("DELETE", "/bucket/k", "versionId=other", {}),
        ("DELETE", "/bucket/k", "not-yet-invented", {}),
        ("DELETE", "/bucket/k", "x-id=DeleteObjectFromTheFuture", {}),
        ("PUT", "/bucket/k", "renameObject", {}),
        ("PUT", "/bucket/k", "partNumber=1", {}),
        ("GET", "/bucket", "list-type=3", {}),
        ("POST", "/bucket/k", "restore", {}),
        ("PUT", "/bucket/k", "", {"x_amz_write_offset_bytes": "3"}),
        ("PUT", "/bucket/k", "x-amz-write-offset-bytes=3", {}),
        ("DELETE", "/bucket/k", "", {"x_amz_if_match_size": "3"}),
        ("PUT", "/bucket/k", "", {"x_amz_server_side_encryption_customer_algorithm": "AES256"}),
    ],
)
def test_what_an_operation_does_not_know_is_refused(
    method: str, path: str, query: str, headers: dict[str, str]
) -> None:
    with pytest.raises(AwsError) as raised:
        route(request(method, path, query, **headers), ())
    assert (raised.value.code, raised.value.status) == ("NotImplemented", 501)


@pytest.mark.pure
def test_what_signatures_and_presigning_add_is_no_operation() -> None:
    added = "X-Amz-Algorithm=a&X-Amz-Signature=b&X-Amz-Security-Token=c&x-amz-checksum-mode=ENABLED&x-id=GetObject"
    assert route(request("GET", "/bucket/k", added), ())[0] == "GetObject"
    copy = request("PUT", "/bucket/k", "x-amz-copy-source=bucket%2Fother")
    assert route(copy, ())[0] == "CopyObject"


@pytest.mark.pure
@pytest.mark.parametrize(
    ("host", "path", "expected"),
    [
        ("some-bucket.localhost:8600", "/report.zip", ("some-bucket", "report.zip")),
        ("some-bucket.localhost", "/a/b.zip", ("some-bucket", "a/b.zip")),
        ("Some-Bucket.LOCALHOST.", "//k", ("some-bucket", "/k")),
        ("with.dots.in.it.localhost:1", "/k", ("with.dots.in.it", "k")),
        ("some-bucket.localhost", "/", ("some-bucket", None)),
        ("localhost:8600", "/some-bucket/k", ("some-bucket", "k")),
        ("127.0.0.1:8600", "/some-bucket/k", ("some-bucket", "k")),
        ("[::1]:8600", "/some-bucket/k", ("some-bucket", "k")),
        ("box.lan:8600", "/some-bucket/k", ("some-bucket", "k")),
        ("api.localhost:8600", "/some-bucket/k", ("some-bucket", "k")),
        ("some-bucket.api.localhost:8600", "/k", ("some-bucket", "k")),
        ("notlocalhost", "/some-bucket/k", ("some-bucket", "k")),
    ],
)
def test_both_styles_of_address(host: str, path: str, expected: tuple[str, str | None]) -> None:
    _, params = route(request("GET", path, host=host), ("localhost", "api.localhost"))
    assert (params["Bucket"], params.get("Key")) == expected


@pytest.mark.pure
def test_a_host_that_names_no_bucket() -> None:
    with pytest.raises(AwsError, match="InvalidBucketName"):
        route(request("GET", "/k", host="under_score.localhost"), ("localhost",))


@pytest.fixture
def by_host(clients: botocore.session.Session, url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client that writes the bucket into the host name, as all do for an endpoint that is a name."""
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *more, **options: resolve(
            "127.0.0.1" if re.search("localhost$", str(host)) else host, *more, **options
        ),
    )
    return client(clients, "s3", url.replace("127.0.0.1", "localhost"), s3={"addressing_style": "virtual"})


def test_a_client_that_has_the_bucket_in_the_host_name(by_host: Any, boto: Any, bucket: str, s3: S3) -> None:
    before = [one["Name"] for one in boto.list_buckets()["Buckets"]]
    by_host.put_object(Bucket=bucket, Key="report.zip", Body=b"precious")
    by_host.put_object(Bucket=bucket, Key=f"{bucket}/x", Body=b"p")
    assert s3.read(bucket, "report.zip") == b"precious"
    assert [one["Key"] for one in by_host.list_objects_v2(Bucket=bucket)["Contents"]] == [f"{bucket}/x", "report.zip"]
    upload = by_host.create_multipart_upload(Bucket=bucket, Key="in parts")["UploadId"]
    address = {"Bucket": bucket, "Key": "in parts", "UploadId": upload}
    etag = by_host.upload_part(**address, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    done = by_host.complete_multipart_upload(**address, MultipartUpload=parts)
    assert re.fullmatch(rf"http://{bucket}\.localhost:[0-9]+/in%20parts", done["Location"])
    by_host.delete_object(Bucket=bucket, Key="report.zip")
    assert s3.read(bucket, "report.zip") is None
    assert [one["Name"] for one in boto.list_buckets()["Buckets"]] == before
