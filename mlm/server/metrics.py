"""``GET /metrics``: what Prometheus collects, all of it read from sums that are kept anyway.

A model is a label only once it was found on the shelf, and of models there are at most
`mlm.stats.recorder.MAX_MODELS`; endpoints, outcomes and statuses are short lists of our own. So no
client can make series.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator

from prometheus_client.exposition import generate_latest as write_text
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import CollectorRegistry

import mlm
from mlm.server.families import Buckets, counter, gauge, histogram
from mlm.server.machine_metrics import Scene, describe_engines, describe_machine
from mlm.server.services import Services
from mlm.stats.tally import Spread, Tally

_OPENMETRICS = "application/openmetrics-text"
_TEXT = "text/plain; version=0.0.4; charset=utf-8"
# Powers of two times a millisecond: at these the digests count exactly.
_BOUNDS_S = tuple(0.001 * 2**power for power in range(21))
_GAPS_S, _WAITS_S, _ANSWERS_S, _LOADS_S = (
    _BOUNDS_S[:14],  # 1 ms to 8 s
    _BOUNDS_S[:18],  # 1 ms to 131 s
    _BOUNDS_S[3:],  # 8 ms to 17 min
    _BOUNDS_S[6:],  # 64 ms to 17 min
)


class Metrics:
    """The figures of one server, in a registry of their own."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._scene = Scene(services)
        self.registry = CollectorRegistry()
        self.registry.register(self)

    async def write(self, accept: str) -> tuple[bytes, str]:
        """Return the page, and its content type, in the format that ``accept`` asks for."""
        self._scene = await Scene.of(self._services)
        found = _Found(list(self.registry.collect()))  # here, where nothing changes meanwhile
        if _OPENMETRICS in accept:
            kind = openmetrics.CONTENT_TYPE_LATEST
            return await asyncio.to_thread(openmetrics.generate_latest, found), kind
        return await asyncio.to_thread(write_text, found), _TEXT

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        tallies = self._services.recorder.models
        yield from _describe_requests(tallies)
        yield from _describe_times(tallies)
        yield from _describe_server(self._services)
        yield from _describe_cache(tallies, self._scene.cached)
        yield from _describe_pool(self._services, tallies)
        yield from describe_engines(self._scene)
        yield from describe_machine(self._scene)

    def describe(self) -> Iterable[Metric]:
        """Return nothing: the registry need not look for names that are taken."""
        return ()


class _Found:
    """Families that were collected already, as an encoder wants them."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> list[Metric]:
        """Return them."""
        return self._families


def _describe_requests(tallies: dict[str, Tally]) -> Iterator[Metric]:
    yield counter(
        "mlm_requests_total",
        "Requests that came as far as a model, by how they ended: ok, or the code of an error",
        "model endpoint outcome",
        (
            ((model, *outcome), n)
            for model, tally in tallies.items()
            for outcome, n in tally.outcomes.items()
        ),
    )
    tokens: tuple[tuple[str, str, Callable[[Tally], int]], ...] = (
        ("prompt", "Tokens of prompts", lambda tally: tally.prompt_tokens),
        ("cached_prompt", "Tokens of prompts that were in a KV cache", lambda t: t.cached_tokens),
        ("completion", "Tokens of answers", lambda tally: tally.completion_tokens),
    )
    for name, meaning, read in tokens:
        samples = (((model,), read(tally)) for model, tally in tallies.items())
        yield counter(f"mlm_{name}_tokens_total", meaning, "model", samples)


def _describe_times(tallies: dict[str, Tally]) -> Iterator[Metric]:
    kinds: tuple[tuple[str, str, tuple[float, ...], Callable[[Tally], Spread]], ...] = (
        ("time_to_first_token", "From request to first token", _WAITS_S, lambda t: t.ttft),
        ("inter_token", "Gap between two tokens of an answer", _GAPS_S, lambda t: t.itl),
        ("request_queue", "Wait for a slot", _WAITS_S, lambda t: t.queue),
        ("request_duration", "From request to the end of the answer", _ANSWERS_S, lambda t: t.e2e),
        ("model_load", "Loading a model", _LOADS_S, lambda t: t.load),
    )
    for name, meaning, bounds, choose in kinds:
        samples = (_buckets(model, choose(tally), bounds) for model, tally in tallies.items())
        yield histogram(f"mlm_{name}_seconds", meaning, "model", bounds, samples)


def _buckets(model: str, spread: Spread, bounds: tuple[float, ...]) -> Buckets:
    everything = spread.all
    return (model,), [*everything.cumulate(bounds), everything.count], everything.total_s


def _describe_server(services: Services) -> Iterator[Metric]:
    yield counter(
        "mlm_http_responses_total",
        "Responses to everything that was asked; 499: the client left before there was one",
        "endpoint status",
        (
            ((endpoint, str(status)), n)
            for (endpoint, status), n in sorted(services.responses.items())
        ),
    )
    is_ready = services.preloaded and not services.draining
    yield gauge("mlm_ready", "1 while new requests are welcome", "", [((), float(is_ready))])
    version = [((mlm.__version__,), 1.0)]
    yield gauge("mlm_build_info", "Always 1; the version is a label", "version", version)
    dropped = [((), services.recorder.dropped)]
    yield counter("mlm_history_dropped_total", "Events that did not reach the disk", "", dropped)


def _describe_cache(tallies: dict[str, Tally], stored: dict[str, int]) -> Iterator[Metric]:
    yield counter(
        "mlm_response_cache_requests_total",
        "Requests by what the response cache did: hit, miss, shared or bypass",
        "model result",
        (
            ((model, result), n)
            for model, tally in tallies.items()
            for result, n in tally.cache.items()
        ),
    )
    kept, size = [((), stored["entries"])], [((), stored["bytes"])]
    yield gauge("mlm_response_cache_entries", "Answers that are kept", "", kept)
    yield gauge("mlm_response_cache_bytes", "What they take on disk", "", size)


def _describe_pool(services: Services, tallies: dict[str, Tally]) -> Iterator[Metric]:
    residents = {r.model.model_id: r for r in services.pool.residents}
    loaded = {model: r for model, r in residents.items() if r.state == "ready"}
    waiting = (((m,), max(r.admitted - r.active, 0)) for m, r in residents.items())
    yield gauge("mlm_requests_waiting", "Requests that wait for the model", "model", waiting)
    active = (((m,), r.active) for m, r in residents.items())
    yield gauge("mlm_requests_active", "Requests that use the model", "model", active)
    slots = (((m,), r.model.config.n_parallel) for m, r in loaded.items())
    yield gauge("mlm_slots", "Requests that the model computes at a time", "model", slots)
    states = (((m,), float(r.state == "ready")) for m, r in residents.items())
    yield gauge("mlm_model_loaded", "1 while the model can be used at once", "model", states)
    yield gauge(
        "mlm_model_memory_bytes",
        "What the plan reserves for the model in memory, per device",
        "model device",
        (
            ((model, device), size)
            for model, resident in residents.items()
            if resident.occupies
            for device, size in resident.model.memory_by_device.items()
        ),
    )
    loads = (((m,), r.loads) for m, r in residents.items())
    yield counter("mlm_worker_starts_total", "Workers that loaded the model", "model", loads)
    crashes = (((m,), r.crashes) for m, r in residents.items())
    yield counter("mlm_worker_crashes_total", "Workers that died", "model", crashes)
    failed = (((model,), tally.failed_loads) for model, tally in tallies.items())
    yield counter("mlm_model_load_failures_total", "Loads that failed", "model", failed)
