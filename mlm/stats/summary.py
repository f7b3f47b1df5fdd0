"""Summing up a history: percentiles and rates per model, as ``mlm.stats/1`` has them."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from mlm.stats.types import LoadStats, RequestStats


def percentile(ordered: Sequence[float], percent: float) -> float | None:
    """Return the value below which ``percent`` of the ``ordered`` values lie.

    Between two values it is interpolated linearly; of nothing it is None.
    """
    if not ordered:
        return None
    position = (len(ordered) - 1) * percent / 100
    below = int(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def summarise_models(
    requests: Iterable[RequestStats], loads: Iterable[LoadStats]
) -> list[dict[str, Any]]:
    """Return the list ``models`` of ``mlm.stats/1``, the most used model first."""
    by_model: dict[str, tuple[list[RequestStats], list[LoadStats]]] = {}
    for request in requests:
        by_model.setdefault(request.model, ([], []))[0].append(request)
    for load in loads:
        by_model.setdefault(load.model, ([], []))[1].append(load)
    summaries = [_summarise(model, *events) for model, events in by_model.items()]
    return sorted(summaries, key=lambda summary: (-summary["requests"], summary["model"]))


def summarise_cache(requests: Iterable[RequestStats]) -> dict[str, Any]:
    """Return how often the response cache answered, over all models."""
    counts = Counter(request.cache for request in requests)
    answered, asked = counts["hit"] + counts["shared"], counts.total() - counts["bypass"]
    return {
        "hits": counts["hit"],
        "misses": counts["miss"],
        "shared": counts["shared"],
        "hit_rate": answered / asked if asked else None,
    }


def _summarise(model: str, requests: list[RequestStats], loads: list[LoadStats]) -> dict[str, Any]:
    succeeded = [request for request in requests if request.ok]
    served = [request for request in requests if request.error != "cancelled"]
    errors = Counter(request.error for request in requests if request.error)
    return {
        "model": model,
        "requests": len(requests),
        "prompt_tokens": sum(request.prompt_tokens for request in requests),
        "completion_tokens": sum(request.completion_tokens for request in requests),
        "cached_tokens": sum(request.cached_tokens for request in requests),
        "ttft_ms": _spread(request.ttft_s for request in succeeded),
        "itl_ms": _spread(chain.from_iterable(request.itl_s for request in succeeded)),
        "e2e_ms": _spread(request.e2e_s for request in succeeded),
        "load_ms": _spread(load.load_s for load in loads if load.ok),
        "decode_tps": _decode_tps(succeeded),
        "requests_per_s": _requests_per_s(requests),
        "success_rate": len(succeeded) / len(served) if served else None,
        "errors": dict(errors.most_common()),
    }


def _spread(seconds: Iterable[float | None]) -> dict[str, float | int | None]:
    """Return count, average and percentiles in milliseconds."""
    ordered = sorted(value * 1000 for value in seconds if value is not None)
    percentiles = {f"p{percent}": percentile(ordered, percent) for percent in (50, 95, 99)}
    return {
        "count": len(ordered),
        "avg": sum(ordered) / len(ordered) if ordered else None,
        "min": ordered[0] if ordered else None,
        "max": ordered[-1] if ordered else None,
        **percentiles,
    }


def _decode_tps(requests: Iterable[RequestStats]) -> float | None:
    """Return tokens per second of one stream after its first token, over all generated answers."""
    tokens, seconds = 0, 0.0
    for request in requests:
        if request.itl_s:
            tokens += len(request.itl_s)
            seconds += sum(request.itl_s)
    return tokens / seconds if seconds else None


def _requests_per_s(requests: Sequence[RequestStats]) -> float | None:
    """Return the rate between the first and the last request; one alone has none."""
    if len(requests) < 2:
        return None
    times = [request.finished_at for request in requests]
    span = max(times) - min(times)
    return (len(requests) - 1) / span if span else None
