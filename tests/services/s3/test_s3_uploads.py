"""Uploads in parts."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError
from s3_site import LIMIT, begin, refusal, stored

from beanpole.services.s3 import S3
from beanpole.store.blobs import Blobs


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


def in_parts(boto: Any, upload: dict[str, str], *pieces: bytes) -> dict[str, Any]:
    """The parts, uploaded, as completing wants to have them."""
    etags = [boto.upload_part(**upload, PartNumber=n, Body=piece)["ETag"] for n, piece in enumerate(pieces, 1)]
    return {"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags, 1)]}


def test_a_completion_that_is_repeated_gets_the_same_answer(boto: Any, bucket: str) -> None:
    """A client that did not get its answer asks again; with If-None-Match too, which was true the first time."""
    upload = begin(boto, bucket)
    parts = in_parts(boto, upload, b"one", b"two")
    done = [boto.complete_multipart_upload(**upload, MultipartUpload=parts, IfNoneMatch="*") for _ in range(2)]
    answers = [(one["Location"], one["Bucket"], one["Key"], one["ETag"]) for one in done]
    assert answers[0] == answers[1]
    others = [
        {"Parts": parts["Parts"][:1]},
        {"Parts": [{"PartNumber": 1, "ETag": '"not hexadecimal"'}]},
    ]
    for other in others:
        with pytest.raises(ClientError) as raised:
            boto.complete_multipart_upload(**upload, MultipartUpload=other)
        assert refusal(raised) == ("NoSuchUpload", 404)
    boto.put_object(Bucket=bucket, Key=upload["Key"], Body=b"another")
    with pytest.raises(ClientError) as raised:
        boto.complete_multipart_upload(**upload, MultipartUpload=parts)
    assert refusal(raised) == ("NoSuchUpload", 404)


def test_what_must_be_true_of_the_object_is_looked_at_before_it_appears(
    boto: Any, bucket: str, s3: S3, blobs: Blobs
) -> None:
    s3.put(bucket, "big.zip", b"before")
    upload = begin(boto, bucket)
    parts = in_parts(boto, upload, b"1234", b"56789")
    before = stored(blobs)
    for condition, expected in [
        ({"IfNoneMatch": "*"}, ("PreconditionFailed", 412)),
        ({"IfMatch": '"0000"'}, ("PreconditionFailed", 412)),
        ({"ChecksumCRC64NVME": "AAAAAAAAAAA="}, ("BadDigest", 400)),
        ({"MpuObjectSize": 8}, ("InvalidRequest", 400)),
    ]:
        with pytest.raises(ClientError) as raised:
            boto.complete_multipart_upload(**upload, MultipartUpload=parts, **condition)
        assert refusal(raised) == expected
        assert (s3.read(bucket, "big.zip"), stored(blobs)) == (b"before", before)
    etag = boto.head_object(Bucket=bucket, Key="big.zip")["ETag"]
    right = {"IfMatch": etag, "ChecksumCRC64NVME": "rosUhgp5mIg=", "MpuObjectSize": 9}
    boto.complete_multipart_upload(**upload, MultipartUpload=parts, **right)
    assert boto.head_object(Bucket=bucket, Key="big.zip", ChecksumMode="ENABLED")["ChecksumCRC64NVME"] == "rosUhgp5mIg="


def test_a_big_object_is_copied_in_parts(boto: Any, bucket: str, s3: S3) -> None:
    """As boto3's `copy` does from 8 MB on: each part is a range of the source."""
    content = os.urandom(2_000_000)
    s3.put(bucket, "source", content)
    upload = begin(boto, bucket, "copy")
    source = {"Bucket": bucket, "Key": "source"}
    etags = [
        boto.upload_part_copy(**upload, PartNumber=n, CopySource=source, CopySourceRange=part)["CopyPartResult"]["ETag"]
        for n, part in [(1, "bytes=0-1499999"), (2, "bytes=1500000-1999999")]
    ]
    whole = boto.upload_part_copy(**upload, PartNumber=3, CopySource=source)["CopyPartResult"]
    etags.append(whole["ETag"])
    assert whole["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
    assert whole["LastModified"]
    parts = {"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in enumerate(etags[:2], 1)]}
    boto.complete_multipart_upload(**upload, MultipartUpload=parts)
    assert s3.read(bucket, "copy", LIMIT) == content


def test_parts_that_cannot_be_copied(boto: Any, bucket: str, s3: S3) -> None:
    s3.put(bucket, "source", b"0123456789")
    upload = begin(boto, bucket, "copy")
    for options, expected in [
        ({"CopySourceRange": "bytes=5-10"}, ("InvalidRange", 416)),
        ({"CopySourceRange": "bytes=5-4"}, ("InvalidArgument", 400)),
        ({"CopySourceRange": "bytes=-4"}, ("InvalidArgument", 400)),
        ({"CopySourceIfMatch": '"0000"'}, ("PreconditionFailed", 412)),
        ({"CopySource": f"{bucket}/none"}, ("NoSuchKey", 404)),
        ({"CopySource": f"{bucket}/source?versionId=x"}, ("NotImplemented", 501)),
        ({"UploadId": "none"}, ("NoSuchUpload", 404)),
        ({"PartNumber": 10_001}, ("InvalidArgument", 400)),
    ]:
        call = {**upload, "PartNumber": 1, "CopySource": f"{bucket}/source", **options}
        with pytest.raises(ClientError) as raised:
            boto.upload_part_copy(**call)
        assert refusal(raised) == expected
    assert "Parts" not in boto.list_parts(**upload)


def test_uploads_under_way_are_listed_page_by_page(boto: Any, bucket: str) -> None:
    assert "Uploads" not in boto.list_multipart_uploads(Bucket=bucket)
    begun = [begin(boto, bucket, key) for key in ("a b", "dir/1", "dir/1", "dir/2", "ä/☃", "z")]
    wanted = sorted((one["Key"].encode(), one["UploadId"]) for one in begun)
    for size in (1, 2, 100):
        pages = boto.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket, PaginationConfig={"PageSize": size}
        )
        found = [upload for one in pages for upload in one.get("Uploads", [])]
        assert [(upload["Key"].encode(), upload["UploadId"]) for upload in found] == wanted
        assert all(upload["Initiated"] for upload in found)
    keys, prefixes = [], []
    for one in boto.get_paginator("list_multipart_uploads").paginate(
        Bucket=bucket, Delimiter="/", PaginationConfig={"PageSize": 1}
    ):
        keys += [upload["Key"] for upload in one.get("Uploads", [])]
        prefixes += [prefix["Prefix"] for prefix in one.get("CommonPrefixes", [])]
    assert (keys, prefixes) == (["a b", "z"], ["dir/", "ä/"])
    inside = boto.list_multipart_uploads(Bucket=bucket, Prefix="dir/")
    assert [upload["Key"] for upload in inside["Uploads"]] == ["dir/1", "dir/1", "dir/2"]
    with pytest.raises(ClientError) as raised:
        boto.list_multipart_uploads(Bucket="none-here")
    assert refusal(raised) == ("NoSuchBucket", 404)
