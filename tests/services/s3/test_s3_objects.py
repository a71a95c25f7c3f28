"""Objects come back as they were put, and leave nothing behind."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from s3_site import refusal, stored
from served import REGION, Ledger

from beanpole.aws.call import Call, Caller
from beanpole.aws.errors import AwsError
from beanpole.services.s3 import S3
from beanpole.services.s3.conditions import byte_range
from beanpole.store.blobs import Blobs
from beanpole.store.database import Database
from beanpole.store.schema import application, version


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
