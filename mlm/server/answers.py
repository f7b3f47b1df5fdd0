"""Where answers come from: the cache, a generation that is on its way already, or a new one."""

import asyncio
import hashlib
import importlib.metadata
import time
from functools import cache
from typing import Literal
from weakref import WeakSet

import msgspec

import mlm
from mlm.engine.messages import Accepted, Finished, Generate, TokenOut
from mlm.engine.process import Event, new_request_id
from mlm.server.cache import ResponseCache, StoredAnswer, Template
from mlm.server.errors import ApiError
from mlm.server.flight import Flight
from mlm.server.model import ServedModel
from mlm.server.observer import Observer
from mlm.server.pool import Lease, Pool
from mlm.stats.types import Source

CacheWord = Literal["hit", "miss", "shared", "bypass"]  # as X-Mlm-Cache says it

# Of the runtime config, what can change an answer.
_DECISIVE = ("n_ctx", "n_parallel", "type_k", "type_v", "flash_attn", "swa_full", "kv_unified")


class Answers:
    """Gives every request a flight to watch; equal requests that may share one do."""

    def __init__(self, pool: Pool, cache: ResponseCache, observer: Observer) -> None:
        self._pool, self._cache, self._observer = pool, cache, observer
        self._in_flight: dict[bytes, Flight] = {}  # those that others may share
        self._flights: WeakSet[Flight] = WeakSet()

    def open(
        self,
        model: ServedModel,
        generate: Generate,
        *,
        use_cache: bool,
        source: Source = "serve",
        variant: int = 0,
    ) -> tuple[Flight, bool]:
        """Return the flight of the answer, and whether somebody else had started it already.

        Watch it before the next await: a flight ends when its last watcher leaves. Answers that
        may differ are asked for apart by their ``variant``.
        """
        if not (use_cache and is_cacheable(model, generate)):
            flight = Flight(lambda flight: self._generate(flight, model, generate), source)
            self._flights.add(flight)
            return flight, False
        question = _question(model, generate, 0 if _is_certain(generate) else variant)
        shared = self._in_flight.get(question)
        if shared is not None and shared.wanted:
            return shared, True
        flight = Flight(
            lambda flight: self._find_or_generate(flight, model, generate, question), source
        )
        self._in_flight[question] = flight
        flight.when_done(lambda: None if flight.storing else self._land(question, flight))
        self._flights.add(flight)
        return flight, False

    def fail_all(self, error: ApiError) -> None:
        """End all answers that are on their way."""
        for flight in list(self._flights):
            flight.fail(error)

    async def _find_or_generate(
        self, flight: Flight, model: ServedModel, generate: Generate, question: bytes
    ) -> None:
        template = await self._cache.template(model.identity)
        ttl_s = model.config.cache_ttl_s
        if template and (answer := await self._cache.find(_key(question, template), ttl_s)):
            _replay(flight, answer)
            return
        lease = await self._generate(flight, model, generate)
        if flight.finished is None or flight.finished.reason == "cancelled":
            return
        loop = asyncio.get_running_loop()
        flight.storing = True
        self._cache.store(
            _key(question, _template_of(lease)),
            model.model_id,
            _storable(flight, flight.finished),
            ttl_s,
            then=lambda: loop.call_soon_threadsafe(self._land, question, flight),
        )

    async def _generate(self, flight: Flight, model: ServedModel, generate: Generate) -> Lease:
        async with self._pool.lease(model) as lease:
            flight.load_s, flight.queue_s = lease.load_s, lease.queue_s
            flight.engine = lease.worker.ready.engine
            self._cache.remember_template(model.identity, _template_of(lease))
            request = msgspec.structs.replace(generate, request_id=new_request_id())
            # A grammar slows an answer down: that is not what the machine can do.
            grammar = generate.sampling.grammar or generate.json_format or generate.tools

            def put(event: Event) -> None:
                flight.put(event)
                if isinstance(event, Finished) and lease.is_alone() and not grammar:
                    self._observer.note_answer(model, lease.worker, event, flight.source)

            await lease.worker.answer(request, put)
            return lease

    def _land(self, question: bytes, flight: Flight) -> None:
        if self._in_flight.get(question) is flight:
            del self._in_flight[question]


def is_cacheable(model: ServedModel, generate: Generate) -> bool:
    """Tell whether the same request gives the same answer, or the model's policy does not mind."""
    policy = model.config.response_cache
    return policy == "all" or (policy == "deterministic" and _is_certain(generate))


def _is_certain(generate: Generate) -> bool:
    """Tell whether the same request gives the same answer."""
    return generate.sampling.temperature == 0 or generate.sampling.seed is not None


def _question(model: ServedModel, generate: Generate, variant: int) -> bytes:
    """Return the digest of everything that decides about an answer, but for the template."""
    # Not sorted: a template shows a tool, and a grammar the properties of a schema, as they came.
    asked = msgspec.to_builtins(generate, str_keys=True)
    for plumbing in ("request_id", "tenant", "cache_prompt", "type"):
        asked.pop(plumbing, None)
    config = [getattr(model.config, name) for name in _DECISIVE]
    versions = (mlm.__version__, _engine_version())
    parts = (generate.tenant, model.identity, config, asked, variant, versions)
    return hashlib.sha256(msgspec.json.encode(parts)).digest()


def _key(question: bytes, template: Template) -> bytes:
    """Return the cache's key: the question, the template, and the date if the template shows it."""
    today = time.strftime("%Y-%m-%d") if template.uses_date else ""
    return hashlib.sha256(question + template.sha256.encode() + today.encode()).digest()


@cache
def _engine_version() -> str:
    try:
        return importlib.metadata.version("llama-cpp-python")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _template_of(lease: Lease) -> Template:
    ready = lease.worker.ready
    return Template(ready.template_sha256, ready.template_uses_date)


def _storable(flight: Flight, finished: Finished) -> StoredAnswer:
    return StoredAnswer(
        pieces=tuple(flight.pieces),
        reason=finished.reason,
        prompt_tokens=finished.prompt_tokens,
        completion_tokens=finished.completion_tokens,
        engine=flight.engine,
        form=flight.form,
        tokens=flight.tokens,
    )


def _replay(flight: Flight, answer: StoredAnswer) -> None:
    """Have ``flight`` end at once with an answer that was given before."""
    flight.replayed, flight.engine = True, answer.engine
    flight.put(Accepted(request_id=0, prompt_tokens=answer.prompt_tokens, form=answer.form))
    flight.tokens += answer.tokens
    for piece in answer.pieces:
        flight.put(TokenOut(request_id=0, text=piece))
    flight.put(
        Finished(
            request_id=0,
            reason=answer.reason,  # type: ignore[arg-type]
            prompt_tokens=answer.prompt_tokens,
            cached_tokens=0,
            completion_tokens=answer.completion_tokens,
            queue_s=0.0,
            prefill_s=0.0,
            decode_s=0.0,
        )
    )
