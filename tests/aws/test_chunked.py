from __future__ import annotations

import base64
import itertools
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beanpole.aws.checksums import check_digest, new_digest
from beanpole.aws.chunked import AwsChunkedDecoder
from beanpole.aws.errors import AwsError

pytestmark = pytest.mark.pure


def encode(pieces: list[bytes], trailer: bytes = b"x-amz-checksum-crc32:AAAAAA==\r\n") -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    return chunks + b"0\r\n" + trailer + b"\r\n"


def decode(pieces: list[bytes]) -> tuple[bytes, dict[str, str]]:
    decoder = AwsChunkedDecoder()
    content = b"".join(decoder.feed(piece) for piece in pieces)
    decoder.finish()
    return content, decoder.trailers


@settings(max_examples=100, deadline=None, database=None)
@given(st.lists(st.binary(max_size=40), max_size=5), st.lists(st.integers(0, 300), max_size=12))
def test_any_content_comes_out_wherever_the_network_cuts(pieces: list[bytes], cuts: list[int]) -> None:
    stream = encode(pieces)
    at = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    parts = [stream[a:b] for a, b in itertools.pairwise(at)]
    assert decode(parts) == (b"".join(pieces), {"x-amz-checksum-crc32": "AAAAAA=="})


@pytest.mark.parametrize(
    "end",
    [
        b"0\r\nX-Amz-Thing: a\r\n\r\n",
        b"0\r\nx-amz-thing:a\r\n",
        b"0\r\nx-amz-thing:a",
        b"0\nx-amz-thing:a\n\n",
    ],
)
def test_forms_of_the_end(end: bytes) -> None:
    assert decode([b"3\r\nabc\r\n" + end]) == (b"abc", {"x-amz-thing": "a"})


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"3\r\nabc\r\n",
        b"3\r\nab",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"\r\n\r\n",
        b"-1\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"zz\r\n",
        b"f" * 2000,
        b"1" * 17 + b"\r\n",
        b"0\r\n\r\nmore",
        b"0\r\n" + b"".join(b"n%d:v\r\n" % n for n in range(20)),
    ],
)
def test_malformed_streams(stream: bytes) -> None:
    with pytest.raises(AwsError) as raised:
        decode([stream + (b"\r\n" if stream.endswith(b"more") else b"")])
    assert raised.value.code == "IncompleteBody"


@settings(max_examples=100, deadline=None, database=None)
@given(st.binary(max_size=100))
def test_any_bytes_decode_or_are_refused(stream: bytes) -> None:
    try:
        decode([stream])
    except AwsError as error:
        assert error.code == "IncompleteBody"


def test_checksums() -> None:
    digest = new_digest("crc32")
    assert digest is not None
    digest.update(b"ab")
    digest.update(b"cd")
    right = base64.b64encode(zlib.crc32(b"abcd").to_bytes(4, "big")).decode()
    check_digest("crc32", digest, right)
    for wrong in ("", "AAAAAA==", "é", right + "x"):
        with pytest.raises(AwsError, match="BadDigest"):
            check_digest("crc32", digest, wrong)
