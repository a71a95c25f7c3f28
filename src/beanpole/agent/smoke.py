"""The job `smoke`: a release that was started is asked for its critical endpoints before it gets a request.

`ask` is one question, over HTTP/1.1; the control plane asks in the same way through the balancer. No redirect is
followed, of a body 64 KiB are read, and an answer that is not whole within its time is none.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Dict, List, Sequence, Tuple

from .arguments import Arguments
from .deadline import within
from .failure import JobFailure
from .instance import Instance
from .jobs import Job
from .probe import HEAD_LIMIT, fields, first_lines
from .remedy import remedy_for

STAGE = "smoke test"
BODY_LIMIT = 64 * 1024  # bytes of a body that are read
SETTLE = 0.5  # seconds after which a question that got no answer at all is asked once more: a worker may just come up
REMEDY = "Correct the application, or the smoke test in the option SmokeTests of beanpole:deployment."
SHOWN = 3  # failures that one sentence has room for


@dataclass(frozen=True)
class Question:
    """The status must be within low and high, the body hold `text`, all of it within `seconds`."""

    method: str
    path: str
    low: int
    high: int
    text: str
    seconds: float

    @classmethod
    def read(cls, values: Arguments) -> Question:
        """From {"method", "path", "low", "high", "text", "seconds"}. JobFailure for what is no request."""
        method, path = values.text("method"), values.text("path")
        if not method.isalpha() or not path.startswith("/") or not path.isprintable() or " " in path:
            raise JobFailure(STAGE, f"{method!r} {path!r} is no request")
        low, high = int(values.number("low")), int(values.number("high"))
        return cls(method, path, low, high, values.text_or_empty("text"), values.number("seconds"))

    @property
    def expected(self) -> str:
        status = str(self.low) if self.low == self.high else f"{self.low}-{self.high}"
        text = f' containing "{self.text}"' if self.text else ""
        return f"{status}{text} within {self.seconds:g} s"


@dataclass(frozen=True)
class Finding:
    """What came of one question. `answered` is False where nothing that could be judged came back."""

    test: Question
    ok: bool
    answered: bool
    words: str
    lines: Sequence[str] = ()

    @property
    def told(self) -> str:
        """Request, what was expected, what came: the status and the first line of the body."""
        body = f": {self.lines[0]}" if self.lines else ""
        return f"{self.test.method} {self.test.path}: expected {self.test.expected}; it {self.words}{body}"


async def smoke(instance: Instance, job: Job) -> Dict[str, Any]:
    """Arguments release, tests, host (the Host header; without it, the address). Result: how many tests passed.

    All tests are made, so that all that is wrong is said at once.
    """
    arguments = Arguments(STAGE, job.arguments)
    digest = arguments.text("release")
    tests = [Question.read(each) for each in arguments.objects("tests")]
    entry = instance.supervisor.find(digest, "web")
    if entry is None or entry.port is None or not entry.alive:
        last = instance.supervisor.output(entry) if entry is not None else ()
        raise JobFailure(STAGE, f"web of release {digest} does not run", remedy_for(last), last_lines=last)
    address = entry.address or instance.address
    host = arguments.text_or_empty("host") or authority(address, entry.port)
    failures: List[Finding] = []
    for number, test in enumerate(tests):
        job.progress(f"smoke tests passed; now {test.method} {test.path}", number, len(tests))
        finding = await ask(address, entry.port, host, test)
        if not finding.answered:
            await asyncio.sleep(SETTLE)
            finding = await ask(address, entry.port, host, test)
        if not finding.ok:
            failures.append(finding)
    if failures:
        written = instance.supervisor.output(entry)
        lines = [*failures[0].lines, *written]
        raise JobFailure(STAGE, sentence(failures), remedy_for(written) or REMEDY, last_lines=lines)
    return {"passed": len(tests)}


def sentence(failures: Sequence[Finding]) -> str:
    """What failed, as one sentence; of many failures the first ones and how many more there are."""
    told = "; ".join(finding.told for finding in failures[:SHOWN])
    more = len(failures) - SHOWN
    return f"{told}; and {more} more" if more > 0 else told


def authority(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


async def ask(address: str, port: int, host: str, test: Question) -> Finding:
    """Asks once. Never raises: what goes wrong is the finding."""
    try:
        status, words, body = await within(test.seconds, _answer(address, port, host, test))
    except asyncio.TimeoutError:
        # No second chance: slow is what the time limit is there to find.
        return Finding(test, False, True, f"gave no whole answer within {test.seconds:g} s")
    except ConnectionRefusedError:
        return Finding(test, False, False, "refused the connection")
    except (OSError, EOFError, asyncio.LimitOverrunError) as error:
        return Finding(test, False, False, f"closed the connection without a whole answer ({type(error).__name__})")
    except ValueError:
        return Finding(test, False, True, "answered something that is not HTTP")
    ok = test.low <= status <= test.high and test.text.encode() in body
    return Finding(test, ok, True, words, first_lines(body))


async def _answer(address: str, port: int, host: str, test: Question) -> Tuple[int, str, bytes]:
    """Status, the words for it, the beginning of the body."""
    reader, writer = await asyncio.open_connection(address, port, limit=HEAD_LIMIT)
    try:
        length = "Content-Length: 0\r\n" if test.method == "POST" else ""
        writer.write(
            (
                f"{test.method} {test.path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: Beanpole-SmokeTest/1\r\n"
                f"Accept: */*\r\n{length}Connection: close\r\n\r\n"
            ).encode("utf-8")
        )
        status, reason, headers = await _head(reader)
        while 100 <= status < 200:
            status, reason, headers = await _head(reader)
        empty = test.method == "HEAD" or status in (204, 304)
        body = b"" if empty else await _body(reader, headers)
        return status, f"answered {status} {reason}".strip(), body
    finally:
        writer.close()


async def _head(reader: asyncio.StreamReader) -> Tuple[int, str, Dict[str, str]]:
    """Status, reason, headers. ValueError for what is not HTTP."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    version, _, rest = lines[0].partition(" ")
    code, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/") or not code.isdigit():
        raise ValueError(lines[0])
    return int(code), reason.strip(), fields(lines[1:])


async def _body(reader: asyncio.StreamReader, headers: Dict[str, str]) -> bytes:
    """BODY_LIMIT bytes at most. EOFError when it ends before it is whole."""
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return await _chunks(reader)
    length = headers.get("content-length", "")
    if length.isdigit():
        return await reader.readexactly(min(int(length), BODY_LIMIT))
    data = b""
    while len(data) < BODY_LIMIT:
        piece = await reader.read(BODY_LIMIT - len(data))
        if not piece:
            break
        data += piece
    return data


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    data = b""
    while len(data) < BODY_LIMIT:
        size = int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16)
        if size == 0:
            break
        data += await reader.readexactly(min(size, BODY_LIMIT - len(data)))
        if len(data) < BODY_LIMIT:
            await reader.readexactly(2)
    return data
