"""Signature Version 4: who sent a request, and that nobody changed it.

Pure: bytes in, a verdict out; the time is a parameter. `claim` reads what a request says of itself (in its
Authorization header or, presigned, in its query), `verify` proves it with the secret, `presign` makes a URL that proves
itself.
The body's hash is part of what is signed; that the body has it is for the reader of the body to check.
"""

from __future__ import annotations

import email.utils
import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, quote_from_bytes, unquote_to_bytes, urlsplit

from beanpole.aws.errors import AwsError

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY = hashlib.sha256(b"").hexdigest()

SKEW = 15 * 60
"""Seconds that a client's clock may differ from ours. AWS's own limit; SDKs correct their clocks by it."""

LONGEST_PRESIGNED = 7 * 24 * 3600
"""Seconds. AWS's own limit."""

_CREDENTIAL = re.compile(r"([\w+=,.@-]{1,128})/([0-9]{8})/([a-z0-9-]{1,64})/([a-z0-9-]{1,64})/aws4_request", re.ASCII)
_SIGNATURE = re.compile(r"[0-9a-f]{64}")
_HEADER_NAMES = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+(;[a-z0-9!#$%&'*+.^_`|~-]+)*")
_TIMESTAMP = re.compile(r"[0-9]{8}T[0-9]{6}Z")


@dataclass(frozen=True, slots=True)
class Message:
    """The parts of a request that a signature covers, as they came: raw path and query, header names in lower case."""

    method: str
    path: bytes
    query: bytes
    headers: Sequence[tuple[bytes, bytes]]

    def header(self, name: str) -> str | None:
        """The values of a header joined by commas, or None."""
        wanted = name.encode()
        values = [value for key, value in self.headers if key == wanted]
        return b",".join(values).decode("latin-1") if values else None


@dataclass(frozen=True, slots=True)
class Claim:
    """What a request says of itself; unproven until `verify`."""

    access_key: str
    date: str
    region: str
    service: str
    timestamp: str
    signed_headers: tuple[str, ...]
    signature: str
    expires: int | None
    """Seconds that a presigned URL holds; None when the signature came in the Authorization header."""

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


def claim(message: Message) -> Claim:
    """Read the signature of a request; MissingAuthenticationToken when it has none, IncompleteSignature if broken."""
    authorization = message.header("authorization")
    if authorization is not None:
        return _header_claim(message, authorization)
    query = dict(_pairs(message.query))
    if b"X-Amz-Signature" in query or b"X-Amz-Algorithm" in query:
        return _presigned_claim(query)
    if b"AWSAccessKeyId" in query:
        raise _unsupported("Signature Version 2")
    if is_browser_form(message):
        raise AwsError(
            "NotImplemented",
            "Uploads from a browser's form (presigned POST) are not built; presign a PUT instead.",
            501,
        )
    raise AwsError(
        "MissingAuthenticationToken",
        "The request is not signed. Configure an access key of this Beanpole in your client.",
        403,
    )


def is_browser_form(message: Message) -> bool:
    """Whether it is a form with its signature, if it has one, inside of the body (S3's presigned POST)."""
    return message.method == "POST" and (message.header("content-type") or "").startswith("multipart/form-data")


def _header_claim(message: Message, authorization: str) -> Claim:
    algorithm, _, rest = authorization.strip().partition(" ")
    if algorithm != ALGORITHM:
        raise _unsupported(algorithm[:40])
    parts = dict(part.strip().partition("=")[::2] for part in rest.split(","))
    timestamp = message.header("x-amz-date") or _from_http_date(message.header("date"))
    return _checked(
        parts.get("Credential", ""), parts.get("SignedHeaders", ""), parts.get("Signature", ""), timestamp or "", None
    )


def _presigned_claim(query: dict[bytes, bytes]) -> Claim:
    def value(name: str) -> str:
        return query.get(name.encode(), b"").decode("latin-1")

    if value("X-Amz-Algorithm") != ALGORITHM:
        raise _unsupported(value("X-Amz-Algorithm")[:40])
    expires = value("X-Amz-Expires")
    if not re.fullmatch("[0-9]{1,6}", expires) or not 1 <= int(expires) <= LONGEST_PRESIGNED:
        raise AwsError(
            "AuthorizationQueryParametersError", f"X-Amz-Expires must be a number from 1 to {LONGEST_PRESIGNED}."
        )
    return _checked(
        value("X-Amz-Credential"),
        value("X-Amz-SignedHeaders"),
        value("X-Amz-Signature"),
        value("X-Amz-Date"),
        int(expires),
    )


def _checked(credential: str, names: str, signature: str, timestamp: str, expires: int | None) -> Claim:
    found = _CREDENTIAL.fullmatch(credential)
    if not found:
        raise _incomplete("Credential", "KEY/YYYYMMDD/REGION/SERVICE/aws4_request")
    if not _HEADER_NAMES.fullmatch(names):
        raise _incomplete("SignedHeaders", "lower-case header names joined by semicolons")
    if not _SIGNATURE.fullmatch(signature):
        raise _incomplete("Signature", "64 hexadecimal digits")
    if not _TIMESTAMP.fullmatch(timestamp) or _seconds(timestamp) is None:
        raise _incomplete("X-Amz-Date", "a time such as 20261012T082931Z")
    key, date, region, service = found.groups()
    if not timestamp.startswith(date):
        raise _incomplete("Credential", f"the date of X-Amz-Date, {timestamp[:8]}")
    return Claim(key, date, region, service, timestamp, tuple(names.split(";")), signature, expires)


def verify(message: Message, claim: Claim, secret: str, payload_hash: str, now: float) -> None:
    """Accept the claim or raise. `payload_hash`: SHA-256 of the body in hex, or the word that stands for it (S3).

    `now` is in seconds since 1970. The signature is compared before the time, so that an expired request of a stranger
    is answered like any other of theirs.
    """
    _check_coverage(message, claim)
    for path in _canonical_paths(message.path, claim.service):
        expected = _signature(claim, secret, _canonical_request(message, claim, path, payload_hash))
        if hmac.compare_digest(expected, claim.signature):
            break
    else:
        raise AwsError(
            "SignatureDoesNotMatch",
            "The signature does not fit the request. Check the secret access key, and that nothing between client and "
            "server changes the request.",
            403,
        )
    _check_time(claim, now)


def presign(
    method: str, url: str, access_key: str, secret: str, region: str, service: str, now: float, expires: int
) -> str:
    """`url` (with its path percent-encoded) with a signature that holds for `expires` seconds from `now`."""
    parts = urlsplit(url)
    timestamp = f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    scope = f"{timestamp[:8]}/{region}/{service}/aws4_request"
    added = {
        "X-Amz-Algorithm": ALGORITHM,
        "X-Amz-Credential": f"{access_key}/{scope}",
        "X-Amz-Date": timestamp,
        "X-Amz-Expires": str(expires),
        "X-Amz-SignedHeaders": "host",
    }
    given = [parts.query] if parts.query else []
    query = "&".join([*given, *(f"{name}={quote(value, safe='-_.~')}" for name, value in added.items())])
    message = Message(method, parts.path.encode(), query.encode(), [(b"host", parts.netloc.encode())])
    claim = Claim(access_key, timestamp[:8], region, service, timestamp, ("host",), "", expires)
    path = _canonical_paths(message.path, service)[0]
    signature = _signature(claim, secret, _canonical_request(message, claim, path, UNSIGNED))
    return f"{parts.scheme}://{parts.netloc}{parts.path}?{query}&X-Amz-Signature={signature}"


def signing_key(claim: Claim, secret: str) -> bytes:
    """The key of the claim's day, region and service, which signs requests and chunks."""
    key = f"AWS4{secret}".encode()
    for part in claim.scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _check_coverage(message: Message, claim: Claim) -> None:
    # Unsigned, these could be changed on the way and the signature would still fit.
    sent = {name.decode("latin-1") for name, _ in message.headers}
    needed = {"host"} | {name for name in sent if name.startswith("x-amz-")}
    if missing := needed - set(claim.signed_headers):
        raise AwsError("SignatureDoesNotMatch", f"These headers must be signed: {', '.join(sorted(missing))}.", 403)
    if absent := set(claim.signed_headers) - sent:
        raise AwsError("SignatureDoesNotMatch", f"These signed headers are missing: {', '.join(sorted(absent))}.", 403)


def _check_time(claim: Claim, now: float) -> None:
    signed = _seconds(claim.timestamp)
    if signed is None:
        raise ValueError(f"a claim that was not checked: {claim.timestamp}")
    here = f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}"
    if claim.expires is not None:
        if now > signed + claim.expires:
            lapsed = f"The URL has expired: it held {claim.expires} s from {claim.timestamp}."
            raise AwsError("AccessDenied", lapsed, 403)
        if now < signed - SKEW:
            raise AwsError("AccessDenied", f"The URL is not valid yet: {claim.timestamp} is after {here}.", 403)
    elif abs(now - signed) > SKEW:
        if claim.service == "s3":
            raise AwsError(
                "RequestTimeTooSkewed",
                f"The request was signed at {claim.timestamp}, the server's time is {here}: more than {SKEW} s apart. "
                "Set the clock of the client.",
                403,
                RequestTime=claim.timestamp,
                ServerTime=here,
                MaxAllowedSkewMilliseconds=str(SKEW * 1000),
            )
        # SDKs recognise a wrong clock by these words.
        state, side = ("expired", "earlier") if signed < now else ("not yet current", "later")
        raise AwsError(
            "SignatureDoesNotMatch",
            f"Signature {state}: {claim.timestamp} is {side} than the server's time {here} by more than {SKEW} s.",
            403,
        )


def _canonical_request(message: Message, claim: Claim, path: bytes, payload_hash: str) -> bytes:
    headers = b"".join(
        name.encode() + b":" + b",".join(b" ".join(v.split()) for k, v in message.headers if k == name.encode()) + b"\n"
        for name in claim.signed_headers
    )
    query = sorted(
        (quote_from_bytes(name, safe="-_.~"), quote_from_bytes(value, safe="-_.~"))
        for name, value in _pairs(message.query)
        if claim.expires is None or name != b"X-Amz-Signature"
    )
    return b"\n".join(
        [
            message.method.encode(),
            path,
            "&".join(f"{name}={value}" for name, value in query).encode(),
            headers,
            ";".join(claim.signed_headers).encode(),
            payload_hash.encode(),
        ]
    )


def _canonical_paths(path: bytes, service: str) -> list[bytes]:
    """The forms of a path that clients sign. S3: as sent or encoded anew; others: no dot segments, encoded twice."""
    if service == "s3":
        anew = quote_from_bytes(unquote_to_bytes(path), safe="/-_.~").encode()
        return [path] if anew == path else [path, anew]
    segments: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del segments[-1:]
        elif segment not in (b"", b"."):
            segments.append(segment)
    slash = b"/" if segments and path.endswith(b"/") else b""
    return [quote_from_bytes(b"/" + b"/".join(segments) + slash, safe="/-_.~").encode()]


def _signature(claim: Claim, secret: str, canonical_request: bytes) -> str:
    digest = hashlib.sha256(canonical_request).hexdigest()
    to_sign = f"{ALGORITHM}\n{claim.timestamp}\n{claim.scope}\n{digest}"
    return hmac.digest(signing_key(claim, secret), to_sign.encode(), "sha256").hex()


def _pairs(query: bytes) -> list[tuple[bytes, bytes]]:
    """Names and values, decoded. A plus is a plus: in a signature it never means a space."""
    parts = (part.partition(b"=") for part in query.split(b"&") if part)
    return [(unquote_to_bytes(name), unquote_to_bytes(value)) for name, _, value in parts]


def _seconds(timestamp: str) -> float | None:
    try:
        return datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


def _from_http_date(value: str | None) -> str | None:
    try:
        return f"{email.utils.parsedate_to_datetime(value).astimezone(UTC):%Y%m%dT%H%M%SZ}" if value else None
    except (ValueError, OverflowError):
        return None


def _incomplete(part: str, wanted: str) -> AwsError:
    return AwsError("IncompleteSignature", f"{part} of the signature is missing or malformed; it must be {wanted}.")


def _unsupported(what: str) -> AwsError:
    shown = "".join(c for c in what if c.isprintable() and c.isascii())
    return AwsError("IncompleteSignature", f"{shown or 'This way of signing'} is not supported; use {ALGORITHM}.")
