"""One request and its answer, as HTTP: limits on what comes in, the headers that every answer has, and how it is sent.

Whatever a client does (stops in the middle, takes no byte, sends headers without end), an exchange ends in bounded time
and memory.
"""

from __future__ import annotations

import email.utils
import re
import uuid
from asyncio import timeout
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import anyio.to_thread

from beanpole.aws.body import Receive
from beanpole.aws.errors import AwsError
from beanpole.aws.request import Answer, FileContent
from beanpole.aws.sigv4 import Message, is_browser_form
from beanpole.aws.xml import Dialect, error_document

FORM_LIMIT = 1024 * 1024
"""Bytes of a query call. AWS's own limit; bundles travel through S3."""

HEADER_LIMIT = 32 * 1024
"""Bytes of all headers and the URL. S3 allows 8 KB of headers, SDKs send about 1 KB."""

FORM_TIMEOUT = 60.0
"""Seconds in which the body of a query call must have arrived."""

SEND_TIMEOUT = 60.0
"""Seconds that a client may take no byte of its answer."""

FILE_CHUNK = 256 * 1024
"""Bytes of an object that are in memory for one download."""

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?")


class Exchange:
    """`message` is what a signature covers; `path` is raw and below the mount point; `source` is the client's address.

    `endpoint` is the base URL as the client addressed it, mount point included.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, now: float) -> None:
        self.request_id = str(uuid.uuid4())
        raw_path: bytes = scope.get("raw_path") or scope["path"].encode()
        mount: str = scope.get("root_path", "")
        self.message = Message(scope["method"], raw_path, scope.get("query_string", b""), list(scope["headers"]))
        self.path = raw_path.removeprefix(mount.encode()) or b"/"
        client = scope.get("client")
        self.source: str = client[0] if client else "local"
        self.endpoint = f"{scope.get('scheme', 'http')}://{self.message.header('host')}{mount}"
        self._receive = receive
        self._send = send
        self._now = now
        self._asked_for_body = False

    def check(self) -> None:
        """Refuse what no client of ours sends: headers without end, no Host."""
        size = len(self.message.path) + len(self.message.query)
        size += sum(len(name) + len(value) for name, value in self.message.headers)
        if size > HEADER_LIMIT:
            what = f"The headers and the URL have more than {HEADER_LIMIT} bytes."
            raise AwsError("RequestHeaderSectionTooLarge", what, 431)
        if not _HOST.fullmatch(self.message.header("host") or ""):
            raise AwsError("InvalidRequest", "The Host header is missing or is no host name.")

    def guessed_dialect(self) -> Dialect:
        """For a request that does not tell its service: by what it looks like."""
        if self.message.header("x-amz-target") is not None:
            return "json"
        if is_browser_form(self.message):
            return "s3"
        return "query" if self.message.method == "POST" and self.path == b"/" else "s3"

    async def receive(self) -> MutableMapping[str, Any]:
        """The next piece of the body. The first one is asked for only when the request deserves it: see `send`."""
        self._asked_for_body = True
        return await self._receive()

    async def read_form(self) -> bytes:
        """The whole body of a query call."""
        body = bytearray()
        more = True
        try:
            async with timeout(FORM_TIMEOUT):
                while more:
                    message = await self.receive()
                    if message["type"] == "http.disconnect":
                        raise AwsError("IncompleteBody", "The connection ended before the body did.")
                    body += message.get("body", b"")
                    if len(body) > FORM_LIMIT:
                        raise AwsError("RequestEntityTooLarge", f"A call has at most {FORM_LIMIT} bytes.", 413)
                    more = message.get("more_body", False)
        except TimeoutError:
            raise AwsError("RequestTimeout", f"The body did not arrive within {FORM_TIMEOUT:.0f} s.") from None
        return bytes(body)

    async def send_error(self, dialect: Dialect, error: AwsError) -> None:
        """The error as a document of the dialect."""
        types: dict[Dialect, str] = {"json": "application/x-amz-json-1.1", "s3": "application/xml"}
        headers = {"Content-Type": types.get(dialect, "text/xml")}
        if error.status == 405:
            headers["Allow"] = "GET, HEAD, PUT, POST, DELETE" if dialect == "s3" else "GET, POST"
        await self.send(Answer(error.status, headers, error_document(dialect, error, self.request_id)))

    async def send(self, answer: Answer) -> None:
        """Send all of it, or as much as the client takes; then the connection ends."""
        content = answer.content
        try:
            async with timeout(SEND_TIMEOUT):
                head = {"type": "http.response.start", "status": answer.status, "headers": self._headers(answer)}
                await self._send(head)
                if not isinstance(content, FileContent):
                    await self._send({"type": "http.response.body", "body": content})
            if isinstance(content, FileContent):
                await self._send_file(content)
        except TimeoutError:
            return  # an answer without its end makes the HTTP server close the connection
        finally:
            if isinstance(content, FileContent):
                content.file.close()

    def _headers(self, answer: Answer) -> list[tuple[bytes, bytes]]:
        content = answer.content
        headers = {
            "Date": email.utils.formatdate(self._now, usegmt=True),
            "x-amzn-RequestId": self.request_id,
            "x-amz-request-id": self.request_id,
            "Content-Length": str(content.length if isinstance(content, FileContent) else len(content)),
            **answer.headers,
        }
        if self.message.header("expect") is not None and not self._asked_for_body:
            # Such a client never sends its body now, yet the server would wait for it on this connection.
            headers["Connection"] = "close"
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]

    async def _send_file(self, content: FileContent) -> None:
        left, more = content.length, True
        while more:  # an empty file needs one message too: the one that ends the answer
            data = await anyio.to_thread.run_sync(content.file.read, min(FILE_CHUNK, left))
            if left and not data:
                raise EOFError(f"a file of the object store ended {left} bytes early")
            left -= len(data)
            more = left > 0
            async with timeout(SEND_TIMEOUT):
                await self._send({"type": "http.response.body", "body": data, "more_body": more})
