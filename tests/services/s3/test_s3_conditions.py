"""If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since and If-Range, on everything that takes them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from s3_site import refusal, send

from beanpole.aws.errors import AwsError
from beanpole.services.s3 import S3
from beanpole.services.s3.conditions import Conditions

AT = datetime(2026, 10, 12, 8, 29, 31, 700_000, UTC)
MS = int(AT.timestamp() * 1000)
SAME, EARLIER, LATER = (f"Mon, 12 Oct 2026 08:29:{second} GMT" for second in (31, 30, 32))


def reading(**headers: str) -> bool | str:
    """Whether the reader has the content already, or the condition that does not hold."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        return Conditions.of(named.get).is_unchanged("etag", MS)
    except AwsError as error:
        return error.details["Condition"]


@pytest.mark.pure
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, False),
        ({"if_match": '"etag"'}, False),
        ({"if_match": '"a", "etag"'}, False),
        ({"if_match": "*"}, False),
        ({"if_match": '"other"'}, "If-Match"),
        ({"if_none_match": '"etag"'}, True),
        ({"if_none_match": "*"}, True),
        ({"if_none_match": '"other"'}, False),
        ({"if_modified_since": SAME}, True),
        ({"if_modified_since": LATER}, True),
        ({"if_modified_since": EARLIER}, False),
        ({"if_modified_since": "yesterday"}, False),
        ({"if_modified_since": "Mon, 99 Oct 99999999 08:29:31 GMT"}, False),
        ({"if_unmodified_since": SAME}, False),
        ({"if_unmodified_since": EARLIER}, "If-Unmodified-Since"),
        # ETags outrank times
        ({"if_match": '"etag"', "if_unmodified_since": EARLIER}, False),
        ({"if_none_match": '"other"', "if_modified_since": LATER}, False),
        ({"if_none_match": '"etag"', "if_modified_since": EARLIER}, True),
    ],
)
def test_conditions_of_readers(headers: dict[str, str], expected: bool | str) -> None:
    assert reading(**headers) == expected


def outcome(call: Any, **options: Any) -> int:
    """The status of the answer."""
    try:
        return call(**options)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


def test_readers_with_a_time(boto: Any, bucket: str, s3: S3) -> None:
    s3.put(bucket, "k", b"1")
    at = boto.head_object(Bucket=bucket, Key="k")["LastModified"]
    before = at - timedelta(seconds=1)
    for call in (boto.get_object, boto.head_object):
        assert outcome(call, Bucket=bucket, Key="k", IfModifiedSince=at) == 304
        assert outcome(call, Bucket=bucket, Key="k", IfModifiedSince=before) == 200
        assert outcome(call, Bucket=bucket, Key="k", IfUnmodifiedSince=at) == 200
        assert outcome(call, Bucket=bucket, Key="k", IfUnmodifiedSince=before) == 412


def test_writers_replace_only_what_they_know(boto: Any, bucket: str, s3: S3) -> None:
    etag = boto.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    for key, condition, expected in [
        ("k", {"IfMatch": '"0000"'}, ("PreconditionFailed", 412)),
        ("k", {"IfNoneMatch": "*"}, ("PreconditionFailed", 412)),
        ("k", {"IfNoneMatch": '"0000"'}, ("NotImplemented", 501)),
        ("none", {"IfMatch": etag}, ("NoSuchKey", 404)),
    ]:
        for call in (boto.put_object, boto.copy_object):
            more = {"Body": b"2"} if call == boto.put_object else {"CopySource": f"{bucket}/k"}
            with pytest.raises(ClientError) as raised:
                call(Bucket=bucket, Key=key, **more, **condition)
            assert refusal(raised) == expected
    assert s3.read(bucket, "k") == b"1"
    assert s3.read(bucket, "none") is None
    boto.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)
    boto.put_object(Bucket=bucket, Key="new", Body=b"3", IfNoneMatch="*")
    assert (s3.read(bucket, "k"), s3.read(bucket, "new")) == (b"2", b"3")


def test_what_is_deleted_only_if_it_is_known(boto: Any, bucket: str, s3: S3) -> None:
    etag = boto.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    for key, condition, expected in [
        ("k", '"0000"', ("PreconditionFailed", 412)),
        ("none", etag, ("NoSuchKey", 404)),
        ("none", "*", ("NoSuchKey", 404)),
    ]:
        with pytest.raises(ClientError) as raised:
            boto.delete_object(Bucket=bucket, Key=key, IfMatch=condition)
        assert refusal(raised) == expected
    assert s3.read(bucket, "k") == b"1"
    boto.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    assert s3.read(bucket, "k") is None


def test_some_of_many_are_deleted(boto: Any, bucket: str, s3: S3) -> None:
    etags = {key: boto.put_object(Bucket=bucket, Key=key, Body=key.encode())["ETag"] for key in "abcd"}
    objects = [
        {"Key": "a", "ETag": etags["a"]},
        {"Key": "b", "ETag": etags["a"]},
        {"Key": "c", "VersionId": "other"},
        {"Key": "d", "VersionId": "null"},
        {"Key": "none", "ETag": etags["a"]},
    ]
    answer = boto.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [item["Key"] for item in answer["Deleted"]] == ["a", "d"]
    errors = {item["Key"]: item["Code"] for item in answer["Errors"]}
    assert errors == {"b": "PreconditionFailed", "c": "NotImplemented", "none": "NoSuchKey"}
    assert s3.list_keys(bucket, "") == ["b", "c"]


def test_copies_of_a_source_that_is_known(boto: Any, bucket: str, s3: S3) -> None:
    etag = boto.put_object(Bucket=bucket, Key="source", Body=b"1")["ETag"]
    at = boto.head_object(Bucket=bucket, Key="source")["LastModified"]
    before = at - timedelta(seconds=1)
    copy = {"Bucket": bucket, "Key": "copy", "CopySource": f"{bucket}/source"}
    for condition in (
        {"CopySourceIfMatch": '"0000"'},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfModifiedSince": at},
        {"CopySourceIfUnmodifiedSince": before},
    ):
        assert outcome(boto.copy_object, **copy, **condition) == 412
    assert s3.read(bucket, "copy") is None
    for condition in (
        {"CopySourceIfMatch": etag},
        {"CopySourceIfNoneMatch": '"0000"'},
        {"CopySourceIfModifiedSince": before},
        {"CopySourceIfUnmodifiedSince": at},
    ):
        assert outcome(boto.copy_object, **copy, **condition) == 200


def test_a_download_goes_on_only_with_the_same_content(url: str, bucket: str, s3: S3) -> None:
    row = s3.put(bucket, "k", b"0123456789")
    for if_range, status in [(f'"{row.etag}"', 206), ('"other"', 200), (SAME, 200)]:
        found, _, _ = send(url, "GET", f"/{bucket}/k", Range="bytes=5-", If_Range=if_range)
        assert found == status
