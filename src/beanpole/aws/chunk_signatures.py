"""The signatures inside of a body in signed chunks: each chunk's, and in the end the trailers', signs the one before.

The first link is the request's own signature: no chunk can be changed, left out, repeated or moved. Pure.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

from beanpole.aws.errors import AwsError
from beanpole.aws.sigv4 import ALGORITHM, EMPTY, Claim, signing_key

SIGNED_CHUNKS = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
SIGNED_CHUNKS_AND_TRAILER = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"


class ChunkSignatures:
    """The chain of one body. `claim` must have been verified with `secret`."""

    def __init__(self, claim: Claim, secret: str) -> None:
        self._key = signing_key(claim, secret)
        self._claim = claim
        self._previous = claim.signature

    def check_chunk(self, sha256: str, signature: str) -> None:
        """SignatureDoesNotMatch unless the next chunk, which has that SHA-256 in hex, bears this signature."""
        self._check("PAYLOAD", f"{EMPTY}\n{sha256}", signature, "A chunk of the body")

    def check_trailers(self, trailers: Mapping[str, str], signature: str) -> None:
        """SignatureDoesNotMatch unless the trailers (names in lower case) behind the last chunk bear this signature."""
        lines = "".join(f"{name}:{value}\n" for name, value in sorted(trailers.items()))
        self._check("TRAILER", hashlib.sha256(lines.encode("latin-1")).hexdigest(), signature, "The body's trailer")

    def _check(self, kind: str, content: str, signature: str, what: str) -> None:
        head = f"{ALGORITHM}-{kind}\n{self._claim.timestamp}\n{self._claim.scope}"
        expected = hmac.digest(self._key, f"{head}\n{self._previous}\n{content}".encode(), "sha256").hex()
        if not hmac.compare_digest(expected, signature):
            raise AwsError("SignatureDoesNotMatch", f"{what} bears a signature that does not fit it.", 403)
        self._previous = expected
