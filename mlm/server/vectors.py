"""What the endpoints for vectors and for scores share: find the model, have it compute, answer.

Nothing is kept for the next time: who embeds many texts stores their vectors anyway.
"""

import array
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec

from mlm.engine.messages import Embed, Failed, Finished, Vectors
from mlm.engine.process import WorkerDied, new_request_id
from mlm.errors import MlmError
from mlm.server.connection import (
    ClientGone,
    Headers,
    Receive,
    Scope,
    Send,
    read_body,
    send_in_pieces,
    while_there,
)
from mlm.server.errors import ApiError, from_failed, invalid, shutting_down, to_api_error
from mlm.server.fields import ignored_header
from mlm.server.model import ServedModel, config_id
from mlm.server.services import Services
from mlm.server.strict_json import read_object
from mlm.server.vector_schema import VectorRequest
from mlm.stats.types import RequestStats
from mlm.units import to_ms


@dataclass(frozen=True, slots=True)
class Computed:
    """The results of one request, in the order of its inputs, and what they took."""

    rows: list[bytes]  # 32-bit floats, little-endian
    finished: Finished
    load_s: float
    engine: str
    config: str
    e2e_s: float

    @property
    def usage(self) -> dict[str, int]:
        """Token counts as OpenAI writes them."""
        tokens = self.finished.prompt_tokens
        return {"prompt_tokens": tokens, "total_tokens": tokens}

    @property
    def truth(self) -> dict[str, Any]:
        """What it really took: the object ``mlm``."""
        return {
            "queue_ms": to_ms(self.finished.queue_s),
            "load_ms": to_ms(self.load_s),
            "prefill_ms": to_ms(self.finished.prefill_s),
            "e2e_ms": to_ms(self.e2e_s),
            "prompt_tokens": self.finished.prompt_tokens,
            "config": self.config,
            "engine": self.engine,
        }

    def headers(self) -> Headers:
        """Return the same as headers."""
        yield b"content-type", b"application/json"
        yield b"cache-control", b"no-store"
        yield b"x-mlm-cache", b"bypass"
        for name in ("queue_ms", "load_ms"):
            yield b"x-mlm-" + name.replace("_", "-").encode(), b"%.1f" % self.truth[name]
        yield b"x-mlm-config", self.config.encode()
        yield b"x-mlm-engine", self.engine.encode("ascii", "replace")


class VectorEndpoint(ABC):
    """An ASGI application for one of the two APIs."""

    def __init__(
        self, services: Services, name: str, read: Callable[[dict[str, Any]], VectorRequest]
    ) -> None:
        self._services, self._name, self._read = services, name, read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; what it took is left in `scope` if it came as far as a model."""
        started_at = time.monotonic()
        model: ServedModel | None = None
        computed: Computed | None = None
        error: str | None = "cancelled"
        try:
            request = self._read(read_object(await read_body(receive)))
            self._services.refuse_when_draining()
            model = await self._services.shelf.find(request.model)
            _check_purpose(model)
            computed = await while_there(self._compute(model, request.embed, started_at), receive)
            headers = [*computed.headers(), *ignored_header(request.ignored)]
            await send_in_pieces(send, self._pieces(request, computed), headers)
            error = None
        except ClientGone:
            pass
        except (ApiError, MlmError) as failure:
            if self._services.draining and isinstance(failure, WorkerDied):
                failure = shutting_down()
            error = to_api_error(failure).code
            raise failure from None
        except Exception:
            error = "internal_error"
            raise
        finally:
            if model is not None:
                e2e_s = time.monotonic() - started_at
                scope["mlm.stats"] = self._to_stats(model, computed, error, e2e_s)

    @abstractmethod
    def _pieces(self, request: VectorRequest, computed: Computed) -> Iterator[bytes]:
        """Yield the body of the answer, bit by bit."""

    async def _compute(self, model: ServedModel, embed: Embed, started_at: float) -> Computed:
        rows: dict[int, bytes] = {}
        least = model.min_dimensions
        asked = msgspec.structs.replace(embed, request_id=new_request_id(), min_dimensions=least)
        async with self._services.pool.lease(model) as lease:
            events = await lease.worker.collect(asked)
            if isinstance(last := events[-1], Failed):
                raise from_failed(last)
            assert isinstance(last, Finished)
            for event in events:
                rows |= _split(event) if isinstance(event, Vectors) else {}
            return Computed(
                rows=[rows[index] for index in range(len(embed.inputs))],
                finished=last,
                load_s=lease.load_s,
                engine=lease.worker.ready.engine,
                config=config_id(model.config),
                e2e_s=time.monotonic() - started_at,
            )

    def _to_stats(
        self, model: ServedModel, computed: Computed | None, error: str | None, e2e_s: float
    ) -> RequestStats:
        finished = computed.finished if computed is not None else None
        return RequestStats(
            finished_at=time.time(),
            model=model.model_id,
            endpoint=self._name,
            ok=error is None,
            error=error,
            cache="bypass",
            prompt_tokens=finished.prompt_tokens if finished else 0,
            cached_tokens=0,
            completion_tokens=0,
            queue_s=finished.queue_s if finished else None,
            ttft_s=None,
            itl_s=(),
            e2e_s=e2e_s,
        )


def floats(row: bytes) -> list[float]:
    """Return the numbers of a row."""
    numbers = array.array("f", row)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def _check_purpose(model: ServedModel) -> None:
    if not model.config.embedding:
        raise invalid(
            f"'{model.model_id}' writes text, it makes no vectors",
            "model",
            remedy="mlm catalog list --use embedding",
        )


def _split(event: Vectors) -> dict[int, bytes]:
    size = len(event.rows) // len(event.indexes)
    rows = (event.rows[at : at + size] for at in range(0, len(event.rows), size))
    return dict(zip(event.indexes, rows, strict=True))
