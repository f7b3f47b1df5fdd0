"""One request and its answer: what it took, as headers, as the object ``mlm``, as statistics."""

import time
from dataclasses import dataclass

from mlm.server.answers import CacheWord
from mlm.server.connection import Headers
from mlm.server.flight import Flight
from mlm.server.model import ServedModel, config_id
from mlm.server.reply import Ending, Reply
from mlm.server.schema import TextRequest
from mlm.stats.types import RequestStats

_MAX_IGNORED = 20  # names in X-Mlm-Ignored


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that has an answer on its way."""

    started_at: float  # on the monotonic clock
    request: TextRequest
    model: ServedModel
    flight: Flight
    cached: bool  # the response cache was asked
    joined: bool  # somebody else had started the flight …
    late: bool  # … and it was over already

    @property
    def cache_word(self) -> CacheWord:
        """How the response cache took part."""
        if not self.cached:
            return "bypass"
        if self.late or self.flight.replayed:
            return "hit"
        return "shared" if self.joined else "miss"

    @property
    def ttft_s(self) -> float | None:
        """Seconds from the request to the first token of its answer."""
        first = self.flight.first_token_at
        return None if first is None else max(first - self.started_at, 0.0)

    def headers(self, reply: Reply) -> Headers:
        """Return the headers that are known before the first token."""
        headers = [
            (b"cache-control", b"no-store"),
            (b"x-request-id", reply.reply_id.encode()),
            (b"x-mlm-cache", self.cache_word.encode()),
            (b"x-mlm-load-ms", b"%.1f" % _ms(self.flight.load_s)),
            (b"x-mlm-config", config_id(self.model.config).encode()),
            (b"x-mlm-engine", self.flight.engine.encode("ascii", "replace")),
        ]
        if ignored := [name for name in self.request.ignored if _is_plain(name)]:
            headers.append((b"x-mlm-ignored", ", ".join(ignored[:_MAX_IGNORED]).encode()))
        return headers

    def late_headers(self) -> Headers:
        """Return the headers that are known when the answer is complete."""
        truth = self.ending().truth
        for name in ("queue_ms", "ttft_ms"):
            yield b"x-mlm-" + name.replace("_", "-").encode(), b"%.1f" % truth[name]
        yield b"x-mlm-cached-tokens", b"%d" % truth["cached_tokens"]

    def ending(self) -> Ending:
        """Return how the finished flight ended, with the figures of this request."""
        finished = self.flight.finished
        assert finished is not None
        return Ending(
            text="".join(self.flight.pieces),
            reason=finished.reason,
            prompt_tokens=finished.prompt_tokens,
            cached_tokens=finished.cached_tokens,
            completion_tokens=finished.completion_tokens,
            truth={
                "cache": self.cache_word,
                "queue_ms": _ms(finished.queue_s),
                "load_ms": _ms(self.flight.load_s),
                "ttft_ms": _ms(self.ttft_s),
                "prefill_ms": _ms(finished.prefill_s),
                "decode_ms": _ms(finished.decode_s),
                "e2e_ms": _ms(time.monotonic() - self.started_at),
                "prompt_tokens": finished.prompt_tokens,
                "cached_tokens": finished.cached_tokens,
                "completion_tokens": finished.completion_tokens,
                "config": config_id(self.model.config),
                "engine": self.flight.engine,
            },
        )

    def to_stats(self, endpoint: str, error: str | None) -> RequestStats:
        """Return what is remembered of it. What a shared answer took counts once."""
        finished = self.flight.finished
        own = finished if self.cache_word in ("miss", "bypass") else None
        return RequestStats(
            finished_at=time.time(),
            model=self.model.model_id,
            endpoint=endpoint,
            ok=error is None,
            error=error,
            cache=self.cache_word,
            prompt_tokens=self.flight.prompt_tokens or 0,
            cached_tokens=own.cached_tokens if own else 0,
            completion_tokens=self.flight.completion_tokens,
            queue_s=own.queue_s if own else None,
            ttft_s=self.ttft_s,
            itl_s=self.flight.gaps_s() if own else (),
            e2e_s=time.monotonic() - self.started_at,
        )


def _is_plain(name: str) -> bool:
    """Tell whether a name that a client sent may be sent back in a header."""
    return len(name) <= 64 and name.isascii() and name.replace("_", "").replace("-", "").isalnum()


def _ms(seconds: float | None) -> float:
    return round((seconds or 0.0) * 1000, 3)
