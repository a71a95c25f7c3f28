"""Buckets, and what is in them."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from s3_site import code, refusal, send
from served import REGION

from beanpole.services.s3 import S3
from beanpole.services.s3.listing import page
from beanpole.services.s3.objects import ObjectRow


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


def test_a_file_is_not_taken_for_a_new_bucket(url: str, boto: Any) -> None:
    """A client that has the bucket in a host name that we do not know sends `PUT /report.zip` with the file."""
    for body in (b"precious", b"<Other/>", b"<!DOCTYPE x><CreateBucketConfiguration/>"):
        status, _, answer = send(url, "PUT", "/report.zip", body)
        assert (status, code(answer)) == (400, "MalformedXML")
    assert "report.zip" not in [one["Name"] for one in boto.list_buckets()["Buckets"]]


def test_the_list_of_buckets_page_by_page(boto: Any, s3: S3) -> None:
    names = [f"paged-{n}" for n in range(3)]
    for name in names:
        s3.create_bucket(name)
    pages = boto.get_paginator("list_buckets").paginate(Prefix="paged-", PaginationConfig={"PageSize": 2})
    found = [[bucket["Name"] for bucket in page["Buckets"]] for page in pages]
    assert found == [names[:2], names[2:]]
    assert boto.list_buckets(Prefix="paged-", BucketRegion="elsewhere-1")["Buckets"] == []
    for name in names:
        boto.delete_bucket(Bucket=name)
