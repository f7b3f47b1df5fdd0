"""How the machine is doing and what all models do together: a line and a chart for each figure."""

from collections.abc import Iterator
from dataclasses import dataclass

from mlm.monitor.charts import trace
from mlm.monitor.pace import Pace
from mlm.monitor.types import Gpu, Machine, Reading
from mlm.monitor.words import Line, fit, joined, percent, rate, share, with_word
from mlm.units import format_size

_LABEL = 8
_SHORTEST_CHART, _LONGEST_CHART = 8, 60
_TWO_ABREAST_FROM = 120  # columns


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure: what it is, how it went, how it is."""

    key: str  # of its trace
    label: str
    parts: tuple[str, ...]  # the most wanted first
    top: float | None = None  # what the tallest character stands for


def draw_tiles(reading: Reading, pace: Pace, columns: int) -> list[Line]:
    """Return the lines of all figures, two in one where there is room."""
    tiles = list(describe_tiles(reading, pace))
    if columns < _TWO_ABREAST_FROM:
        return [_draw(tile, pace, columns) for tile in tiles]
    half = (columns - 2) // 2
    drawn = [_draw(tile, pace, half) for tile in tiles]
    rows = -(-len(drawn) // 2)
    lines = drawn[:rows]
    return [
        [*left, ("", "  "), *right]
        for left, right in zip(lines, [*drawn[rows:], *([[]] * rows)], strict=False)
    ]


def describe_tiles(reading: Reading, pace: Pace) -> Iterator[Tile]:
    """Yield all figures that the server tells."""
    machine, cache = reading.machine, reading.cache
    yield from _machine_tiles(machine)
    models = sum(m.memory or 0 for m in reading.models if m.state != "stopped")
    used = with_word(_size(machine.memory_used), f"of {_size(machine.memory_total) or '?'}")
    parts = (used, with_word(_size(models or None), "for models"))
    yield Tile("memory", "Memory", parts, machine.memory_total)
    for index, gpu in enumerate(machine.gpus):
        top = gpu.memory_total if gpu.busy_percent is None else 100.0
        yield Tile(f"gpu {index}", f"GPU {index}", _describe_gpu(gpu), top)
    prompts = f"prompts {rate(pace.prefill)}" if pace.speeds else ""
    tokens = with_word(rate(pace.decode), "tok/s")
    yield Tile("tokens", "Answers", (tokens, prompts))
    active = sum(model.active for model in reading.models)
    waiting = sum(model.waiting for model in reading.models)
    flow = with_word(rate(pace.requests_per_s), "requests/s")
    yield Tile("requests", "Queue", (f"{active} running", f"{waiting} waiting", flow))
    hits = with_word(share(cache.hit_rate), "hits")
    counted = f"{cache.answered} of {cache.asked}" if cache.asked else "not asked yet"
    yield Tile("cache", "Cache", (hits, counted, _size(cache.size)), 100.0)


def _machine_tiles(machine: Machine) -> Iterator[Tile]:
    cores = f"of {machine.cores} cores" if machine.cores else ""
    server = joined([percent(machine.server_cpu_percent), _size(machine.server_memory)])
    busy = with_word(percent(machine.cpu_percent), cores)
    yield Tile("cpu", "CPU", (busy, f"server {server}" if server else ""), 100.0)


def _describe_gpu(gpu: Gpu) -> tuple[str, ...]:
    memory = with_word(_size(gpu.memory_used), f"of {_size(gpu.memory_total) or '?'}")
    power, heat = with_word(_whole(gpu.power_w), "W"), with_word(_whole(gpu.temperature_c), "C")
    return percent(gpu.busy_percent), memory, power, heat, gpu.name


def _draw(tile: Tile, pace: Pace, columns: int) -> Line:
    width = max(_SHORTEST_CHART, min(_LONGEST_CHART, columns // 4))
    chart = trace(pace.traces.get(tile.key, ()), pace.at, width, tile.top)
    room = max(columns - _LABEL - width - 2, 0)
    return [
        ("class:label", fit(tile.label, _LABEL)),
        ("", " "),
        ("class:chart", chart),
        ("", " "),
        ("", fit(joined(tile.parts, room) or "-", room)),
    ]


def _size(size: int | None) -> str:
    return "" if size is None else format_size(size)


def _whole(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"
