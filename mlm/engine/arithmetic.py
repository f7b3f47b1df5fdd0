"""Measures how fast ggml computes on this CPU, which decides the speed of a model that runs there.

A process of its own, for a bad argument aborts it: ``python -m mlm.engine.arithmetic FOLDER
N_THREADS`` prints the fields of `mlm.hardware.types.Arithmetic` as JSON, in less than a second.
ggml itself does the work, in the layouts that llama.cpp would choose, on matrices and caches larger
than those of a CPU. One core is timed by the time it was ours, so that other work on the machine
hardly matters; how well cores work together by the clock, the best of many rounds. Attention waits
for memory most of its time, and no two rounds are alike: the middle one counts.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlm.engine.graph import Ggml, Graph, Pool
from mlm.gguf.ggml_types import TYPES_BY_NAME
from mlm.units import MIB

# What files and caches are made of; other types run about as fast as one of these.
WEIGHTS = (
    "F32", "F16", "BF16", "Q4_0", "Q5_0", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ2_XXS",
    "IQ3_XXS", "IQ4_XS", "MXFP4",
)  # fmt: skip
CACHES = ("F16", "Q8_0", "Q4_0")
HEADS = (64, 80, 96, 128, 256)  # sizes of a head; F16 is not equally good at them
_HEADS_OF_OTHERS = (64, 128)
_TYPICAL, _LIGHT = "Q4_K", "F16"  # for cores together: much arithmetic per byte, and little
_ROW, _ROWS = 2048, 1024
_ROWS_OF_BATCH = 512  # in prefill, where a matrix is used many times once it is near
_POOL_BYTES = 64 * MIB
_PORTION_BYTES = 6 * MIB  # of the pool, per round
_N_BATCH = 64  # tokens at once in prefill
_SHARED = 2  # heads of queries for one of the cache
_MOST_HEADS, _ROW_OF_CACHE = 8, 1024  # elements of all its heads together
_NEAR, _CELLS = 64, 1024  # tokens in a cache
_LAYERS = 16  # caches, so that each has been out of use for long
_STEPS = 8
_MIN_ROUNDS = 3

Clock = Callable[[], float]


def main(arguments: list[str]) -> None:
    """Print one JSON document."""
    folder, n_threads = arguments
    ggml = Ggml(Path(folder))
    pools = [Pool(ggml, layout, _POOL_BYTES) for layout in ggml.layouts]
    places = {name: next(p for p in pools if _multiplies(ggml, p, name)) for name in WEIGHTS}
    found = _measure_core(ggml, places)
    found |= _measure_together(ggml, places, int(n_threads), found["reading"][_TYPICAL])
    print(json.dumps(found))


def _measure_core(ggml: Ggml, places: dict[str, Pool]) -> dict[str, Any]:
    """Return what one core does alone."""
    plain = places["F32"]  # which no layout is made for
    ggml.use_threads(1)
    watch = _Watch(time.process_time, seconds=0.003)
    return {
        "reading": {n: _measure_reading(ggml, p, n, watch) for n, p in places.items()},
        "multiplying": {n: _measure_multiplying(ggml, p, n, watch) for n, p in places.items()},
        "attending": {
            f"{name} {head}": _measure_attention(ggml, plain, (name, head), watch)
            for name in CACHES
            for head in (HEADS if name == "F16" else _HEADS_OF_OTHERS)
        },
    }


def _measure_together(
    ggml: Ggml, places: dict[str, Pool], n_threads: int, alone: float
) -> dict[str, Any]:
    """Return what ``n_threads`` cores do together."""
    ggml.use_threads(n_threads)
    watch = _Watch(time.perf_counter, seconds=0.04)
    typical, light = (
        _measure_reading(ggml, places[name], name, watch) for name in (_TYPICAL, _LIGHT)
    )
    return {
        "n_threads": n_threads,
        "peak_bytes_per_s": max(typical, light),
        "scaling": min(typical / (alone * n_threads), 1.0),
        "step_s": _measure_step(ggml, watch),
    }


class _Watch:
    """A clock, and how long to look at it for one figure."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock, self._seconds = clock, seconds

    def best(self, run: Callable[[int], Callable[[], None]]) -> float:
        """Return the seconds of the shortest of many rounds; ``run`` makes one ready."""
        return min(self._time(run))

    def middle(self, run: Callable[[int], Callable[[], None]]) -> float:
        """Return the seconds of the middle one of many rounds."""
        taken = sorted(self._time(run))
        return (taken[len(taken) // 2] + taken[~(len(taken) // 2)]) / 2

    def _time(self, run: Callable[[int], Callable[[], None]]) -> list[float]:
        taken: list[float] = []
        started = time.perf_counter()
        while len(taken) < _MIN_ROUNDS or time.perf_counter() - started < self._seconds:
            compute = run(len(taken))
            before = self._clock()
            compute()
            taken.append(self._clock() - before)
        return taken


def _multiplies(ggml: Ggml, pool: Pool, name: str) -> bool:
    """Return whether llama.cpp would keep such weights in the layout of this pool."""
    with Graph(ggml) as graph:
        weights, x = graph.tensor(name, _ROW, _ROWS), graph.tensor("F32", _ROW, 1)
        pool.place(weights, 0)
        return graph.supports(graph.mul_mat(weights, x))


def _measure_reading(ggml: Ggml, pool: Pool, name: str, watch: _Watch) -> float:
    """Return the bytes of weights per second in decode."""
    each = _bytes(name, _ROW * _ROWS)
    n_portion, n_pool = max(1, _PORTION_BYTES // each), pool.n_bytes // each
    with Graph(ggml) as graph:
        x = graph.tensor("F32", _ROW, 1)
        weights = [graph.tensor(name, _ROW, _ROWS) for _ in range(n_pool)]
        for index, matrix in enumerate(weights):
            pool.place(matrix, index * each)
        portions = [
            graph.part([graph.mul_mat(w, x) for w in weights[at : at + n_portion]])
            for at in range(0, n_pool - n_portion + 1, n_portion)
        ]
        graph.settle()
        return n_portion * each / watch.best(lambda n: portions[n % len(portions)])


def _measure_multiplying(ggml: Ggml, pool: Pool, name: str, watch: _Watch) -> float:
    """Return the multiplications per second in prefill."""
    with Graph(ggml) as graph:
        weights, x = graph.tensor(name, _ROW, _ROWS_OF_BATCH), graph.tensor("F32", _ROW, _N_BATCH)
        pool.place(weights, 0)
        compute = graph.part([graph.mul_mat(weights, x)])
        graph.settle()
        return _ROW * _ROWS_OF_BATCH * _N_BATCH / watch.best(lambda _: compute)


def _measure_attention(
    ggml: Ggml, pool: Pool, cache: tuple[str, int], watch: _Watch
) -> tuple[float, float]:
    """Return the seconds per head of queries and token in the cache, in decode: for a cache that is
    near, and for one that has to come from main memory, as it does after all the weights."""
    name, head = cache
    n_head_kv = min(_MOST_HEADS, _ROW_OF_CACHE // head)
    n_head = _SHARED * n_head_kv
    each = _bytes(name, head * n_head_kv * _CELLS)
    with Graph(ggml) as graph:
        q = graph.tensor("F32", head, 1, n_head)
        layers = []
        for at in range(0, pool.n_bytes - 2 * each + 1, max(2 * each, pool.n_bytes // _LAYERS)):
            k, v = (graph.tensor(name, head, n_head_kv, _CELLS) for _ in range(2))
            pool.place(k, at)
            pool.place(v, at + each)
            layers.append(graph.part([graph.attend(q, k, v, graph.tensor("F16", _CELLS, 1))]))
        k, v = (graph.tensor(name, head, n_head_kv, _NEAR) for _ in range(2))
        near = graph.part([graph.attend(q, k, v, graph.tensor("F16", _NEAR, 1))])
        graph.settle()
        return (
            watch.middle(lambda _: near) / (n_head * _NEAR),
            watch.middle(lambda n: layers[n % len(layers)]) / (n_head * _CELLS),
        )


def _measure_step(ggml: Ggml, watch: _Watch) -> float:
    """Return the seconds that a trifle takes: all threads wait for each other after it."""
    with Graph(ggml) as graph:
        x = y = graph.tensor("F32", _ROW)
        for _ in range(_STEPS):
            y = graph.add(y, x)
        compute = graph.part([y])
        graph.settle()
        return watch.best(lambda _: compute) / _STEPS


def _bytes(name: str, elements: int) -> int:
    kind = TYPES_BY_NAME[name]
    return elements // kind.block * kind.n_bytes


if __name__ == "__main__":
    main(sys.argv[1:])
