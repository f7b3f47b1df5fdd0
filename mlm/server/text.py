"""The two endpoints that answer with text: one whole answer, or a stream of it."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mlm.server.answers import CacheWord, is_cacheable
from mlm.server.connection import (
    Client,
    ClientGone,
    Headers,
    Receive,
    Scope,
    Send,
    read_body,
    send_whole,
    waiting_client,
)
from mlm.server.errors import ApiError, invalid
from mlm.server.flight import Flight, Watcher
from mlm.server.model import ServedModel, config_id
from mlm.server.reply import Ending, Reply
from mlm.server.schema import TextRequest
from mlm.server.services import Services
from mlm.server.sse import DONE, HEADERS, PING, encode_error
from mlm.server.strict_json import read_object
from mlm.stats.types import RequestStats

_log = logging.getLogger("mlm.server")
_MAX_IGNORED = 20  # names in X-Mlm-Ignored


@dataclass(slots=True)
class Exchange:
    """One request, from its arrival to the end of its answer."""

    endpoint: str
    started_at: float = field(default_factory=time.monotonic)
    request: TextRequest | None = None
    model: ServedModel | None = None
    flight: Flight | None = None
    joined: bool = False  # somebody else had started the flight …
    late: bool = False  # … and it was over already
    cached: bool = True  # the cache was asked

    @property
    def cache_word(self) -> CacheWord:
        """How the response cache took part."""
        if not self.cached:
            return "bypass"
        if self.late or (self.flight is not None and self.flight.replayed):
            return "hit"
        return "shared" if self.joined else "miss"

    @property
    def ttft_s(self) -> float | None:
        """Seconds from the request to the first token of its answer."""
        first = self.flight.first_token_at if self.flight else None
        return None if first is None else max(first - self.started_at, 0.0)


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
        """Answer one request."""
        exchange = Exchange(self._name)
        error: str | None = "internal_error"
        try:
            request = self._read(read_object(await read_body(receive)))
            await self._open(exchange, request, scope)
            error = await self._answer(exchange, scope, receive, send)
        except ClientGone:
            error = "cancelled"
        except ApiError as refusal:
            error = refusal.code
            raise
        finally:
            self._record(exchange, error)

    async def _open(self, exchange: Exchange, request: TextRequest, scope: Scope) -> None:
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
        exchange.request, exchange.model = request, model
        exchange.cached = is_cacheable(model, generate) and not _no_store(scope)
        exchange.flight, exchange.joined = services.answers.open(
            model, generate, use_cache=exchange.cached
        )
        exchange.late = exchange.flight.over

    async def _answer(
        self, exchange: Exchange, scope: Scope, receive: Receive, send: Send
    ) -> str | None:
        """Send the answer; return the code of the error that ended it, if one did."""
        assert exchange.flight and exchange.request
        with exchange.flight.watch() as watcher:
            async with waiting_client(scope, receive, send) as client:
                whole = not exchange.request.stream
                await _wait_until(exchange.flight, client, watcher, whole=whole)
                if exchange.flight.error is not None:
                    raise exchange.flight.error
                if exchange.request.stream:
                    return await self._stream(exchange, client, watcher)
                await self._send_document(exchange, send)
        return None

    async def _send_document(self, exchange: Exchange, send: Send) -> None:
        ending = _ending(exchange)
        assert exchange.request
        reply = self._reply(exchange.request.model)
        document = reply.document(ending)
        headers = [*_headers(exchange, reply), *_truth_headers(ending)]
        headers.append((b"content-type", b"application/json"))
        await send_whole(send, 200, msgspec.json.encode(document), headers)

    async def _stream(self, exchange: Exchange, client: Client, watcher: Watcher) -> str | None:
        flight, request = exchange.flight, exchange.request
        assert flight and request
        reply = self._reply(request.model)
        await client.start(200, [*HEADERS, *_headers(exchange, reply)])
        seen, waiting = 0, reply.opening()
        while True:
            over = flight.over
            fresh = flight.pieces[seen:]
            seen += len(fresh)
            waiting += b"".join(map(reply.piece, fresh))
            if over:
                break
            if waiting or client.is_silent:
                await client.write(waiting or PING)
            waiting = b""
            await client.wait(watcher)
        if flight.error is not None:
            await client.write(waiting + encode_error(flight.error), last=True)
            return flight.error.code
        closing = reply.closing(_ending(exchange), include_usage=request.include_usage)
        await client.write(waiting + closing + DONE, last=True)
        return None

    def _record(self, exchange: Exchange, error: str | None) -> None:
        """Note the request in the history, unless it never came as far as a model."""
        if exchange.model is None:
            return
        flight = exchange.flight
        finished = flight.finished if flight else None
        own = exchange.cache_word in ("miss", "bypass")
        self._services.recorder.note(
            RequestStats(
                finished_at=time.time(),
                model=exchange.model.model_id,
                endpoint=exchange.endpoint,
                ok=error is None,
                error=error,
                cache=exchange.cache_word,
                prompt_tokens=(flight.prompt_tokens or 0) if flight else 0,
                cached_tokens=finished.cached_tokens if finished and own else 0,
                completion_tokens=finished.completion_tokens if finished else 0,
                queue_s=finished.queue_s if finished and own else None,
                ttft_s=exchange.ttft_s,
                itl_s=flight.gaps_s() if flight and own else (),
                e2e_s=time.monotonic() - exchange.started_at,
            )
        )


async def _wait_until(flight: Flight, client: Client, watcher: Watcher, *, whole: bool) -> None:
    """Wait for the end of the answer, or only until it is certain that there will be one."""
    while not (flight.over or (flight.accepted and not whole)):
        await client.wait(watcher)


def _ending(exchange: Exchange) -> Ending:
    """Return how the flight ended, with the figures of this request."""
    flight, model = exchange.flight, exchange.model
    assert flight and model and flight.finished
    finished = flight.finished
    return Ending(
        text="".join(flight.pieces),
        reason=finished.reason,
        prompt_tokens=finished.prompt_tokens,
        cached_tokens=finished.cached_tokens,
        completion_tokens=finished.completion_tokens,
        truth={
            "cache": exchange.cache_word,
            "queue_ms": _ms(finished.queue_s),
            "load_ms": _ms(flight.load_s),
            "ttft_ms": _ms(exchange.ttft_s),
            "prefill_ms": _ms(finished.prefill_s),
            "decode_ms": _ms(finished.decode_s),
            "e2e_ms": _ms(time.monotonic() - exchange.started_at),
            "prompt_tokens": finished.prompt_tokens,
            "cached_tokens": finished.cached_tokens,
            "completion_tokens": finished.completion_tokens,
            "config": config_id(model.config),
            "engine": flight.engine,
        },
    )


def _headers(exchange: Exchange, reply: Reply) -> Headers:
    """Return the headers that are known before the first token."""
    assert exchange.flight and exchange.model and exchange.request
    yield b"cache-control", b"no-store"
    yield b"x-request-id", reply.reply_id.encode()
    yield b"x-mlm-cache", exchange.cache_word.encode()
    yield b"x-mlm-load-ms", b"%.1f" % _ms(exchange.flight.load_s)
    yield b"x-mlm-config", config_id(exchange.model.config).encode()
    yield b"x-mlm-engine", exchange.flight.engine.encode("ascii", "replace")
    if ignored := [name for name in exchange.request.ignored if _is_plain(name)]:
        yield b"x-mlm-ignored", ", ".join(ignored[:_MAX_IGNORED]).encode()


def _truth_headers(ending: Ending) -> Headers:
    """Return the headers that are known when the answer is complete."""
    yield b"x-mlm-queue-ms", b"%.1f" % ending.truth["queue_ms"]
    yield b"x-mlm-ttft-ms", b"%.1f" % (ending.truth["ttft_ms"] or 0.0)
    yield b"x-mlm-cached-tokens", b"%d" % ending.cached_tokens


def _is_plain(name: str) -> bool:
    """Tell whether a name that a client sent may be sent back in a header."""
    return len(name) <= 64 and name.isascii() and name.replace("_", "").replace("-", "").isalnum()


def _no_store(scope: Scope) -> bool:
    """Tell whether the client wants neither a kept answer nor its own answer kept."""
    wishes = b",".join(value for name, value in scope["headers"] if name == b"cache-control")
    return b"no-store" in wishes.lower() or b"no-cache" in wishes.lower()


def _ms(seconds: float | None) -> float:
    return round((seconds or 0.0) * 1000, 3)
