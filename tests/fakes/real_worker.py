"""Real workers for tests, and requests to them."""

import asyncio
import itertools
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from mlm.engine.messages import (
    Embed,
    Failed,
    Finished,
    Generate,
    SamplingParams,
    TokenOut,
    WorkerConfig,
)
from mlm.engine.process import Worker

CONFIG = WorkerConfig(
    n_ctx=2048, n_parallel=4, n_batch=256, n_ubatch=128, n_gpu_layers=0, n_threads=1,
    n_threads_batch=1,
)  # fmt: skip
_ids = itertools.count(1)


@dataclass
class Answer:
    """What came of one request."""

    text: str = ""
    ending: Finished | Failed | None = None
    events: list[object] = field(default_factory=list)


@asynccontextmanager
async def working(path: Path, **changes: Any) -> AsyncIterator[Worker]:
    """Start a worker with `CONFIG` and ``changes``, and stop it at the end."""
    worker = await Worker.start(path, msgspec.structs.replace(CONFIG, **changes))
    try:
        yield worker
    finally:
        await worker.stop(grace_s=5)


def request(prompt: str | None = None, **fields: Any) -> Generate:
    """Return a greedy request; fields of `SamplingParams` and of `Generate` may be mixed."""
    names = {field.name for field in msgspec.structs.fields(SamplingParams)}
    sampling = {"temperature": 0.0, **{k: v for k, v in fields.items() if k in names}}
    others = {key: value for key, value in fields.items() if key not in names}
    return Generate(
        request_id=next(_ids), prompt=prompt, sampling=SamplingParams(**sampling), **others
    )


async def events_of(worker: Worker, asked: Generate | Embed) -> AsyncGenerator[Any, None]:
    """Yield what happens to a request; closing the iterator before its end cancels it."""
    arrived: asyncio.Queue[object] = asyncio.Queue()
    asking = asyncio.create_task(worker.answer(asked, arrived.put_nowait))
    asking.add_done_callback(lambda _: arrived.put_nowait(None))
    try:
        while (event := await arrived.get()) is not None:
            yield event
        await asking  # raises, if that was no good end
    finally:
        asking.cancel()
        await asyncio.wait([asking])


async def ask(worker: Worker, prompt: str | None = None, **fields: Any) -> Answer:
    """Send one request and wait for its end."""
    answer = Answer()
    async for event in events_of(worker, request(prompt, **fields)):
        answer.events.append(event)
        if isinstance(event, TokenOut):
            answer.text += event.text
        elif isinstance(event, Finished | Failed):
            answer.ending = event
    return answer
