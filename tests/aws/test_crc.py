"""CRCs by the definition, bit by bit, and what the published examples say."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beanpole.aws.checksums import check_digest, new_digest
from beanpole.aws.crc import CRC32C, CRC64NVME, PIECE, Crc, Polynomial
from beanpole.aws.errors import AwsError

pytestmark = pytest.mark.pure

KINDS = pytest.mark.parametrize("polynomial", [CRC32C, CRC64NVME], ids=["crc32c", "crc64nvme"])


def by_bits(polynomial: Polynomial, content: bytes) -> bytes:
    ones = (1 << polynomial.bits) - 1
    state = ones
    for byte in content:
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (polynomial.reflected if state & 1 else 0)
    return (state ^ ones).to_bytes(polynomial.bits // 8, "big")


@pytest.mark.parametrize(
    ("polynomial", "digest"), [(CRC32C, "e3069283"), (CRC64NVME, "ae8b14860a799888")], ids=["crc32c", "crc64nvme"]
)
def test_the_published_check_values(polynomial: Polynomial, digest: str) -> None:
    crc = Crc(polynomial)
    crc.update(b"123456789")
    assert crc.digest().hex() == digest


@KINDS
@settings(max_examples=60, deadline=None, database=None)
@given(content=st.binary(max_size=2000), cuts=st.lists(st.integers(0, 2000), max_size=4))
def test_any_content_in_any_pieces(polynomial: Polynomial, content: bytes, cuts: list[int]) -> None:
    crc = Crc(polynomial)
    for start, end in itertools.pairwise([0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]):
        crc.update(content[start:end])
        crc.digest()  # asking changes nothing
    assert crc.digest() == by_bits(polynomial, content)


@KINDS
@pytest.mark.parametrize("size", [PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 777])
def test_content_of_whole_pieces_and_more(polynomial: Polynomial, size: int) -> None:
    content = random.Random(size).randbytes(size)
    at_once, in_two = Crc(polynomial), Crc(polynomial)
    at_once.update(content)
    in_two.update(content[: size // 3])
    in_two.update(content[size // 3 :])
    assert at_once.digest() == in_two.digest() == by_bits(polynomial, content)


@pytest.mark.parametrize(
    ("name", "right"), [("crc32c", "4waSgw=="), ("crc64nvme", "rosUhgp5mIg="), ("crc32", "y/Q5Jg==")]
)
def test_as_clients_send_them(name: str, right: str) -> None:
    digest = new_digest(name)
    assert digest is not None
    digest.update(b"123456789")
    check_digest(name, digest, right)
    with pytest.raises(AwsError, match="BadDigest"):
        check_digest(name, digest, "A" + right[1:])


def test_what_is_not_checked() -> None:
    assert [new_digest(name) for name in ("xxhash64", "xxhash3", "xxhash128", "type", "algorithm")] == [None] * 5
