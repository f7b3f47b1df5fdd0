"""One request and its answers: what they took, as headers, as the object ``mlm``, as statistics."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mlm.engine.messages import Finished
from mlm.server.answers import CacheWord
from mlm.server.connection import Headers
from mlm.server.errors import ApiError
from mlm.server.fields import ignored_header
from mlm.server.flight import Flight
from mlm.server.model import ServedModel, config_id
from mlm.server.reply import Totals
from mlm.server.schema import TextRequest
from mlm.stats.types import RequestStats
from mlm.units import to_ms

_WORDS: tuple[CacheWord, ...] = ("bypass", "miss", "shared", "hit")  # the first of them counts


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers to a request."""

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
    def own(self) -> Finished | None:
        """How the answer ended, if it was made for this request."""
        return self.flight.finished if self.cache_word in ("miss", "bypass") else None


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that has its answers on their way."""

    started_at: float  # on the monotonic clock
    request: TextRequest
    model: ServedModel
    choices: tuple[Choice, ...]  # those of one prompt together

    @property
    def error(self) -> ApiError | None:
        """What ended one of the answers, and so all of them."""
        return next((c.flight.error for c in self.choices if c.flight.error is not None), None)

    @property
    def accepted(self) -> bool:
        """Whether all answers are certain to come."""
        return all(choice.flight.accepted for choice in self.choices)

    @property
    def over(self) -> bool:
        """Whether nothing more will come."""
        return all(choice.flight.over for choice in self.choices)

    @property
    def cache_word(self) -> CacheWord:
        """How the response cache took part: ``hit`` means that nothing had to be computed."""
        return min((choice.cache_word for choice in self.choices), key=_WORDS.index)

    @property
    def ttft_s(self) -> float | None:
        """Seconds from the request to the first token of its first answer."""
        firsts = [c.flight.first_token_at for c in self.choices]
        known = [first for first in firsts if first is not None]
        return max(min(known) - self.started_at, 0.0) if known else None

    def headers(self) -> Headers:
        """Return the headers that are known before the first token."""
        headers = [
            (b"cache-control", b"no-store"),
            (b"x-mlm-cache", self.cache_word.encode()),
            (b"x-mlm-load-ms", b"%.1f" % to_ms(self._load_s)),
            (b"x-mlm-config", config_id(self.model.config).encode()),
            (b"x-mlm-engine", self._engine.encode("ascii", "replace")),
        ]
        return headers + ignored_header(self.request.ignored)

    def late_headers(self) -> Headers:
        """Return the headers that are known when the answers are complete."""
        truth = self.totals().truth
        for name in ("queue_ms", "ttft_ms"):
            yield b"x-mlm-" + name.replace("_", "-").encode(), b"%.1f" % truth[name]
        yield b"x-mlm-cached-tokens", b"%d" % truth["cached_tokens"]

    def totals(self) -> Totals:
        """Return the figures of this request, whose flights have finished."""
        counts = {
            "prompt_tokens": self._per_prompt(lambda finished: finished.prompt_tokens),
            "cached_tokens": self._per_prompt(lambda finished: finished.cached_tokens),
            "completion_tokens": sum(f.completion_tokens for f in self._finished()),
        }
        return Totals(
            **counts,
            truth={
                "cache": self.cache_word,
                "queue_ms": to_ms(max(map(_queue_s, self._flights()), default=0.0)),
                "load_ms": to_ms(self._load_s),
                "ttft_ms": to_ms(self.ttft_s or 0.0),
                "prefill_ms": to_ms(max(finished.prefill_s for finished in self._finished())),
                "decode_ms": to_ms(max(finished.decode_s for finished in self._finished())),
                "e2e_ms": to_ms(time.monotonic() - self.started_at),
                **counts,
                "config": config_id(self.model.config),
                "engine": self._engine,
            },
        )

    def to_stats(self, endpoint: str, error: str | None) -> RequestStats:
        """Return what is remembered of it. What a shared answer took counts once."""
        own = {id(choice.flight): choice.flight for choice in self.choices if choice.own}.values()
        return RequestStats(
            finished_at=time.time(),
            model=self.model.model_id,
            endpoint=endpoint,
            ok=error is None,
            error=error,
            cache=self.cache_word,
            prompt_tokens=sum(group[0].flight.prompt_tokens or 0 for group in self._prompts()),
            cached_tokens=sum(
                min((choice.own.cached_tokens for choice in group if choice.own), default=0)
                for group in self._prompts()
            ),
            completion_tokens=sum(choice.flight.completion_tokens for choice in self.choices),
            queue_s=max((_queue_s(flight) for flight in own if flight.finished), default=None),
            ttft_s=self.ttft_s,
            itl_s=tuple(gap for flight in own for gap in flight.gaps_s()),
            e2e_s=time.monotonic() - self.started_at,
        )

    @property
    def _load_s(self) -> float:
        return max(choice.flight.load_s for choice in self.choices)

    @property
    def _engine(self) -> str:
        return self.choices[0].flight.engine

    def _prompts(self) -> Iterable[tuple[Choice, ...]]:
        """Return the choices, those of each prompt together."""
        n = self.request.n
        return (self.choices[i : i + n] for i in range(0, len(self.choices), n))

    def _per_prompt(self, figure: Callable[[Finished], int]) -> int:
        """Add up what each prompt took once: the least that one of its answers tells."""
        groups = ([c.flight.finished for c in group] for group in self._prompts())
        return sum(min(figure(f) for f in group if f is not None) for group in groups)

    def _flights(self) -> list[Flight]:
        return [choice.flight for choice in self.choices if choice.flight.finished is not None]

    def _finished(self) -> list[Finished]:
        return [c.flight.finished for c in self.choices if c.flight.finished is not None]


def _queue_s(flight: Flight) -> float:
    """Return how long an answer waited for its slot: in the pool, then in the worker."""
    return flight.queue_s + (flight.finished.queue_s if flight.finished is not None else 0.0)
