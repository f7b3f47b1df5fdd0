"""The two endpoints that answer with text: whole answers, or a stream of them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from mlm.client import BENCH_AGENT
from mlm.engine.messages import Generate
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
from mlm.server.conversation import refuse_pictures
from mlm.server.errors import ApiError, invalid
from mlm.server.exchange import Choice, Exchange
from mlm.server.flight import Flight, Watcher
from mlm.server.model import ServedModel
from mlm.server.reply import ChoiceWriter, Reply
from mlm.server.schema import TextRequest
from mlm.server.services import Services
from mlm.server.sse import DONE, HEADERS, PING, encode_error
from mlm.server.strict_json import read_object

_BLOCK_BYTES = 64 * 1024  # that are written before more is taken from an answer


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
        """Answer one request; what it took is left in `scope` if it came as far as a model."""
        started_at = time.monotonic()
        exchange: Exchange | None = None
        error: str | None = "internal_error"
        try:
            request = self._read(read_object(await read_body(receive)))
            exchange = await self._open(request, scope, started_at)
            error = await self._answer(exchange, receive, send)
        except ClientGone:
            error = "cancelled"
        except ApiError as refusal:
            error = refusal.code
            raise
        finally:
            if exchange is not None:
                scope["mlm.stats"] = exchange.to_stats(self._name, error)

    async def _open(self, request: TextRequest, scope: Scope, started_at: float) -> Exchange:
        """Have the answer made. It must be watched before the next await."""
        services = self._services
        services.refuse_when_draining()
        model = await services.shelf.find(request.model)
        if model.config.embedding:
            raise invalid(
                f"'{model.model_id}' is an embedding model; it writes no text",
                "model",
                remedy="POST /v1/embeddings (or /v1/rerank) with this model",
            )
        refuse_pictures(request.generate.messages, model)
        places = services.pool.places(model)
        if len(request.generates) > places:
            raise invalid(
                f"{len(request.generates)} answers at once are more than the {places} requests "
                f"that may run or wait for '{model.model_id}'",
                "n" if request.n > 1 else "prompt",
                remedy="ask for fewer, or serve it with a larger --max-queue",
            )
        asked = [_complete(generate, model, scope) for generate in request.generates]
        choices = (
            self._choose(model, generate, scope, variant=number % request.n)
            for number, generate in enumerate(asked)
        )
        return Exchange(started_at, request, model, tuple(choices))

    def _choose(
        self, model: ServedModel, generate: Generate, scope: Scope, *, variant: int
    ) -> Choice:
        cached = is_cacheable(model, generate) and not _no_store(scope)
        flight, joined = self._services.answers.open(
            model,
            generate,
            use_cache=cached,
            source="bench" if _is_bench(scope) else "serve",
            variant=variant,
        )
        return Choice(flight, cached, joined, late=flight.over)

    async def _answer(self, exchange: Exchange, receive: Receive, send: Send) -> str | None:
        """Send the answer; return the code of the error that ended it, if one did.

        Raises:
            ApiError: there is none, and nothing has been sent yet.
            ClientGone: the client has left.
        """
        with Watcher(choice.flight for choice in exchange.choices) as watcher:
            # In a task of its own: what wakes for every token is then not at the end of all that
            # the server and the routes await, which is an eighth of what a token costs.
            return await asyncio.create_task(self._send(exchange, receive, send, watcher))

    async def _send(
        self, exchange: Exchange, receive: Receive, send: Send, watcher: Watcher
    ) -> str | None:
        """Do what `_answer` does, while ``watcher`` watches."""
        request = exchange.request
        async with waiting_client(receive, send) as client:
            await _wait_until(exchange, client, watcher, whole=not request.stream)
            if exchange.error is not None:
                raise exchange.error
            reply = self._reply(request.model, request.names)
            if request.stream:
                return await _stream(exchange, reply, client, watcher)
            choices = [
                writer.whole("".join(flight.pieces), flight.finished.reason)
                for flight, writer in _write(exchange, reply)
                if flight.finished is not None
            ]
            headers = [*exchange.headers(), *exchange.late_headers()]
            headers.append((b"content-type", b"application/json"))
            document = reply.document(choices, exchange.totals())
            await send_whole(send, 200, msgspec.json.encode(document), headers)
            return None


async def _wait_until(exchange: Exchange, client: Client, watcher: Watcher, *, whole: bool) -> None:
    """Wait for the end of the answers, or only until it is certain that there will be some."""
    while exchange.error is None and not (exchange.over if whole else exchange.accepted):
        await client.wait(watcher)


async def _stream(exchange: Exchange, reply: Reply, client: Client, watcher: Watcher) -> str | None:
    """Pass the answers on as they come in; return the code of the error that ended them."""
    await client.start(200, [*HEADERS, *exchange.headers()])
    feeds = [_Feed(flight, writer) for flight, writer in _write(exchange, reply)]
    waiting = b"".join(feed.writer.opening() for feed in feeds)
    while True:
        room, is_any_over = _BLOCK_BYTES, False
        for feed in feeds:
            fresh = feed.fresh(room)
            room -= len(fresh)
            waiting += fresh
            is_any_over = is_any_over or feed.flight.over
        if room <= 0:  # there may be more; to a slow reader it is written bit by bit
            await client.write(waiting)
            waiting = b""
            continue
        if is_any_over:
            if exchange.error is not None:
                await client.write(waiting + encode_error(exchange.error), last=True)
                return exchange.error.code
            ended = [feed for feed in feeds if feed.flight.over]
            if len(ended) == len(feeds):
                break
            waiting += b"".join([feed.close() for feed in ended])
            feeds = [feed for feed in feeds if feed not in ended]
        if waiting or client.is_silent:
            await client.write(waiting or PING)
        waiting = b""
        await client.wait(watcher)
    *others, last = feeds
    waiting += b"".join([feed.close() for feed in others])
    totals = exchange.totals()
    truth = {"mlm": totals.truth}
    if exchange.request.include_usage:
        waiting += last.close() + reply.event([], usage=totals.usage, **truth)
    else:
        waiting += last.close(**truth)
    await client.write(waiting + DONE, last=True)
    return None


@dataclass(slots=True, eq=False)
class _Feed:
    """One choice on its way into a stream."""

    flight: Flight
    writer: ChoiceWriter
    _n_seen: int = 0

    def fresh(self, room: int) -> bytes:
        """Return what has come since the last call, or no more of it than fills ``room``."""
        pieces, written = self.flight.pieces, b""
        while self._n_seen < len(pieces) and len(written) < room:
            written += self.writer.piece(pieces[self._n_seen])
            self._n_seen += 1
        return written

    def close(self, **more: Any) -> bytes:
        """Return the end of a choice that has finished."""
        assert self.flight.finished is not None
        return self.writer.closing(self.flight.finished.reason, **more)


def _write(exchange: Exchange, reply: Reply) -> list[tuple[Flight, ChoiceWriter]]:
    """Return the flights of the choices, each with what writes it."""
    written = []
    for index, choice in enumerate(exchange.choices):
        flight = choice.flight
        tokens = flight.tokens if exchange.request.wants_logprobs else None
        written.append((flight, reply.writer(reply, index, flight.form, tokens)))
    return written


def _complete(generate: Generate, model: ServedModel, scope: Scope) -> Generate:
    """Return the request with what its body does not say."""
    return msgspec.structs.replace(
        generate,
        tenant=scope.get("mlm.tenant", ""),
        max_tokens=generate.max_tokens or model.config.max_tokens,
    )


def _is_bench(scope: Scope) -> bool:
    """Tell whether it is `mlm bench` that asks."""
    return (b"user-agent", BENCH_AGENT.encode()) in scope["headers"]


def _no_store(scope: Scope) -> bool:
    """Tell whether the client wants neither a kept answer nor its own answer kept."""
    wishes = b",".join(value for name, value in scope["headers"] if name == b"cache-control")
    return b"no-store" in wishes.lower() or b"no-cache" in wishes.lower()
