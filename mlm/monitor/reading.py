"""From a server's ``mlm.stats/1`` document to what can be shown.

The server may be of another version, or none of ours: what is missing or makes no sense is None.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mlm.monitor.types import (
    Ended,
    Gpu,
    Machine,
    ModelState,
    Percentiles,
    Reading,
    ResponseCache,
    Work,
)
from mlm.terminal import printable

_LONGEST_TEXT = 300  # characters that anybody would read of a name or a reason
_MOST = 2**60  # of anything: bytes, tokens, milliseconds
_LAST_MOMENT = 2**38  # seconds: the year 10680; clocks and calendars end somewhere


def read_stats(document: Mapping[str, Any]) -> Reading:
    """Return what the answer of ``/admin/stats`` says."""
    figures = {clean(row.get("model")): row for row in _rows(document.get("models"))}
    resident = _rows(document.get("resident"))
    names = {clean(row.get("model")) for row in resident}
    models = [_model(row, figures.get(clean(row.get("model")), {})) for row in resident]
    models += [_model({"model": name}, row) for name, row in figures.items() if name not in names]
    system = _part(document, "system")
    return Reading(
        version=clean(document.get("mlm_version")),
        uptime_s=number(system.get("uptime_s")),
        machine=_machine(system),
        models=tuple(models),
        cache=_cache(_part(document, "response_cache")),
        recent=tuple(_ended(row) for row in _rows(document.get("recent"))),
    )


def clean(text: object) -> str:
    """Return ``text`` on one line, without what could command a terminal."""
    return " ".join(printable(str(text or ""))[:_LONGEST_TEXT].split())


def number(value: object) -> float | None:
    """Return ``value`` if it is a number that one can count with."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -_MOST <= value <= _MOST else None  # nor NaN, which is in no order


def _whole(value: object) -> int | None:
    found = number(value)
    return None if found is None else int(found)


def _moment(value: object) -> float:
    found = number(value)
    return found if found is not None and 0 <= found <= _LAST_MOMENT else 0.0


def _rows(value: object) -> list[Mapping[str, Any]]:
    if not isinstance(value, Sequence):
        return []
    return [row for row in value if isinstance(row, Mapping)]


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def _model(row: Mapping[str, Any], figures: Mapping[str, Any]) -> ModelState:
    prompts, cached = (number(figures.get(f"{kind}_tokens")) for kind in ("prompt", "cached"))
    return ModelState(
        name=clean(row.get("model")),
        state=clean(row.get("state") or "stopped"),
        progress=number(row.get("progress")),
        pinned=row.get("pinned") is True,
        active=_whole(row.get("active")) or 0,
        slots=_whole(_part(row, "config").get("n_parallel")),
        waiting=_whole(row.get("waiting")) or 0,
        memory=_whole(row.get("memory_bytes")),
        idle_s=number(row.get("idle_s")),
        ttl_s=number(row.get("ttl_s")),
        trouble=clean(row.get("trouble")),
        requests=_whole(figures.get("requests")) or 0,
        success_rate=number(figures.get("success_rate")),
        completion_tokens=_whole(figures.get("completion_tokens")) or 0,
        reused=(cached or 0) / prompts if prompts else None,
        ttft=_percentiles(_part(figures, "ttft_ms")),
        itl=_percentiles(_part(figures, "itl_ms")),
        e2e=_percentiles(_part(figures, "e2e_ms")),
        work=_work(_part(row, "work")),
    )


def _percentiles(row: Mapping[str, Any]) -> Percentiles:
    return Percentiles(*(number(row.get(name)) for name in ("p50", "p95", "p99")))


def _work(row: Mapping[str, Any]) -> Work | None:
    step, idle, decode, prefill = (
        number(row.get(name)) for name in ("step_s", "idle_s", "decode_tokens", "prefill_tokens")
    )
    if step is None or idle is None:
        return None
    return Work(step + idle, decode or 0, prefill or 0)


def _machine(system: Mapping[str, Any]) -> Machine:
    host = _part(system, "host")
    total, free = (_whole(host.get(f"memory_{name}")) for name in ("total", "available"))
    return Machine(
        cpu_percent=number(host.get("cpu_percent")),
        cores=_whole(host.get("cores")),
        memory_used=None if total is None or free is None else total - free,
        memory_total=total,
        server_cpu_percent=number(system.get("cpu_percent")),
        server_memory=_whole(system.get("rss_bytes")),
        gpus=tuple(_gpu(row) for row in _rows(system.get("gpus"))),
    )


def _gpu(row: Mapping[str, Any]) -> Gpu:
    return Gpu(
        name=clean(row.get("name")),
        busy_percent=number(row.get("utilisation_percent")),
        memory_used=_whole(row.get("memory_used")),
        memory_total=_whole(row.get("memory_total")),
        power_w=number(row.get("power_w")),
        temperature_c=number(row.get("temperature_c")),
    )


def _cache(row: Mapping[str, Any]) -> ResponseCache:
    hits, shared, misses = (_whole(row.get(name)) or 0 for name in ("hits", "shared", "misses"))
    return ResponseCache(
        answered=hits + shared,
        asked=hits + shared + misses,
        hit_rate=number(row.get("hit_rate")),
        size=_whole(row.get("bytes")),
    )


def _ended(row: Mapping[str, Any]) -> Ended:
    prompt, cached, completion = (
        _whole(row.get(f"{name}_tokens")) or 0 for name in ("prompt", "cached", "completion")
    )
    return Ended(
        at=_moment(row.get("at")),
        model=clean(row.get("model")),
        endpoint=clean(row.get("endpoint")),
        key=clean(row.get("tenant")),
        error=clean(row.get("error")),
        status=_whole(row.get("status")),
        cache=clean(row.get("cache")),
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
        ttft_ms=number(row.get("ttft_ms")),
        e2e_ms=number(row.get("e2e_ms")),
    )
