"""What the tests of S3 send, and how they read what comes back."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from served import KEY, REGION, exchange

from beanpole.store.blobs import Blobs

LIMIT = 3 * 1024 * 1024
"""Bytes of one object here."""


def stored(blobs: Blobs) -> set[str]:
    """The digests of all blobs. Files that are still being written count too."""
    return {path.name for path in blobs.root.rglob("*") if path.is_file()}


def refusal(raised: pytest.ExceptionInfo[ClientError]) -> tuple[str, int]:
    response = raised.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def begin(boto: Any, bucket: str, key: str = "big.zip") -> dict[str, str]:
    upload = boto.create_multipart_upload(Bucket=bucket, Key=key, ContentType="application/zip")
    return {"Bucket": bucket, "Key": key, "UploadId": upload["UploadId"]}


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
