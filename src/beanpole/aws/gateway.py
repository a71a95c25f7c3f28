"""The door: every signed request comes in here and leaves with an answer in its service's own dialect.

An ASGI application. It reads whose signature a request bears, proves it, finds the service in the signature's scope,
and hands the call on: to a handler in a worker thread (query protocol), or to the object service (S3), which streams.
Every answer has a request id and a `Date`; a client sees no traceback, whatever it sends.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar, TypeVarTuple

import anyio
import anyio.to_thread
from botocore.model import OperationModel

from beanpole.aws import sigv4
from beanpole.aws.body import Body, Receive, declared_payload_hash
from beanpole.aws.call import AccessKey, Call, Caller, KeyLookup, Service
from beanpole.aws.chunk_signatures import ChunkSignatures
from beanpole.aws.connection import Connection
from beanpole.aws.errors import AwsError
from beanpole.aws.exchange import Exchange, Scope, Send
from beanpole.aws.form import Field, parse_form, printable
from beanpole.aws.query import parse_parameters
from beanpole.aws.request import Answer, Request, parse_query
from beanpole.aws.xml import Dialect, result_document

WORKERS = 16
"""Handlers at once. Each needs the database, which has one writer: more would only wait there."""

UVICORN_OPTIONS: dict[str, Any] = {
    "date_header": False,
    "server_header": False,
    "proxy_headers": False,
    "http": Connection,
}
"""For the HTTP server: the date is ours (two of them confuse clients), the limits of headers are ours, and the source
that the audit keeps is the connection's, not what an unsigned header says."""

SUCCESS = "Success"
"""The outcome of a call that went well, as the audit sees it; else it is the error's code."""

Audit = Callable[[Call, str], None]
OnError = Callable[[str, Call | None, Exception], None]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class ObjectService(Protocol):
    """The service "s3": apart, because its calls are not of the query protocol and its bodies are streams."""

    def operation(self, request: Request) -> tuple[str, dict[str, Any]]:
        """The operation that a request means, by its name, and its parameters. AwsError for none that is known."""

    async def handle(self, call: Call, request: Request) -> Answer:
        """Do it. AwsError for what cannot be done."""


class Gateway:
    """All services behind one address.

    `keys` finds an access key by its id. `objects` serves "s3"; without it S3 is an unknown service.
    `audit(call, outcome)` is told of every verified call once it is done, `on_error(request_id, call, error)` of every
    mistake of ours; both are called in worker threads. Errors `of_the_moment` pass by themselves: clients are told to
    repeat the call. Serve it with `UVICORN_OPTIONS`.
    """

    def __init__(
        self,
        services: Iterable[Service],
        keys: KeyLookup,
        *,
        objects: ObjectService | None = None,
        audit: Audit | None = None,
        on_error: OnError | None = None,
        of_the_moment: tuple[type[Exception], ...] = (),
        clock: Callable[[], float] = time.time,
        workers: int = WORKERS,
    ) -> None:
        self._services = {service.name: service for service in services}
        self._keys = keys
        self._objects = objects
        self._audit = audit or (lambda call, outcome: None)
        self._on_error = on_error or (lambda request_id, call, error: None)
        self._of_the_moment = of_the_moment
        self._clock = clock
        self._limiter = anyio.CapacityLimiter(workers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        if scope["type"] != "http":
            raise ValueError(f"the gateway serves http, not {scope['type']}")
        exchange = Exchange(scope, receive, send, self._clock())
        dialect = exchange.guessed_dialect()
        try:
            exchange.check()
            claim = sigv4.claim(exchange.message)
            dialect = self._dialect(claim, dialect)
            answer = await self._answer(exchange, claim)
        except AwsError as error:
            await exchange.send_error(dialect, error)
        except Exception as error:  # the last line of defence: the client gets an answer, and we a report
            await self._in_thread(self._on_error, exchange.request_id, None, error)
            await exchange.send_error(dialect, self._failure(error))
        else:
            await exchange.send(answer)

    async def _answer(self, exchange: Exchange, claim: sigv4.Claim) -> Answer:
        if claim.service == "s3" and self._objects is not None:
            return await self._object_call(self._objects, exchange, claim)
        if exchange.message.method not in ("GET", "POST"):
            raise AwsError("MethodNotAllowed", "Calls of this service are POST requests to /.", 405)
        body = await exchange.read_form()
        return await self._in_thread(self._query_call, exchange, claim, body)

    def _query_call(self, exchange: Exchange, claim: sigv4.Claim, body: bytes) -> Answer:
        """A call of the query protocol, from the proof of its signature to the answer. In a worker thread."""
        key = self._verified_key(exchange.message, claim, hashlib.sha256(body).hexdigest())
        service = self._services.get(claim.service)
        if service is None:
            served = ", ".join(sorted([*self._services, *(["s3"] if self._objects else [])]))
            raise AwsError("UnknownService", f"Beanpole does not serve {claim.service!r}; it serves {served}.")
        form = parse_form(body if exchange.message.method == "POST" else exchange.message.query)
        operation = _operation(service, form)
        call = _call(exchange, claim, key, operation.name, parse_parameters(operation, form))
        outcome = "InternalFailure"
        try:
            content = _dispatch(service, operation, call)
            outcome = SUCCESS
        except AwsError as error:
            outcome = error.code
            raise
        except Exception as error:  # a handler's mistake is reported with its call; the client learns only its id
            self._on_error(call.request_id, call, error)
            raise self._failure(error) from error
        finally:
            self._record(call, outcome)
        return Answer(200, {"Content-Type": "text/xml"}, content)

    async def _object_call(self, objects: ObjectService, exchange: Exchange, claim: sigv4.Claim) -> Answer:
        """A call of S3. Its body is read, if at all, by the object service."""
        query = parse_query(exchange.message.query)
        payload_hash = declared_payload_hash(exchange.message, claim, query)
        key = await self._in_thread(self._verified_key, exchange.message, claim, payload_hash)
        body = Body(exchange.receive, exchange.message, payload_hash, ChunkSignatures(claim, key.secret))
        request = Request(exchange.message, exchange.path, query, body)
        operation, params = objects.operation(request)
        call = _call(exchange, claim, key, operation, params)
        outcome = "InternalFailure"
        try:
            answer = await objects.handle(call, request)
            outcome = SUCCESS
        except AwsError as error:
            outcome = error.code
            raise
        except Exception as error:  # as for handlers above
            await self._in_thread(self._on_error, call.request_id, call, error)
            raise self._failure(error) from error
        finally:
            await self._in_thread(self._record, call, outcome)
        return answer

    def _verified_key(self, message: sigv4.Message, claim: sigv4.Claim, payload_hash: str) -> AccessKey:
        key = self._keys(claim.access_key)
        if key is None:
            code = "InvalidAccessKeyId" if claim.service == "s3" else "InvalidClientTokenId"
            raise AwsError(code, "This Beanpole has no such access key.", 403)
        sigv4.verify(message, claim, key.secret, payload_hash, self._clock())
        return key

    def _failure(self, error: Exception) -> AwsError:
        return _unavailable() if isinstance(error, self._of_the_moment) else _internal_failure()

    def _dialect(self, claim: sigv4.Claim, guessed: Dialect) -> Dialect:
        if claim.service in ("s3", "ec2"):
            return "s3" if claim.service == "s3" else "ec2"
        return "query" if claim.service in self._services else guessed

    def _record(self, call: Call, outcome: str) -> None:
        try:
            self._audit(call, outcome)
        except Exception as error:  # what the call did stands; an answer that denies it would be worse
            self._on_error(call.request_id, call, error)

    async def _in_thread(self, function: Callable[[*Ts], T], *arguments: *Ts) -> T:
        return await anyio.to_thread.run_sync(function, *arguments, limiter=self._limiter)


def _operation(service: Service, form: Field) -> OperationModel:
    action, version = (form.children.get(name, Field()).value for name in ("Action", "Version"))
    if not action:
        raise AwsError("MissingAction", "The form has no parameter Action.")
    ours = service.model.metadata["apiVersion"]
    if action not in service.model.operation_names or version not in (None, ours):
        asked = f"{printable(action)} of version {printable(version or ours)}"
        raise AwsError("InvalidAction", f"The service {service.name} has no operation {asked}.")
    return service.model.operation_model(action)


def _dispatch(service: Service, operation: OperationModel, call: Call) -> bytes:
    handler = service.handlers.get(operation.name)
    if handler is None:
        raise AwsError("UnsupportedOperation", f"Beanpole does not have the operation {operation.name} yet.")
    return result_document(operation, handler(call), call.request_id)


def _call(exchange: Exchange, claim: sigv4.Claim, key: AccessKey, operation: str, params: dict[str, Any]) -> Call:
    caller = Caller(key.id, key.user, exchange.source)
    return Call(claim.service, operation, params, exchange.request_id, caller, claim.region, exchange.endpoint)


def _internal_failure() -> AwsError:
    return AwsError(
        "InternalFailure", "Beanpole made a mistake. Its log has the details under the request id of this answer.", 500
    )


def _unavailable() -> AwsError:
    return AwsError("ServiceUnavailable", "Beanpole cannot answer just now. Please try again in a moment.", 503)
