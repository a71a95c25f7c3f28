"""Bodies in signed chunks, signed here by the words of the protocol and not by the code under test."""

from __future__ import annotations

import hashlib
import hmac
import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beanpole.aws.body import Body, declared_payload_hash
from beanpole.aws.chunk_signatures import SIGNED_CHUNKS, SIGNED_CHUNKS_AND_TRAILER, ChunkSignatures
from beanpole.aws.chunked import AwsChunkedDecoder
from beanpole.aws.errors import AwsError
from beanpole.aws.sigv4 import Claim, Message

pytestmark = pytest.mark.pure

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
SEED = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9"
CLAIM = Claim("AK", "20130524", "us-east-1", "s3", "20130524T000000Z", ("host",), SEED, None)


class Signer:
    """A client's side of the chain."""

    def __init__(self) -> None:
        self.previous = SEED
        key = f"AWS4{SECRET}".encode()
        for part in ("20130524", "us-east-1", "s3", "aws4_request"):
            key = hmac.digest(key, part.encode(), "sha256")
        self.key = key

    def sign(self, kind: str, content: str) -> str:
        words = [f"AWS4-HMAC-SHA256-{kind}", "20130524T000000Z", "20130524/us-east-1/s3/aws4_request", self.previous]
        self.previous = hmac.digest(self.key, "\n".join([*words, content]).encode(), "sha256").hex()
        return self.previous

    def chunk(self, piece: bytes) -> bytes:
        empty, own = hashlib.sha256(b"").hexdigest(), hashlib.sha256(piece).hexdigest()
        signature = self.sign("PAYLOAD", f"{empty}\n{own}")
        return b"%x;chunk-signature=%b\r\n%b" % (len(piece), signature.encode(), piece + b"\r\n" if piece else b"")

    def trailer(self, name: str, value: str) -> bytes:
        signature = self.sign("TRAILER", hashlib.sha256(f"{name}:{value}\n".encode()).hexdigest())
        return f"{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n\r\n".encode()


def body(*pieces: bytes) -> bytes:
    signer = Signer()
    return b"".join(signer.chunk(piece) for piece in (*pieces, b"")) + b"\r\n"


def body_with_trailer(*pieces: bytes) -> bytes:
    signer = Signer()
    chunks = b"".join(signer.chunk(piece) for piece in (*pieces, b""))
    return chunks + signer.trailer("x-amz-checksum-crc32c", "AAAAAA==")


def decode(stream: bytes, *, trailing: bool = False, cuts: list[int] | None = None) -> tuple[bytes, dict[str, str]]:
    decoder = AwsChunkedDecoder(ChunkSignatures(CLAIM, SECRET), trailing=trailing)
    at = [0, *sorted(min(cut, len(stream)) for cut in cuts or []), len(stream)]
    content = b"".join(decoder.feed(stream[start:end]) for start, end in itertools.pairwise(at))
    decoder.finish()
    return content, decoder.trailers


def refused(stream: bytes, *, trailing: bool = False) -> str:
    with pytest.raises(AwsError) as raised:
        decode(stream, trailing=trailing)
    return raised.value.code


def test_the_published_example() -> None:
    first = b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"
    second = b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"
    last = b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"
    stream = b"10000;chunk-signature=%b\r\n%b\r\n" % (first, b"a" * 65536)
    stream += b"400;chunk-signature=%b\r\n%b\r\n0;chunk-signature=%b\r\n\r\n" % (second, b"a" * 1024, last)
    assert decode(stream) == (b"a" * 66560, {})


@settings(max_examples=60, deadline=None, database=None)
@given(st.lists(st.binary(min_size=1, max_size=40), max_size=4), st.lists(st.integers(0, 900), max_size=8))
def test_any_content_comes_out_wherever_the_network_cuts(pieces: list[bytes], cuts: list[int]) -> None:
    assert decode(body(*pieces), cuts=cuts) == (b"".join(pieces), {})
    trailers = {"x-amz-checksum-crc32c": "AAAAAA=="}
    assert decode(body_with_trailer(*pieces), trailing=True, cuts=cuts) == (b"".join(pieces), trailers)


def test_the_last_line_may_be_missing() -> None:
    assert decode(body(b"abc").removesuffix(b"\r\n"))[0] == b"abc"
    assert decode(body_with_trailer(b"abc").removesuffix(b"\r\n\r\n"), trailing=True)[0] == b"abc"


def test_what_was_changed_on_the_way_is_refused() -> None:
    good = body(b"first", b"second")
    first, second, last = (Signer.chunk(signer, piece) for signer in [Signer()] for piece in (b"first", b"second", b""))
    signature = good.index(b"=") + 1
    for stream in (
        good.replace(b"first", b"First"),
        good[:signature] + (b"0" if good[signature : signature + 1] != b"0" else b"1") + good[signature + 1 :],
        second + first + last + b"\r\n",
        first + first + second + last + b"\r\n",
        second + last + b"\r\n",
        first + last + b"\r\n",
    ):
        assert refused(stream) == "SignatureDoesNotMatch"
    trailed = body_with_trailer(b"abc")
    assert refused(trailed.replace(b"AAAAAA==", b"BAAAAA=="), trailing=True) == "SignatureDoesNotMatch"
    assert refused(trailed.replace(b"crc32c:", b"crc32:"), trailing=True) == "SignatureDoesNotMatch"


def test_nothing_is_taken_without_a_signature() -> None:
    signer = Signer()
    good = signer.chunk(b"abc")
    for stream in (
        b"3\r\nabc\r\n0\r\n\r\n",
        b"3;chunk-signature=\r\nabc\r\n0\r\n\r\n",
        good,
        good + b"0\r\n\r\n",
        body_with_trailer(b"abc"),  # trailers that the request did not announce
    ):
        assert refused(stream) == "IncompleteBody"
    unsigned = good + signer.chunk(b"") + b"x-amz-checksum-crc32c:AAAAAA==\r\n"
    for end in (b"", b"\r\n", b"x-amz-trailer-signature:none\r\n\r\n", b"x-amz-trailer-signature:\xe9\r\n\r\n"):
        assert refused(unsigned + end, trailing=True) == "MalformedTrailerError"
    late = body_with_trailer(b"abc").removesuffix(b"\r\n") + b"x-amz-more:1\r\n\r\n"
    assert refused(late, trailing=True) == "IncompleteBody"


def test_a_body_of_signed_chunks_is_never_read_without_the_key() -> None:
    async def receive() -> dict[str, bytes]:
        raise AssertionError("nothing is to be read")

    for word in (SIGNED_CHUNKS, SIGNED_CHUNKS_AND_TRAILER):
        message = Message("PUT", b"/b/k", b"", [(b"x-amz-content-sha256", word.encode())])
        assert declared_payload_hash(message, CLAIM, {}) == word
        with pytest.raises(ValueError, match="signatures"):
            Body(receive, message, word)
    other = Message("PUT", b"/b/k", b"", [(b"x-amz-content-sha256", b"STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD")])
    with pytest.raises(AwsError, match="NotImplemented"):
        declared_payload_hash(other, CLAIM, {})
