"""Vectors from real workers, and how to compare them."""

import array
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fakes.real_worker import events_of

from mlm.engine.messages import Embed, Failed, Finished, Vectors, WorkerConfig
from mlm.engine.process import Worker

WHOLE = WorkerConfig(  # as planned for models that take inputs whole
    n_ctx=512, n_parallel=32, n_batch=512, n_ubatch=512, n_gpu_layers=0, n_threads=1,
    n_threads_batch=1, type_k="f32", type_v="f32", flash_attn="off", kv_unified=True,
    embedding=True, n_outputs_max=512,
)  # fmt: skip
PIECES = WorkerConfig(  # … and for those that take them in pieces
    n_ctx=2048, n_parallel=32, n_batch=512, n_ubatch=128, n_gpu_layers=0, n_threads=1,
    n_threads_batch=1, type_k="f32", type_v="f32", flash_attn="off", kv_unified=True,
    embedding=True, n_outputs_max=64,
)  # fmt: skip
_ids = itertools.count(1)


@dataclass
class Embedded:
    """What came of one request."""

    rows: dict[int, list[float]] = field(default_factory=dict)  # by the number of the input
    ending: Finished | Failed | None = None
    events: list[object] = field(default_factory=list)

    @property
    def vectors(self) -> list[list[float]]:
        return [self.rows[index] for index in range(len(self.rows))]


async def embed(worker: Worker, inputs: Sequence[Any], **fields: Any) -> Embedded:
    """Send one request and wait for its end."""
    answer = Embedded()
    async for event in events_of(worker, Embed(next(_ids), list(inputs), **fields)):
        answer.events.append(event)
        if isinstance(event, Vectors):
            numbers = array.array("f", event.rows)
            width = len(numbers) // len(event.indexes)
            for row, index in enumerate(event.indexes):
                assert index not in answer.rows
                answer.rows[index] = list(numbers[row * width : (row + 1) * width])
        elif isinstance(event, Finished | Failed):
            answer.ending = event
    return answer


def unit(vector: Sequence[float]) -> list[float]:
    """Return ``vector`` at length 1."""
    length = math.hypot(*vector)
    return [number / length for number in vector]


def distance(left: Sequence[float], right: Sequence[float]) -> float:
    """Return how far two vectors are apart; infinite if they are not as long."""
    return math.dist(left, right) if len(left) == len(right) else math.inf
