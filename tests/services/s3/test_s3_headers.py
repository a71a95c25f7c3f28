"""What clients say of their objects comes back with them: headers, metadata, checksums."""

from __future__ import annotations

import base64
import gzip
import hashlib
import zlib
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError
from s3_site import begin, chunked, chunked_headers, code, crc32, refusal, send

from beanpole.services.s3 import S3

SAID = {
    "CacheControl": "max-age=60",
    "ContentDisposition": 'attachment; filename="a.zip"',
    "ContentEncoding": "gzip",
    "ContentLanguage": "de, en",
    "ContentType": "text/plain",
    "Metadata": {"owner": "jo", "build": "42"},
}
EXPIRES = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def said_of(boto: Any, bucket: str, key: str, **options: Any) -> dict[str, Any]:
    """What HEAD says, which must be what GET says."""
    head, got = boto.head_object(Bucket=bucket, Key=key, **options), boto.get_object(Bucket=bucket, Key=key, **options)
    found = [{name: answer.get(name) for name in (*SAID, "ExpiresString")} for answer in (head, got)]
    assert found[0] == found[1]
    return found[0]


WHOLE = {**SAID, "ExpiresString": "Wed, 02 Jan 2030 03:04:05 GMT"}
BARE = {**dict.fromkeys(WHOLE), "ContentType": "binary/octet-stream", "Metadata": {}}


def test_what_was_said_of_an_object_is_said_again(boto: Any, bucket: str) -> None:
    boto.put_object(Bucket=bucket, Key="k", Body=gzip.compress(b"content"), Expires=EXPIRES, **SAID)
    assert said_of(boto, bucket, "k") == WHOLE
    boto.put_object(Bucket=bucket, Key="k", Body=b"another")
    assert said_of(boto, bucket, "k") == BARE


def test_a_copy_says_the_same_or_what_it_is_told(boto: Any, bucket: str) -> None:
    boto.put_object(Bucket=bucket, Key="k", Body=b"content", Expires=EXPIRES, **SAID)
    source = f"{bucket}/k"
    boto.copy_object(Bucket=bucket, Key="same", CopySource=source, ContentType="ignored/type", Metadata={"a": "b"})
    assert said_of(boto, bucket, "same") == WHOLE
    other = {"ContentType": "application/zip", "Metadata": {"a": "b"}}
    boto.copy_object(Bucket=bucket, Key="k", CopySource=source, MetadataDirective="REPLACE", **other)
    assert said_of(boto, bucket, "k") == {**BARE, **other}
    boto.copy_object(Bucket=bucket, Key="k", CopySource=source, MetadataDirective="REPLACE")
    assert said_of(boto, bucket, "k") == BARE


def test_an_object_in_parts_says_what_its_upload_was_begun_with(boto: Any, bucket: str) -> None:
    upload = boto.create_multipart_upload(Bucket=bucket, Key="k", Expires=EXPIRES, **SAID)["UploadId"]
    address = {"Bucket": bucket, "Key": "k", "UploadId": upload}
    etag = boto.upload_part(**address, PartNumber=1, Body=b"x")["ETag"]
    boto.complete_multipart_upload(**address, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert said_of(boto, bucket, "k") == WHOLE


def test_how_an_object_was_sent_is_not_said_of_it(url: str, boto: Any, bucket: str) -> None:
    for sent, kept in [("aws-chunked", None), ("gzip,aws-chunked", "gzip"), ("aws-chunked, br", "br")]:
        headers = {**chunked_headers(b"x"), "Content_Encoding": sent}
        body = chunked(b"x", crc32(b"x"))
        assert send(url, "PUT", f"/{bucket}/k", sent=body, trailing=True, **headers)[0] == 200
        assert boto.head_object(Bucket=bucket, Key="k").get("ContentEncoding") == kept


def test_metadata_has_a_limit_and_stays_in_its_lines(boto: Any, url: str, bucket: str) -> None:
    boto.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": "x" * 2047})
    with pytest.raises(ClientError) as raised:
        boto.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a": "x" * 2048})
    assert refusal(raised) == ("MetadataTooLarge", 400)
    # Some SDKs presign headers as parts of the query, where a line's end could stand.
    for name in ("x-amz-meta-a=b%0D%0ASet-Cookie%3Ac", "x-amz-meta-%0D=b", "x-amz-meta-a=%E2%98%83"):
        status, _, body = send(url, "PUT", f"/{bucket}/k?{name}")
        assert (status, code(body)) == (400, "InvalidArgument")
    assert send(url, "PUT", f"/{bucket}/k?x-amz-meta-a=b")[0] == 200
    assert boto.head_object(Bucket=bucket, Key="k")["Metadata"] == {"a": "b"}


def test_a_request_may_ask_for_other_headers(boto: Any, bucket: str) -> None:
    boto.put_object(Bucket=bucket, Key="k", Body=b"content", Expires=EXPIRES, **SAID)
    asked = {f"Response{name}": f"other-{name}" for name in ("CacheControl", "ContentLanguage", "ContentType")}
    found = boto.get_object(Bucket=bucket, Key="k", ResponseExpires=datetime(2031, 1, 1, tzinfo=UTC), **asked)
    assert (found["CacheControl"], found["ContentLanguage"]) == ("other-CacheControl", "other-ContentLanguage")
    assert (found["ContentType"], found["ExpiresString"]) == ("other-ContentType", "Wed, 01 Jan 2031 00:00:00 GMT")
    assert (found["ContentDisposition"], found["Metadata"]) == (SAID["ContentDisposition"], SAID["Metadata"])


def test_an_object_has_one_part(boto: Any, bucket: str, s3: S3) -> None:
    s3.put(bucket, "k", b"content")
    assert boto.get_object(Bucket=bucket, Key="k", PartNumber=1)["Body"].read() == b"content"
    with pytest.raises(ClientError) as raised:
        boto.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert refusal(raised) == ("InvalidPartNumber", 416)


# -- checksums -----------------------------------------------------------------------------------------------------

CHECKSUMS = {
    "ChecksumCRC32": "y/Q5Jg==",
    "ChecksumCRC32C": "4waSgw==",
    "ChecksumCRC64NVME": "rosUhgp5mIg=",
    "ChecksumSHA1": base64.b64encode(hashlib.sha1(b"123456789").digest()).decode(),
    "ChecksumSHA256": base64.b64encode(hashlib.sha256(b"123456789").digest()).decode(),
}


@pytest.mark.parametrize(("name", "right"), CHECKSUMS.items(), ids=CHECKSUMS)
def test_a_checksum_is_checked_and_comes_back(boto: Any, bucket: str, name: str, right: str) -> None:
    """Of b"123456789": the CRCs are those that their authors publish."""
    put = boto.put_object(Bucket=bucket, Key="k", Body=b"123456789", **{name: right})
    assert (put[name], put["ChecksumType"]) == (right, "FULL_OBJECT")
    for call in (boto.head_object, boto.get_object):
        found = call(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert (found[name], found["ChecksumType"]) == (right, "FULL_OBJECT")
    boto.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/k")
    assert boto.head_object(Bucket=bucket, Key="copy", ChecksumMode="ENABLED")[name] == right
    upload = begin(boto, bucket)
    assert boto.upload_part(**upload, PartNumber=1, Body=b"123456789", **{name: right})[name] == right
    wrong = ("A" if right[0] != "A" else "B") + right[1:]
    for refused in (
        lambda: boto.put_object(Bucket=bucket, Key="k", Body=b"123456789", **{name: wrong}),
        lambda: boto.upload_part(**upload, PartNumber=1, Body=b"123456789", **{name: wrong}),
    ):
        with pytest.raises(ClientError) as raised:
            refused()
        assert refusal(raised) == ("BadDigest", 400)


def test_a_checksum_is_said_only_of_the_whole_and_when_asked(url: str, bucket: str, boto: Any) -> None:
    boto.put_object(Bucket=bucket, Key="k", Body=b"123456789", ChecksumCRC32="y/Q5Jg==")
    _, headers, _ = send(url, "GET", f"/{bucket}/k")
    assert "x-amz-checksum-crc32" not in headers
    status, headers, _ = send(url, "GET", f"/{bucket}/k", X_Amz_Checksum_Mode="ENABLED", Range="bytes=1-2")
    assert (status, "x-amz-checksum-crc32" in headers) == (206, False)


def test_a_checksum_that_cannot_be_checked_is_not_kept(url: str, bucket: str) -> None:
    status, put, _ = send(url, "PUT", f"/{bucket}/k", b"x", X_Amz_Checksum_Xxhash64="AAAAAAAAAAA=")
    assert (status, "x-amz-checksum-xxhash64" in put) == (200, False)
    _, head, _ = send(url, "HEAD", f"/{bucket}/k", X_Amz_Checksum_Mode="ENABLED")
    assert "x-amz-checksum-xxhash64" not in head


def test_a_checksum_behind_the_body_is_kept_too(url: str, bucket: str, boto: Any) -> None:
    content = b"content"
    body = chunked(content, crc32(content))
    status, put, _ = send(url, "PUT", f"/{bucket}/k", sent=body, trailing=True, **chunked_headers(content))
    assert (status, put["x-amz-checksum-crc32"]) == (200, crc32(content))
    right = base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()
    assert boto.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC32"] == right
