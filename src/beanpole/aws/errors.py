"""The one error that crosses the wire.

Everything that a client did wrong, or that we cannot do for it, is an `AwsError`. It becomes an error document in the
dialect of the service that was called. Anything else that reaches the gateway is our own mistake: an InternalFailure.
"""

from __future__ import annotations


class AwsError(Exception):
    """An answer that is not the one the client hoped for.

    `code` is what programs compare, `message` what a person reads, `status` the HTTP status. `details` are further
    elements of an S3 error document, for example `BucketName="b"`. Clients repeat 500, 503 and 504 many times by
    themselves: use those only for what passes by itself.
    """

    def __init__(self, code: str, message: str, status: int = 400, **details: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.details = details

    @property
    def fault(self) -> str:
        """Who has to change something: "Sender" or "Receiver"."""
        return "Sender" if self.status < 500 else "Receiver"
