"""Every request gets an id, is counted, and leaves a line in the log, whatever becomes of it."""

import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable
from dataclasses import dataclass, replace
from typing import Any

from mlm.server.connection import Message, Receive, Scope, Send
from mlm.server.guard import App
from mlm.server.services import Services
from mlm.stats.types import RequestStats
from mlm.units import to_ms

CLIENT_LEFT = 499  # instead of a status that nobody got, as nginx has it
_log = logging.getLogger("mlm.access")
_SANE_ID = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:+/=@-]{0,127}")
_ENDPOINTS = {
    "/": "dashboard",
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/rerank": "rerank",
    "/rerank": "rerank",
    "/tokenize": "tokenize",
    "/detokenize": "detokenize",
    "/openapi.json": "openapi",
    "/v1/models": "models",
    "/health": "health",
    "/ready": "ready",
    "/metrics": "metrics",
}
_FOLDERS = {"/v1/models/": "models", "/admin/": "admin", "/dashboard/": "dashboard"}
_ASKS_A_MODEL = frozenset({"chat", "completions", "embeddings", "rerank"})


@dataclass(frozen=True, slots=True)
class AccessLine:
    """What the log says of one request; as a string, for people."""

    stats: RequestStats

    def __str__(self) -> str:
        document = describe_request(self.stats)
        named = [self.stats.endpoint, _word(document["model"] or "-"), str(document["status"])]
        figures = {
            "error": document["error"],
            "prompt": document["prompt_tokens"] or None,
            "cached": document["cached_tokens"] or None,
            "completion": document["completion_tokens"] or None,
            "queue_ms": document["queue_ms"],
            "ttft_ms": document["ttft_ms"],
            "e2e_ms": document["e2e_ms"],
            "cache": document["cache"],
            "tenant": document["tenant"],
            "id": document["request_id"],
        }
        known = [f"{name}={_word(value)}" for name, value in figures.items() if value is not None]
        return " ".join([*named, *known])


class AccessLog:
    """The outermost part of the server.

    The parts inside leave in ``scope``: ``mlm.key``, the name of a key; ``mlm.stats``, where a
    model was asked; ``mlm.error``, the code of an error that was sent.
    """

    def __init__(self, app: App, services: Services) -> None:
        self._app, self._services = app, services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on."""
        if scope["type"] != "http":
            return  # no lifespan, no web sockets
        started_at = time.monotonic()
        request_id = _read_id(scope) or b"req-" + secrets.token_hex(12).encode()
        status = CLIENT_LEFT

        def note_start(message: Message) -> Awaitable[None]:
            # Not a coroutine of its own: that would be a hundredth of what a token costs.
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = (*message.get("headers", ()), (b"x-request-id", request_id))
                message = {**message, "headers": headers}
            return send(message)

        try:
            await self._app(scope, receive, note_start)
        finally:
            e2e_s = time.monotonic() - started_at
            stats = scope.get("mlm.stats") or _bare(scope, status, e2e_s)
            self._note(
                replace(
                    stats,
                    status=status,
                    tenant=scope.get("mlm.key", ""),
                    request_id=request_id.decode("ascii"),
                ),
                is_read=scope["method"] in ("GET", "HEAD"),
            )

    def _note(self, stats: RequestStats, *, is_read: bool) -> None:
        self._services.responses[stats.endpoint, stats.status] += 1
        if stats.endpoint in _ASKS_A_MODEL:
            self._services.recorder.note(stats)
        elif is_read and stats.status < 400:
            return  # whoever watches asks every second
        level = logging.WARNING if 500 <= stats.status < 600 else logging.INFO
        _log.log(level, AccessLine(stats))


def describe_request(stats: RequestStats) -> dict[str, Any]:
    """Return what is told of a request: figures and names, nothing of its text."""
    return {
        "at": stats.finished_at,
        "request_id": stats.request_id,
        "tenant": stats.tenant or None,
        "model": stats.model or None,
        "endpoint": stats.endpoint,
        "status": stats.status,
        "error": stats.error,
        "cache": stats.cache or None,
        "prompt_tokens": stats.prompt_tokens,
        "completion_tokens": stats.completion_tokens,
        "cached_tokens": stats.cached_tokens,
        "queue_ms": _ms(stats.queue_s),
        "ttft_ms": _ms(stats.ttft_s),
        "e2e_ms": _ms(stats.e2e_s),
    }


def _read_id(scope: Scope) -> bytes | None:
    """Return the id that the client gave, if it is one that may stand in a log."""
    given = [value for name, value in scope["headers"] if name == b"x-request-id"]
    return given[0] if len(given) == 1 and _SANE_ID.fullmatch(given[0]) else None


def _bare(scope: Scope, status: int, e2e_s: float) -> RequestStats:
    """Return what is known of a request that came to no model."""
    path = scope["path"]
    folder = next((name for start, name in _FOLDERS.items() if path.startswith(start)), "other")
    error = scope.get("mlm.error") or ("cancelled" if status == CLIENT_LEFT else None)
    return RequestStats(
        finished_at=time.time(),
        model="",
        endpoint=_ENDPOINTS.get(path, folder),
        ok=status < 400,
        error=error,
        cache="",
        prompt_tokens=0,
        cached_tokens=0,
        completion_tokens=0,
        queue_s=None,
        ttft_s=None,
        itl_s=(),
        e2e_s=e2e_s,
    )


def _word(value: object) -> str:
    """Return a value as one word of a line."""
    text = str(value)
    return text if text.isprintable() and " " not in text else json.dumps(text)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else to_ms(seconds)
