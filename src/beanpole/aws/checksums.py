"""The checksums that a client may send with an upload, computed while the bytes pass."""

from __future__ import annotations

import base64
import hashlib
import hmac
import zlib
from typing import Protocol

from beanpole.aws.crc import CRC32C, CRC64NVME, Crc
from beanpole.aws.errors import AwsError


class Digest(Protocol):
    def update(self, data: bytes, /) -> object: ...
    def digest(self) -> bytes: ...


class Crc32:
    """zlib's CRC-32 with the manners of a hash."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: bytes, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(4, "big")


def new_digest(algorithm: str) -> Digest | None:
    """A digest for the last word of an `x-amz-checksum-…` header, or None for one that is not checked here.

    Those are xxhash64, xxhash3 and xxhash128: such an upload is accepted, guarded by what else it bears (the signed
    SHA-256, Content-MD5, TLS), and the checksum is not kept. CRCs: about 100 MB/s and more, hashes faster, see crc.py.
    """
    match algorithm:
        case "crc32":
            return Crc32()
        case "crc32c":
            return Crc(CRC32C)
        case "crc64nvme":
            return Crc(CRC64NVME)
        case "sha1":
            return hashlib.sha1(usedforsecurity=False)
        case "sha256":
            return hashlib.sha256()
        case "sha512":
            return hashlib.sha512()
        case "md5":
            return hashlib.md5(usedforsecurity=False)
        case _:
            return None


def check_digest(name: str, digest: Digest, expected: str) -> None:
    """BadDigest unless `expected` is the digest in base64. `name` is how the message calls it."""
    actual = base64.b64encode(digest.digest()).decode()
    if not hmac.compare_digest(actual.encode(), expected.encode("utf-8", "replace")):
        raise AwsError("BadDigest", f"The {name} of what arrived is {actual}, not the one that was sent with it.")
