"""S3 on a real port with real clients, a real database and real files."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import botocore.session
import pytest
import sqlalchemy as sa
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "aws"))
from served import KEY, REGION, Ledger, client, exchange, keys, served, session

from beanpole.aws.call import Call, Caller
from beanpole.aws.errors import AwsError
from beanpole.aws.gateway import Gateway
from beanpole.services.s3 import S3
from beanpole.services.s3.conditions import byte_range
from beanpole.services.s3.listing import page
from beanpole.services.s3.objects import ObjectRow
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database
from beanpole.store.schema import application, version

LIMIT = 3 * 1024 * 1024
CALL = Call("s3", "x", {}, "id", Caller(KEY.id, KEY.user, "local"), REGION, "http://127.0.0.1:1")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database.at(tmp_path_factory.mktemp("store") / "beanpole.sqlite3")
    yield database
    database.close()


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Blobs:
    return Blobs(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def s3(database: Database, blobs: Blobs) -> S3:
    return S3(database, blobs, keys, object_limit=LIMIT)


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture(scope="module")
def url(s3: S3, ledger: Ledger) -> Iterator[str]:
    with served(Gateway([], keys, objects=s3, audit=ledger.audit, on_error=ledger.on_error)) as url:
        yield url


@pytest.fixture(scope="module")
def clients() -> botocore.session.Session:
    return session()


@pytest.fixture(scope="module")
def boto(clients: botocore.session.Session, url: str) -> Any:
    return client(clients, "s3", url)


@pytest.fixture
def bucket(s3: S3, blobs: Blobs, ledger: Ledger) -> Iterator[str]:
    """An empty bucket; afterwards nothing may have gone wrong unseen, and no blob may be left behind."""
    name = f"bucket-{os.urandom(6).hex()}"
    s3.create_bucket(name)
    ledger.errors.clear()
    yield name
    assert ledger.errors == []
    s3.objects.delete(name, s3.list_keys(name, ""))
    s3.expire_uploads(-1)
    assert stored(blobs) == set()


def stored(blobs: Blobs) -> set[str]:
    """The digests of all blobs. Files that are still being written count too."""
    return {path.name for path in blobs.root.rglob("*") if path.is_file()}


def refusal(raised: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = raised.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


# -- objects -------------------------------------------------------------------------------------------------------


def test_an_object_comes_back_as_it_was_put(boto: Any, bucket: str, blobs: Blobs) -> None:
    content = os.urandom(2_500_000)
    put = boto.put_object(Bucket=bucket, Key="app/label.zip", Body=content, ContentType="application/zip")
    assert put["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
    got = boto.get_object(Bucket=bucket, Key="app/label.zip")
    assert got["Body"].read() == content
    assert (got["ContentType"], got["ContentLength"], got["ETag"]) == ("application/zip", len(content), put["ETag"])
    head = boto.head_object(Bucket=bucket, Key="app/label.zip")
    assert (head["ContentLength"], head["ETag"]) == (len(content), put["ETag"])
    assert head["LastModified"] == got["LastModified"]
    assert stored(blobs) == {hashlib.sha256(content).hexdigest()}


def test_keys_are_never_paths(boto: Any, bucket: str, s3: S3, blobs: Blobs) -> None:
    names = ["../../etc/passwd", "/leading", "a//b", "ünï/☃ +%25&=?#;:@", "a/../b", "x" * 1024, "end/", ".", "\t\n"]
    for name in names:
        boto.put_object(Bucket=bucket, Key=name, Body=name.encode())
    for name in names:
        assert boto.get_object(Bucket=bucket, Key=name)["Body"].read() == name.encode()
    assert sorted(s3.list_keys(bucket, ""), key=str.encode) == sorted(names, key=str.encode)
    assert all(len(path.name) == 64 for path in blobs.root.rglob("*") if path.is_file())


def test_an_empty_object(boto: Any, bucket: str) -> None:
    boto.put_object(Bucket=bucket, Key="empty", Body=b"")
    assert boto.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""
    with pytest.raises(ClientError) as raised:
        boto.get_object(Bucket=bucket, Key="empty", Range="bytes=0-1")
    assert refusal(raised) == ("InvalidRange", 416)


def test_parts_of_an_object(boto: Any, bucket: str) -> None:
    boto.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    for asked, content, range_ in [
        ("bytes=2-4", b"234", "bytes 2-4/10"),
        ("bytes=7-", b"789", "bytes 7-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-99", b"0123456789", "bytes 0-9/10"),
        ("bytes=8-99", b"89", "bytes 8-9/10"),
    ]:
        got = boto.get_object(Bucket=bucket, Key="k", Range=asked)
        assert (got["Body"].read(), got["ContentRange"]) == (content, range_)
        assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert boto.head_object(Bucket=bucket, Key="k", Range="bytes=2-4")["ContentLength"] == 3


@pytest.mark.pure
@settings(max_examples=100, deadline=None, database=None)
@given(st.integers(0, 12), st.integers(0, 12) | st.none(), st.integers(0, 12) | st.none())
def test_any_range_lies_inside(size: int, first: int | None, last: int | None) -> None:
    text = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    content = bytes(range(size))
    try:
        part = byte_range(text, size)
    except AwsError as error:
        assert error.code == "InvalidRange"
        assert not (content[first:] if first is not None else content[size - (last or 0) :])
        return
    if part is None:
        assert (first is None and last is None) or (first is not None and last is not None and last < first)
        return
    start, length = part
    end = len(content) if last is None else last + 1
    assert content[start : start + length] == (content[first:end] if first is not None else content[-(last or 0) :])
    assert length >= 1


def test_conditions(boto: Any, bucket: str) -> None:
    etag = boto.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    for method in (boto.get_object, boto.head_object):
        with pytest.raises(ClientError) as raised:
            method(Bucket=bucket, Key="k", IfNoneMatch=etag)
        assert refusal(raised)[1] == 304
        with pytest.raises(ClientError) as raised:
            method(Bucket=bucket, Key="k", IfMatch='"other"')
        assert refusal(raised)[1] == 412
        assert method(Bucket=bucket, Key="k", IfMatch=etag, IfNoneMatch='"other"')["ETag"] == etag
    with pytest.raises(ClientError) as raised:
        boto.put_object(Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    assert refusal(raised) == ("PreconditionFailed", 412)
    boto.put_object(Bucket=bucket, Key="new", Body=b"2", IfNoneMatch="*")


def test_replacing_removes_the_old_content(boto: Any, bucket: str, blobs: Blobs) -> None:
    boto.put_object(Bucket=bucket, Key="k", Body=b"old")
    boto.put_object(Bucket=bucket, Key="k", Body=b"new")
    assert stored(blobs) == {hashlib.sha256(b"new").hexdigest()}


def test_shared_content_goes_with_its_last_object(boto: Any, bucket: str, blobs: Blobs) -> None:
    boto.put_object(Bucket=bucket, Key="a", Body=b"same")
    boto.copy_object(Bucket=bucket, Key="b", CopySource={"Bucket": bucket, "Key": "a"})
    boto.delete_object(Bucket=bucket, Key="a")
    assert boto.get_object(Bucket=bucket, Key="b")["Body"].read() == b"same"
    boto.delete_object(Bucket=bucket, Key="b")
    boto.delete_object(Bucket=bucket, Key="b")
    assert stored(blobs) == set()


def test_a_versions_bundle_outlives_its_object(database: Database, s3: S3, bucket: str, blobs: Blobs) -> None:
    row = s3.put(bucket, "app/v1.zip", b"bundle")
    with a_version(database, bundle=row.sha256):
        s3.delete(bucket, "app/v1.zip")
        assert stored(blobs) == {row.sha256}
    s3.put(bucket, "again", b"bundle")
    s3.delete(bucket, "again")
    assert stored(blobs) == set()


@contextmanager
def a_version(database: Database, bundle: str | None = None, manifest: str = "") -> Iterator[None]:
    moment = {"created_at": 0, "updated_at": 0}
    values = {"application": "app", "label": "v1", "status": "x", "bundle": bundle, "manifest": manifest, **moment}
    with database.write() as db:
        db.execute(sa.insert(application).values(name="app", **moment))
        db.execute(sa.insert(version).values(values))
    yield
    with database.write() as db:
        db.execute(sa.delete(version))
        db.execute(sa.delete(application))


def test_a_sweep_removes_what_only_a_deleted_version_needed(
    database: Database, s3: S3, bucket: str, blobs: Blobs
) -> None:
    """`eb terminate --all` deletes the objects first, while the versions still need the content."""
    row = s3.put(bucket, "app/v1.zip", b"bundle")
    kept = s3.put(bucket, "app/v2.zip", b"another")
    with a_version(database, bundle=row.sha256):
        s3.delete(bucket, "app/v1.zip")
    s3.sweep(time.time() + 10, age=5)
    assert stored(blobs) == {kept.sha256}


def test_the_same_content_put_and_deleted_at_once(s3: S3, bucket: str, blobs: Blobs) -> None:
    start = threading.Barrier(4)

    def churn(name: str) -> None:
        start.wait(10)
        for _ in range(15):
            s3.put(bucket, name, b"contested")
            assert s3.read(bucket, name) == b"contested"
            s3.delete(bucket, name)

    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(churn, f"key{n}") for n in range(4)]:
            done.result(30)
    assert stored(blobs) == set()


def test_a_reader_finishes_although_the_object_is_replaced(s3: S3, bucket: str) -> None:
    s3.put(bucket, "k", b"old")
    _, file = s3.objects.open(bucket, "k")
    s3.put(bucket, "k", b"new")
    with file:
        assert file.read() == b"old"


def test_many_objects_are_deleted_in_one_call(boto: Any, bucket: str, s3: S3) -> None:
    for n in range(5):
        s3.put(bucket, f"k{n}&", b"x")
    answer = boto.delete_objects(
        Bucket=bucket, Delete={"Objects": [{"Key": f"k{n}&"} for n in range(4)] + [{"Key": "never there"}]}
    )
    assert [item["Key"] for item in answer["Deleted"]] == ["k0&", "k1&", "k2&", "k3&", "never there"]
    assert s3.list_keys(bucket, "") == ["k4&"]
    quiet = boto.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k4&"}], "Quiet": True})
    assert "Deleted" not in quiet


# -- buckets and lists ---------------------------------------------------------------------------------------------


def test_buckets(boto: Any, url: str) -> None:
    boto.create_bucket(Bucket="made-here", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    boto.create_bucket(Bucket="made-here", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    assert "made-here" in [one["Name"] for one in boto.list_buckets()["Buckets"]]
    assert boto.head_bucket(Bucket="made-here")["BucketRegion"] == REGION
    assert boto.get_bucket_location(Bucket="made-here")["LocationConstraint"] == REGION
    boto.put_object(Bucket="made-here", Key="k", Body=b"")
    with pytest.raises(ClientError) as raised:
        boto.delete_bucket(Bucket="made-here")
    assert refusal(raised) == ("BucketNotEmpty", 409)
    boto.delete_object(Bucket="made-here", Key="k")
    boto.delete_bucket(Bucket="made-here")
    with pytest.raises(ClientError) as raised:
        boto.head_bucket(Bucket="made-here")
    assert refusal(raised)[1] == 404


def test_lists_page_by_page(boto: Any, bucket: str, s3: S3) -> None:
    names = ["a b", "dir/1", "dir/2", "dir/sub/3", "dir0", "ä/☃", "z&<>"]
    for name in names:
        s3.put(bucket, name, b"x")
    for operation in ("list_objects", "list_objects_v2"):
        pages = boto.get_paginator(operation).paginate(Bucket=bucket, PaginationConfig={"PageSize": 2})
        assert [item["Key"] for one in pages for item in one["Contents"]] == sorted(names, key=str.encode)
        found = {"Contents": [], "CommonPrefixes": []}
        options = {"Delimiter": "/", "PaginationConfig": {"PageSize": 1}}
        for one in boto.get_paginator(operation).paginate(Bucket=bucket, **options):
            for kind, values in found.items():
                values += [item.get("Key") or item["Prefix"] for item in one.get(kind, [])]
        assert found == {"Contents": ["a b", "dir0", "z&<>"], "CommonPrefixes": ["dir/", "ä/"]}
        inside = getattr(boto, operation)(Bucket=bucket, Prefix="dir/", Delimiter="/")
        assert [item["Key"] for item in inside["Contents"]] == ["dir/1", "dir/2"]
        assert inside["CommonPrefixes"] == [{"Prefix": "dir/sub/"}]
    assert boto.list_objects_v2(Bucket=bucket, StartAfter="dir0")["KeyCount"] == 2
    assert boto.list_objects(Bucket=bucket, MaxKeys=0)["IsTruncated"] is False


def test_the_existence_test_of_the_eb_cli(boto: Any, bucket: str, s3: S3, url: str) -> None:
    """ListObjects with the key as prefix; `EncodingType` is echoed exactly when keys are encoded."""
    assert "Contents" not in boto.list_objects(Bucket=bucket, Prefix="app/a b.zip")
    row = s3.put(bucket, "app/a b.zip", b"x")
    (found,) = boto.list_objects(Bucket=bucket, Prefix="app/a b.zip")["Contents"]
    assert (found["Key"], found["Size"], found["ETag"]) == ("app/a b.zip", 1, f'"{row.etag}"')
    _, _, encoded = send(url, "GET", f"/{bucket}?prefix=app&encoding-type=url")
    assert b"<Key>app/a%20b.zip</Key>" in encoded
    assert b"<EncodingType>url</EncodingType>" in encoded
    _, _, raw = send(url, "GET", f"/{bucket}?prefix=app")
    assert b"<Key>app/a b.zip</Key>" in raw
    assert b"EncodingType" not in raw


@pytest.mark.pure
@settings(max_examples=200, deadline=None, database=None)
@given(
    st.sets(st.text("ab/", min_size=1, max_size=5), max_size=15),
    st.text("ab/", max_size=2),
    st.sampled_from(["", "/", "ab"]),
    st.integers(1, 4),
)
def test_pages_add_up_to_the_whole_list(names: set[str], prefix: str, delimiter: str, limit: int) -> None:
    rows = [ObjectRow("b", name, "", 0, "", None, 0) for name in sorted(names)]
    wanted: dict[str, None] = {}
    for name in sorted(name for name in names if name.startswith(prefix)):
        cut = name.find(delimiter, len(prefix)) if delimiter else -1
        wanted[name if cut < 0 else name[: cut + len(delimiter)]] = None
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        one = page([row for row in rows if row.key >= prefix and row.key > after], prefix, delimiter, after, limit)
        assert one.count <= limit
        found += sorted([row.key for row in one.objects] + one.prefixes)
        after = one.last
    assert found == list(wanted)


# -- uploads in parts ----------------------------------------------------------------------------------------------


def begin(boto: Any, bucket: str, key: str = "big.zip") -> dict[str, str]:
    upload = boto.create_multipart_upload(Bucket=bucket, Key=key, ContentType="application/zip")
    return {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}


def test_parts_arrive_in_parallel_and_out_of_order(boto: Any, bucket: str, blobs: Blobs) -> None:
    upload = begin(boto, bucket)
    content = os.urandom(2_000_000)
    pieces = {n + 1: content[n * 300_000 : (n + 1) * 300_000] for n in range(7)}
    with ThreadPoolExecutor(4) as pool:
        order = [5, 7, 1, 3, 2, 6, 4]
        answers = list(pool.map(lambda n: boto.upload_part(**upload, PartNumber=n, Body=pieces[n]), order))
    etags = {number: answer["ETag"] for number, answer in zip(order, answers, strict=True)}
    boto.upload_part(**upload, PartNumber=1, Body=pieces[1])  # a repetition
    listed = boto.list_parts(**upload)["Parts"]
    assert [(part["PartNumber"], part["ETag"]) for part in listed] == sorted(etags.items())
    first, second = boto.list_parts(**upload, MaxParts=4), boto.list_parts(**upload, PartNumberMarker=4)
    assert (first["IsTruncated"], len(first["Parts"]), len(second["Parts"])) == (True, 4, 3)
    parts = {"Parts": [{"PartNumber": n, "ETag": etags[n]} for n in range(1, 8)]}
    done = boto.complete_multipart_upload(**upload, MultipartUpload=parts)
    digests = b"".join(hashlib.md5(pieces[n]).digest() for n in range(1, 8))
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-7"'
    got = boto.get_object(Bucket=bucket, Key="big.zip")
    assert (got["Body"].read() == content, got["ContentType"]) == (True, "application/zip")
    assert stored(blobs) == {hashlib.sha256(content).hexdigest()}
    with pytest.raises(ClientError) as raised:
        boto.complete_multipart_upload(**upload, MultipartUpload=parts)
    assert refusal(raised) == ("NoSuchUpload", 404)


def test_an_aborted_upload_leaves_nothing(boto: Any, bucket: str, blobs: Blobs) -> None:
    upload = begin(boto, bucket)
    boto.upload_part(**upload, PartNumber=1, Body=b"x")
    boto.upload_part(**upload, PartNumber=1, Body=b"y")
    assert stored(blobs) == {hashlib.sha256(b"y").hexdigest()}
    boto.abort_multipart_upload(**upload)
    assert stored(blobs) == set()
    for call in (
        lambda: boto.upload_part(**upload, PartNumber=1, Body=b"x"),
        lambda: boto.list_parts(**upload),
        lambda: boto.abort_multipart_upload(**upload),
    ):
        with pytest.raises(ClientError) as raised:
            call()
        assert refusal(raised) == ("NoSuchUpload", 404)


def test_completing_with_wrong_parts(boto: Any, bucket: str) -> None:
    upload = begin(boto, bucket)
    etags = [boto.upload_part(**upload, PartNumber=n, Body=b"x" * n)["ETag"] for n in (1, 2)]
    for parts, code in [
        ([(2, etags[1]), (1, etags[0])], "InvalidPartOrder"),
        ([(1, etags[0]), (1, etags[0])], "InvalidPartOrder"),
        ([(1, etags[1])], "InvalidPart"),
        ([(1, etags[0]), (3, etags[1])], "InvalidPart"),
        ([], "MalformedXML"),
    ]:
        document = {"Parts": [{"PartNumber": number, "ETag": etag} for number, etag in parts]}
        with pytest.raises(ClientError) as raised:
            boto.complete_multipart_upload(**upload, MultipartUpload=document)
        assert refusal(raised) == (code, 400)
    other = {**upload, "Key": "other"}
    with pytest.raises(ClientError) as raised:
        boto.upload_part(**other, PartNumber=1, Body=b"")
    assert refusal(raised) == ("NoSuchUpload", 404)


def test_the_parts_together_have_the_limit_of_one_object(boto: Any, bucket: str) -> None:
    upload = begin(boto, bucket)
    body = b"x" * (LIMIT // 2 + 1)
    parts = [{"PartNumber": n, "ETag": boto.upload_part(**upload, PartNumber=n, Body=body)["ETag"]} for n in (1, 2)]
    with pytest.raises(ClientError) as raised:
        boto.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts})
    assert refusal(raised) == ("EntityTooLarge", 400)


def test_forgotten_uploads_expire(boto: Any, bucket: str, s3: S3, blobs: Blobs) -> None:
    upload = begin(boto, bucket)
    boto.upload_part(**upload, PartNumber=1, Body=b"x")
    assert s3.expire_uploads(3600) == 0
    assert s3.expire_uploads(-1) == 1
    assert stored(blobs) == set()


# -- what is refused -----------------------------------------------------------------------------------------------


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
        (lambda: boto.list_multipart_uploads(Bucket=bucket), ("NotImplemented", 501)),
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


def send(
    url: str,
    method: str,
    target: str,
    body: bytes = b"",
    *,
    sent: bytes | None = None,
    trailing: bool = False,
    **headers: str,
) -> tuple[int, dict[str, str], bytes]:
    """A request that is signed for `body` but sends `sent`. `trailing`: signed as aws-chunked with a trailer."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    request = AWSRequest(method, url + target, headers=names, data=body)
    if trailing:
        request.context["checksum"] = {"request_algorithm": {"in": "trailer"}}
    S3SigV4Auth(Credentials(KEY.id, KEY.secret), "s3", REGION).add_auth(request)
    content = body if sent is None else sent
    lines = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    lines += f"Host: {url.removeprefix('http://')}\r\nContent-Length: {len(content)}\r\n"
    return exchange(url, f"{method} {target} HTTP/1.1\r\n{lines}\r\n".encode() + content)


def crc32(content: bytes) -> str:
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


def code(body: bytes) -> str:
    return body.decode().partition("<Code>")[2].partition("</Code>")[0]


def chunked(content: bytes, trailer: str, size: int = 65536) -> bytes:
    pieces = [content[at : at + size] for at in range(0, len(content), size)]
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return body + b"0\r\n" + (f"x-amz-checksum-crc32:{trailer}\r\n" if trailer else "").encode() + b"\r\n"


def chunked_headers(content: bytes) -> dict[str, str]:
    return {
        "Content_Encoding": "aws-chunked",
        "X_Amz_Trailer": "x-amz-checksum-crc32",
        "X_Amz_Decoded_Content_Length": str(len(content)),
    }


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
    right = {"X_Amz_Checksum_Crc32": crc32(b"content"), "Content_MD5": md5, "X_Amz_Checksum_Crc64nvme": "unverified"}
    for sent, headers, expected in [
        (b"CONTENT", {}, "XAmzContentSHA256Mismatch"),
        (b"content", {"X_Amz_Checksum_Crc32": "AAAAAA=="}, "BadDigest"),
        (b"content", {"X_Amz_Checksum_Sha256": "AAAAAA=="}, "BadDigest"),
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
    monkeypatch.setattr("beanpole.aws.request.STALL", 0.05)
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


def test_chunks_with_signatures_are_refused_clearly(url: str, bucket: str) -> None:
    request = b"PUT /b/k HTTP/1.1\r\nHost: h\r\nX-Amz-Date: 20261012T000000Z\r\nContent-Length: 0\r\n"
    authorization = "AWS4-HMAC-SHA256 Credential=A/20261012/r/s3/aws4_request,SignedHeaders=host,Signature=" + "0" * 64
    for payload, expected in [
        ("STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "NotImplemented"),
        ("nonsense", "InvalidArgument"),
        ("UNSIGNED-PAYLOAD", "InvalidAccessKeyId"),
    ]:
        lines = f"Authorization: {authorization}\r\nX-Amz-Content-Sha256: {payload}\r\n\r\n"
        _, _, body = exchange(url, request + lines.encode())
        assert code(body) == expected


# -- URLs that fetch by themselves ---------------------------------------------------------------------------------


def test_a_presigned_url_needs_nothing_but_urllib(url: str, bucket: str, s3: S3) -> None:
    s3.put(bucket, "logs/i-1/ü b.txt", b"lines", "text/plain")
    call = Call("elasticbeanstalk", "x", {}, "id", Caller(KEY.id, KEY.user, "local"), REGION, url)
    link = s3.presigned_url(bucket, "logs/i-1/ü b.txt", call)
    with urllib.request.urlopen(link, timeout=10) as answer:
        assert answer.read() == b"lines"
        assert answer.headers["Content-Type"] == "text/plain"
        assert answer.headers["Content-Security-Policy"] == "sandbox"
    for wrong in (link.replace("i-1", "i-2"), link[:-1] + ("0" if link[-1] != "0" else "1")):
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(wrong, timeout=10)
        raised.value.close()
        assert raised.value.code == 403


def test_a_url_that_botocore_presigned(boto: Any, bucket: str, s3: S3) -> None:
    s3.put(bucket, "k", b"content")
    params = {"Bucket": bucket, "Key": "k", "ResponseContentDisposition": 'attachment; filename="a.zip"'}
    with urllib.request.urlopen(boto.generate_presigned_url("get_object", params), timeout=10) as answer:
        assert (answer.read(), answer.headers["Content-Disposition"]) == (b"content", 'attachment; filename="a.zip"')
    put = boto.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k"})
    request = urllib.request.Request(put, data=b"replaced", method="PUT", headers={"Content-Type": "text/plain"})
    urllib.request.urlopen(request, timeout=10).close()
    assert s3.read(bucket, "k") == b"replaced"
    params["ResponseContentDisposition"] = "a\r\nSet-Cookie: x"
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(boto.generate_presigned_url("get_object", params), timeout=10)


# -- for the other rooms -------------------------------------------------------------------------------------------


def test_the_methods_for_other_rooms(s3: S3, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"from a file")
    row = s3.put(bucket, "f", tmp_path / "f", "text/plain")
    assert s3.get(bucket, "f") == row
    assert (row.size, row.content_type, s3.read(bucket, "f")) == (11, "text/plain", b"from a file")
    assert s3.get(bucket, "none") is None
    assert s3.read(bucket, "none") is None
    with pytest.raises(AwsError, match="EntityTooLarge"):
        s3.read(bucket, "f", limit=10)
    with pytest.raises(AwsError, match="NoSuchBucket"):
        s3.put("none", "k", b"")
    with pytest.raises(AwsError, match="KeyTooLong"):
        s3.put(bucket, "", b"")
    with pytest.raises(AwsError, match="InvalidClientTokenId"):
        s3.presigned_url(bucket, "f", Call("s3", "x", {}, "id", Caller("AKGONE", "x", "y"), REGION, "http://h"))


def test_what_the_audit_hears_of_objects(boto: Any, bucket: str, ledger: Ledger) -> None:
    ledger.calls.clear()
    boto.put_object(Bucket=bucket, Key="k", Body=b"x")
    with pytest.raises(ClientError):
        boto.get_object(Bucket=bucket, Key="none")
    assert ledger.outcomes == [("PutObject", "Success"), ("GetObject", "NoSuchKey")]
    assert ledger.calls[0][0].params == {"Bucket": bucket, "Key": "k"}
