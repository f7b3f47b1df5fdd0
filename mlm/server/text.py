"""The two endpoints that answer with text: one whole answer, or a stream of it."""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from mlm.client import BENCH_AGENT
from mlm.server.answers import is_cacheable
from mlm.server.connection import (
    Client,
    ClientGone,
    Receive,
    Scope,
    Send,
    read_body,
    send_whole,
    waiting_client,
)
from mlm.server.errors import ApiError, invalid
from mlm.server.exchange import Exchange
from mlm.server.flight import Flight, Watcher
from mlm.server.reply import Reply
from mlm.server.schema import TextRequest
from mlm.server.services import Services
from mlm.server.sse import DONE, HEADERS, PING, encode_error
from mlm.server.strict_json import read_object


class TextEndpoint:
    """An ASGI application for one of the two APIs."""

    def __init__(
        self,
        services: Services,
        name: str,
        read: Callable[[dict[str, Any]], TextRequest],
        reply: type[Reply],
    ) -> None:
        self._services, self._name, self._read, self._reply = services, name, read, reply

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, and remember it if it came as far as a model."""
        started_at = time.monotonic()
        exchange: Exchange | None = None
        error: str | None = "internal_error"
        try:
            request = self._read(read_object(await read_body(receive)))
            exchange = await self._open(request, scope, started_at)
            error = await self._answer(exchange, scope, receive, send)
        except ClientGone:
            error = "cancelled"
        except ApiError as refusal:
            error = refusal.code
            raise
        finally:
            if exchange is not None:
                self._services.recorder.note(exchange.to_stats(self._name, error))

    async def _open(self, request: TextRequest, scope: Scope, started_at: float) -> Exchange:
        """Have the answer made. It must be watched before the next await."""
        services = self._services
        services.refuse_when_draining()
        model = await services.shelf.find(request.model)
        if model.config.embedding:
            raise invalid(f"'{model.model_id}' is an embedding model; it writes no text", "model")
        generate = msgspec.structs.replace(
            request.generate,
            tenant=scope.get("mlm.tenant", ""),
            max_tokens=request.generate.max_tokens or model.config.max_tokens,
        )
        cached = is_cacheable(model, generate) and not _no_store(scope)
        flight, joined = services.answers.open(
            model, generate, use_cache=cached, source="bench" if _is_bench(scope) else "serve"
        )
        return Exchange(started_at, request, model, flight, cached, joined, late=flight.over)

    async def _answer(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> str | None:
        """Send the answer; return the code of the error that ended it, if one did.

        Raises:
            ApiError: there is none, and nothing has been sent yet.
            ClientGone: the client has left.
        """
        flight, stream = exchange.flight, exchange.request.stream
        with flight.watch() as watcher:
            async with waiting_client(scope, receive, send) as client:
                await _wait_until(flight, client, watcher, whole=not stream)
                if flight.error is not None:
                    raise flight.error
                reply = self._reply(exchange.request.model, flight.form, exchange.request.names)
                if stream:
                    return await _stream(exchange, reply, client, watcher)
                headers = [*exchange.headers(reply), *exchange.late_headers()]
                headers.append((b"content-type", b"application/json"))
                document = reply.document(exchange.ending())
                await send_whole(send, 200, msgspec.json.encode(document), headers)
                return None


async def _wait_until(flight: Flight, client: Client, watcher: Watcher, *, whole: bool) -> None:
    """Wait for the end of the answer, or only until it is certain that there will be one."""
    while not (flight.over or (flight.accepted and not whole)):
        await client.wait(watcher)


async def _stream(exchange: Exchange, reply: Reply, client: Client, watcher: Watcher) -> str | None:
    """Pass the answer on as it comes in; return the code of the error that ended it, if one did."""
    flight = exchange.flight
    await client.start(200, [*HEADERS, *exchange.headers(reply)])
    seen, waiting = 0, reply.opening()
    while True:
        fresh = flight.pieces[seen:]
        seen += len(fresh)
        waiting += b"".join(map(reply.piece, fresh))
        if flight.over:
            break
        if waiting or client.is_silent:
            await client.write(waiting or PING)
        waiting = b""
        await client.wait(watcher)
    if flight.error is not None:
        await client.write(waiting + encode_error(flight.error), last=True)
        return flight.error.code
    closing = reply.closing(exchange.ending(), include_usage=exchange.request.include_usage)
    await client.write(waiting + closing + DONE, last=True)
    return None


def _is_bench(scope: Scope) -> bool:
    """Tell whether it is `mlm bench` that asks."""
    return (b"user-agent", BENCH_AGENT.encode()) in scope["headers"]


def _no_store(scope: Scope) -> bool:
    """Tell whether the client wants neither a kept answer nor its own answer kept."""
    wishes = b",".join(value for name, value in scope["headers"] if name == b"cache-control")
    return b"no-store" in wishes.lower() or b"no-cache" in wishes.lower()
