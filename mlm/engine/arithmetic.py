"""Measures how fast ggml computes on this CPU, which decides the speed of a model that runs there.

A process of its own, for a bad argument aborts it: ``python -m mlm.engine.arithmetic FOLDER
N_THREADS`` prints the fields of `mlm.hardware.types.Arithmetic` as JSON, in less than a second.
ggml itself does the work, with as many threads as a model would have, in the layouts that llama.cpp
would choose. What is measured takes turns, so that everything sees the machine in its better and
its worse moments, and the middle round counts: so fast is a model most of the time, too.
"""

import json
import sys
from itertools import zip_longest
from pathlib import Path
from typing import Any

from mlm.engine.graph import Ggml, Graph, Pool
from mlm.engine.trial import Trial, take_turns
from mlm.gguf.ggml_types import TYPES_BY_NAME
from mlm.hardware.bandwidth import read_caches
from mlm.units import MIB

# What files and caches are made of; other types run about as fast as one of these.
WEIGHTS = (
    "F32", "F16", "BF16", "Q4_0", "Q5_0", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ2_XXS",
    "IQ3_XXS", "IQ4_XS", "MXFP4",
)  # fmt: skip
CACHES = ("F16", "Q8_0", "Q4_0")
HEADS = (64, 80, 96, 128, 256)  # sizes of a head; F16 is not equally good at them
_HEADS_OF_OTHERS = (64, 128)
_TYPICAL = "Q4_K"  # for one core alone
# Elements of a row, rows. Each row costs a little, unless they are repacked, and small models have
# short ones.
_LARGE, _SMALL = (1024, 2048), (1024, 128)
# Rows that cannot be cut into 256 get this type instead of a K-quant. They are short, and as they
# do not begin where cache lines do, slower by a fifth.
_LARGE_OF = {"Q5_0": (896, 2304)}
_SMALL_AT_ONCE = 8
_SLOT_BYTES = 8 * MIB  # of a pool: what is read of one type in a round; of a cache it is two
_SLOTS_OF_PAIR = 3  # slots of weights and of the cache that is read next
_STRIDE = 47  # slots, from one round to the next; prime, and about as many as a round uses
_PROMPT, _N_BATCH = (2048, 256), 64  # in prefill: a matrix, and tokens at once
# Weights come from main memory, so all together have to be larger than the caches; more costs time.
_TIMES_CACHES, _LEAST_POOL_BYTES, _MOST_POOL_BYTES = 3, 64 * MIB, 192 * MIB
_SHARED = 2  # heads of queries for one of the cache
_MOST_HEADS, _ROW_OF_CACHE = 8, 1024  # elements of all its heads together
_CELLS = 4096  # tokens in the cache
_STEPS, _STATE = 32, 2048  # and elements of what they are done to
_LEAST_STARTING_S = 1e-7  # to be a figure at all
_TOGETHER_S, _ALONE_S = 0.4, 0.02


def main(arguments: list[str]) -> None:
    """Print one JSON document."""
    folder, n_threads = arguments
    print(json.dumps(_Measurement(Ggml(Path(folder)), int(n_threads)).run()))


class _Measurement:
    """Everything that is measured, in pools that are made once, as new memory takes time."""

    def __init__(self, ggml: Ggml, n_threads: int) -> None:
        self._ggml, self._n_threads = ggml, n_threads
        wanted = _TIMES_CACHES * (read_caches() or 0)
        n_bytes = min(max(wanted, _LEAST_POOL_BYTES), _MOST_POOL_BYTES)
        *others, plain = ggml.layouts
        pools = [Pool(ggml, layout, n_bytes) for layout in others or [plain]]
        if others:
            pools.append(pools[-1].in_plain_layout())
        self._places = {n: next(p for p in pools if _multiplies(ggml, p, n)) for n in WEIGHTS}

    def run(self) -> dict[str, Any]:
        """Return the fields of `Arithmetic`."""
        self._ggml.use_threads(self._n_threads)
        with Graph(self._ggml) as graph:
            large = {name: self._reading(graph, name, _large(name)) for name in WEIGHTS}
            small = {name: self._reading(graph, name, _SMALL) for name in WEIGHTS}
            step = _steps(graph)
            multiplying = {name: self._multiplying(graph, name) for name in WEIGHTS}
            caches = [(n, h) for n in CACHES for h in (HEADS if n == "F16" else _HEADS_OF_OTHERS)]
            attending = {
                f"{name} {head}": self._attending(graph, name, head, index)
                for index, (name, head) in enumerate(caches)
            }
            graph.settle()
            # Between two caches a model reads all the weights of a layer.
            pairs = zip_longest(large.values(), attending.values())
            mixed = [trial for pair in pairs for trial in pair if trial]
            trials = [*mixed, *small.values(), *multiplying.values(), step]
            n_cpus = take_turns(trials, _TOGETHER_S)
        reading, starting = {}, {}
        for name in WEIGHTS:
            reading[name], starting[name] = _split(name, large[name].seconds, small[name].seconds)
        return {
            "reading": reading,
            "starting": starting,
            "multiplying": {name: 1 / trial.seconds for name, trial in multiplying.items()},
            "attending": {name: trial.seconds for name, trial in attending.items()},
            "n_threads": self._n_threads,
            "scaling": min(self._alone() / (large[_TYPICAL].seconds * self._n_threads), 1.0),
            "step_s": step.seconds,
            "n_cpus": n_cpus,
        }

    def _reading(self, graph: Graph, name: str, size: tuple[int, int]) -> Trial:
        """Return a trial of decode with a matrix."""
        row, rows = size
        pool, each = self._places[name], _bytes(name, row * rows)
        n_at_once = _SMALL_AT_ONCE if size == _SMALL else max(1, _SLOT_BYTES // each)
        x = graph.tensor("F32", row, 1)
        parts = []
        for start in _starts(pool, _SLOTS_OF_PAIR * WEIGHTS.index(name)):
            weights = [graph.tensor(name, row, rows) for _ in range(n_at_once)]
            for index, matrix in enumerate(weights):
                pool.place(matrix, start + index * each)
            parts.append(graph.part([graph.mul_mat(matrix, x) for matrix in weights]))
        return Trial(parts, n_at_once)

    def _alone(self) -> float:
        """Return the seconds of one core for a typical matrix."""
        self._ggml.use_threads(1)
        with Graph(self._ggml) as graph:
            trial = self._reading(graph, _TYPICAL, _LARGE)
            graph.settle()
            take_turns([trial], _ALONE_S)
        return trial.seconds

    def _multiplying(self, graph: Graph, name: str) -> Trial:
        """Return a trial of multiplications in prefill."""
        row, rows = _PROMPT
        weights, x = graph.tensor(name, row, rows), graph.tensor("F32", row, _N_BATCH)
        self._places[name].place(weights, 0)
        return Trial([graph.part([graph.mul_mat(weights, x)])], row * rows * _N_BATCH)

    def _attending(self, graph: Graph, name: str, head: int, index: int) -> Trial:
        """Return a trial of a head of queries and a token in the cache, in decode. The cache comes
        from main memory each time that a head needs it, as others have been there meanwhile; even a
        short one does in a model, which has read the weights of all layers since."""
        pool = self._places["F32"]  # in the plain layout, as caches are
        n_head_kv = min(_MOST_HEADS, _ROW_OF_CACHE // head)
        n_head = _SHARED * n_head_kv
        each = _bytes(name, head * n_head_kv * _CELLS)
        q = graph.tensor("F32", head, 1, n_head)
        parts = []
        for start in _starts(pool, _SLOTS_OF_PAIR * index + 1):
            k, v = (graph.tensor(name, head, n_head_kv, _CELLS) for _ in range(2))
            pool.place(k, start)
            pool.place(v, start + each)
            parts.append(graph.part([graph.attend(q, k, v, graph.tensor("F16", _CELLS, 1))]))
        return Trial(parts, n_head * _CELLS)


def _starts(pool: Pool, position: int) -> list[int]:
    """Return where the parts of a trial begin, which is at this ``position`` among all in a round:
    what lies there has not been used for longer than caches remember. Two slots are left to each.
    """
    n_slots = pool.n_bytes // _SLOT_BYTES - 1
    return [(position + turn * _STRIDE) % n_slots * _SLOT_BYTES for turn in range(n_slots)]


def _multiplies(ggml: Ggml, pool: Pool, name: str) -> bool:
    """Return whether llama.cpp would keep such weights in the layout of this pool."""
    row, rows = _LARGE
    with Graph(ggml) as graph:
        weights, x = graph.tensor(name, row, rows), graph.tensor("F32", row, 1)
        pool.place(weights, 0)
        return graph.supports(graph.mul_mat(weights, x))


def _steps(graph: Graph) -> Trial:
    """Return a trial of a trifle: all threads wait for each other after it."""
    x = y = graph.tensor("F32", _STATE)
    for _ in range(_STEPS):
        y = graph.add(y, x)
    return Trial([graph.part([y])], _STEPS)


def _split(name: str, large_s: float, small_s: float) -> tuple[float, float]:
    """Return the bytes per second and the seconds for each matrix besides, from those of two."""
    large, small = (_bytes(name, row * rows) for row, rows in (_large(name), _SMALL))
    rate = (large - small) / max(large_s - small_s, large_s / 2)
    return rate, max(small_s - small / rate, _LEAST_STARTING_S)


def _large(name: str) -> tuple[int, int]:
    return _LARGE_OF.get(name, _LARGE)


def _bytes(name: str, elements: int) -> int:
    kind = TYPES_BY_NAME[name]
    return elements // kind.block * kind.n_bytes


if __name__ == "__main__":
    main(sys.argv[1:])
