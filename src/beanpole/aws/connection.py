"""One connection of a client, before a request is one: what it may send without getting anywhere, and for how long.

uvicorn's parser keeps headers in memory until they end, whatever they weigh, and waits for their end for ever. Here
both have limits. A request whose head arrives in one piece, as nearly all do, costs a few additions and no timer.
"""

from __future__ import annotations

import asyncio
import email.utils
import http
import uuid
from typing import Any, Literal

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from beanpole.aws.errors import AwsError
from beanpole.aws.xml import error_document

HEAD_LIMIT = 64 * 1024
"""Bytes without progress: of a request line with its headers, or of what follows a body in chunks. The exchange allows
half of it for names and values alone."""

HEAD_TIMEOUT = 30.0
"""Seconds from the first byte of a request, or from the connection's start, to the end of its headers."""


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with these limits; who breaks them gets an error document, and the connection ends."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._at: Literal["idle", "head", "body"] = "idle"
        self._stalled = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._stalled += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._stalled > HEAD_LIMIT:
            what = f"The headers and the URL have more than {HEAD_LIMIT} bytes."
            self._refuse(AwsError("RequestHeaderSectionTooLarge", what, 431))
        elif self._timer is None and (self._at == "head" or (self._at == "idle" and self._stalled)):
            self._expect_head()

    # -- what the parser tells ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._at = "head"
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._at, self._stalled = "body", 0
        self._forget_timer()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._stalled = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._at, self._stalled = "idle", 0
        super().on_message_complete()

    # -- limits -------------------------------------------------------------------------------------------------------

    def _expect_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_TIMEOUT, self._overdue)

    def _forget_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _overdue(self) -> None:
        self._timer = None
        if self.transport.is_closing():
            return
        if self._answering():
            # Half a request behind one that is being answered: the answer comes first.
            self._expect_head()
        elif self._at == "idle" and not self._stalled:
            self.transport.close()  # not a byte came: an answer would be taken for that of a later request
        else:
            what = f"The headers did not arrive within {HEAD_TIMEOUT:.0f} s."
            self._refuse(AwsError("RequestTimeout", what, 408))

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: AwsError) -> None:
        if not self._answering():
            request_id = str(uuid.uuid4())
            document = error_document("query", error, request_id)
            lines = (
                f"HTTP/1.1 {error.status} {http.HTTPStatus(error.status).phrase}",
                f"Date: {email.utils.formatdate(usegmt=True)}",
                f"x-amzn-RequestId: {request_id}",
                "Content-Type: text/xml",
                f"Content-Length: {len(document)}",
                "Connection: close",
                "\r\n",
            )
            self.transport.write("\r\n".join(lines).encode() + document)
        self.transport.close()
