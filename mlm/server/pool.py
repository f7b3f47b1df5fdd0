"""The models in memory: which are loaded, which must wait, which go.

One function, `Pool._step`, decides; it runs whenever something has changed. Models are loaded in
the order in which they were asked for. When one needs the room of another that is busy, that one
finishes what it has, and new requests for it wait for its next turn: so requests that alternate
between two models are served in batches, not by loading a model for each.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlm.engine.process import Worker
from mlm.engine.spawn import DEFAULT_COMMAND
from mlm.errors import DoesNotFitError, EngineError, MlmError
from mlm.planning.evict import Room, choose_evictions
from mlm.server.errors import ApiError, shutting_down, to_api_error
from mlm.server.model import ServedModel, worker_config
from mlm.server.resident import Resident
from mlm.server.setbacks import Refusal
from mlm.stats.types import LoadStats
from mlm.units import format_size

_log = logging.getLogger("mlm.server")
_MAIN = "cpu"  # the device whose memory a control group limits


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How the pool is run. ``on_change`` is called when a model's state or progress changes."""

    max_models: int = 2
    max_queue: int = 32  # requests per model beyond its slots
    command: Sequence[str] = DEFAULT_COMMAND
    log_dir: Path | None = None
    memory_limit: Callable[[], int | None] = lambda: None  # of main memory, as it is now
    on_load: Callable[[LoadStats], None] = lambda _: None
    on_change: Callable[[Resident], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use a worker. ``load_s`` is how long the model was waited for."""

    worker: Worker
    load_s: float
    is_alone: Callable[[], bool]  # no other request has used any worker since it was given


class Pool:
    """Keeps workers for models, as many as fit. Make it and use it on the main thread's loop."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._residents: dict[str, Resident] = {}
        self._queue: list[Resident] = []  # wanted, in the order in which they will be loaded
        self._limits: dict[str, int] = {}  # bytes per device, while main memory's limit was
        self._first_limit: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False

    @property
    def residents(self) -> list[Resident]:
        """All models that were asked for so far."""
        return list(self._residents.values())

    def find(self, model_id: str) -> Resident | None:
        """Return what the pool knows of a model; None when nobody has asked for it yet."""
        return self._residents.get(model_id)

    def resident(self, model: ServedModel) -> Resident:
        """Return the place of ``model`` in the pool."""
        for device in model.memory.devices:
            if device.device == _MAIN and _MAIN not in self._limits:
                self._first_limit = self._options.memory_limit()  # it was planned for that
            self._limits.setdefault(device.device, device.available)
        resident = self._residents.setdefault(model.model_id, Resident(model))
        if not resident.occupies:
            resident.model = model
        return resident

    def places(self, model: ServedModel) -> int:
        """Return how many requests for ``model`` may run or wait at once."""
        return model.config.n_parallel + self._options.max_queue

    def fitting(self, models: Sequence[ServedModel]) -> list[ServedModel]:
        """Return the first of ``models``, as many as fit into memory together."""
        first: list[ServedModel] = []
        for model in models:
            self.resident(model)
            if self._room().holds([other.memory_by_device for other in (*first, model)]):
                first.append(model)
        return first

    @asynccontextmanager
    async def lease(self, model: ServedModel) -> AsyncIterator[Lease]:
        """Give the right to use a worker of ``model``, loaded if need be.

        Raises:
            ApiError: 429 when the queue is full; 503 when the model cannot be had.
        """
        resident = self.resident(model)
        self._admit(resident)
        resident.admitted += 1
        started = time.monotonic()
        try:
            worker = await self._worker_of(resident)
            try:
                yield Lease(worker, time.monotonic() - started, self._watch_for_others())
            finally:
                resident.leave()
        finally:
            resident.admitted -= 1
            self._step()

    def _watch_for_others(self) -> Callable[[], bool]:
        """Return what tells whether the one request that is active now has been alone since."""
        before = self._handed_out()
        alone = sum(resident.active for resident in self.residents) == 1
        return lambda: alone and self._handed_out() == before

    def _handed_out(self) -> int:
        return sum(resident.handed_out for resident in self.residents)

    async def _worker_of(self, resident: Resident) -> Worker:
        waiter = resident.enter()
        self._step()
        try:
            return await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled() and waiter.exception() is None:
                resident.leave()  # it was handed over in the moment in which the client left
            raise

    async def close(self, grace_s: float) -> None:
        """Send everybody who waits away and stop all workers."""
        self._closing = True
        for resident in self.residents:
            resident.refuse(shutting_down())
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        workers = [resident.worker for resident in self.residents if resident.worker is not None]
        await asyncio.gather(*(worker.stop(grace_s) for worker in workers))

    def _admit(self, resident: Resident) -> None:
        """Refuse at once what would wait in vain."""
        if self._closing:
            raise shutting_down()
        if refusal := resident.setbacks.refusal(time.monotonic()):
            raise _refused(resident, refusal)
        if resident.admitted >= self.places(resident.model):
            raise ApiError(
                429,
                "queue_full",
                f"{resident.admitted} requests for '{resident.model.model_id}' are waiting already",
                remedy="try again soon, or serve it with a larger --max-queue",
                retry_after_s=1,
            )

    def _step(self) -> None:
        """Start, stop and hold back whatever the present state calls for."""
        if self._closing:
            return
        now = time.monotonic()
        self._queue = [resident for resident in self._queue if resident.wanted]
        self._queue += [r for r in self.residents if r.wanted and r not in self._queue]
        victims: list[str] = []
        for resident in list(self._queue):
            if refusal := resident.setbacks.refusal(now):
                resident.refuse(_refused(resident, refusal))
            elif (restart_at := resident.setbacks.restart_at(now)) > now:
                self._step_again(restart_at - now)
            elif (chosen := self._choose_victims(resident, now)) is None:
                resident.refuse(self._does_not_fit(resident))
            elif chosen or not self._is_free_for(resident):
                victims = chosen
                break  # whoever asked later waits behind
            else:
                self._start(resident)
        for resident in self.residents:
            self._let_go_or_on(resident, yielding=resident.model.model_id in victims)

    def _let_go_or_on(self, resident: Resident, *, yielding: bool) -> None:
        resident.yielding = yielding
        if yielding and resident.state == "ready" and not resident.active:
            resident.state = "stopping"
            self._spawn(self._unload(resident))
        elif resident.open:
            resident.release()

    def _step_again(self, delay_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, self._step)

    def _room(self) -> Room:
        """Return what may be occupied, under the limit that main memory has by now."""
        limits, now = dict(self._limits), self._options.memory_limit()
        if now is not None and _MAIN in limits:
            first = self._first_limit
            changed = min(limits[_MAIN], now) if first is None else limits[_MAIN] + now - first
            limits[_MAIN] = max(0, changed)
        return Room(limits, self._options.max_models)

    def _choose_victims(self, resident: Resident, now: float) -> list[str] | None:
        loaded = [r.describe(now) for r in self.residents if r.state in ("starting", "ready")]
        return choose_evictions(resident.model.memory_by_device, self._room(), loaded)

    def _is_free_for(self, resident: Resident) -> bool:
        """Tell whether the memory is free now, models that are still stopping counted."""
        occupying = [r.model.memory_by_device for r in self.residents if r.occupies]
        return self._room().holds([resident.model.memory_by_device, *occupying])

    def _start(self, resident: Resident) -> None:
        self._queue.remove(resident)
        resident.state, resident.progress, resident.kept_warm = "starting", 0.0, False
        self._spawn(self._load(resident))

    async def _load(self, resident: Resident) -> None:
        model, started = resident.model, time.monotonic()
        self._options.on_change(resident)
        try:
            resident.worker = await Worker.start(
                model.path,
                worker_config(model.config),
                command=self._options.command,
                on_progress=lambda progress: self._note_progress(resident, progress),
                log_path=self._log_path(model),
            )
        except (MlmError, OSError) as error:
            failure = error if isinstance(error, MlmError) else EngineError(str(error))
            resident.state = "stopped"
            resident.setbacks.note_load_failure(time.monotonic(), failure.message)
            resident.refuse(_load_failed(model.model_id, failure))
            _log.warning("cannot load %s: %s", model.model_id, failure.message)
            self._note_load(resident, time.monotonic() - started)
        else:
            resident.state, resident.progress = "ready", 1.0
            resident.loads += 1
            resident.setbacks.note_loaded()
            resident.last_used_at = time.monotonic()
            self._note_load(resident, time.monotonic() - started)
            resident.release()
            self._spawn(self._watch(resident, resident.worker))
        self._options.on_change(resident)
        self._step()

    def _note_progress(self, resident: Resident, progress: float) -> None:
        resident.progress = progress
        self._options.on_change(resident)

    def _note_load(self, resident: Resident, load_s: float) -> None:
        ready = resident.worker.ready if resident.state == "ready" and resident.worker else None
        self._options.on_load(
            LoadStats(
                finished_at=time.time(),
                model=resident.model.model_id,
                ok=ready is not None,
                load_s=load_s,
                predicted_bytes=resident.model.memory.total,
                actual_bytes=sum(b.n_bytes for b in ready.buffers) or None if ready else None,
            )
        )

    async def _unload(self, resident: Resident) -> None:
        assert resident.worker is not None
        self._options.on_change(resident)
        _log.info("unloading %s to make room", resident.model.model_id)
        await resident.worker.stop()
        resident.state, resident.worker = "stopped", None
        self._options.on_change(resident)
        self._step()

    async def _watch(self, resident: Resident, worker: Worker) -> None:
        """Notice the death of a worker that nobody stopped, and have it replaced."""
        death = await worker.wait_dead()
        if resident.worker is not worker or resident.state != "ready" or self._closing:
            return
        resident.state, resident.worker = "stopped", None
        resident.crashes += 1
        resident.setbacks.note_crash(time.monotonic(), death.message)
        resident.kept_warm = True
        _log.warning("%s: %s", resident.model.model_id, death.message)
        self._options.on_change(resident)
        self._step()

    def _does_not_fit(self, resident: Resident) -> ApiError:
        short = [
            f"{format_size(needed)} of {format_size(limit)} on {device}"
            for device, limit in self._room().memory.items()
            if (needed := resident.model.memory_by_device.get(device, 0)) > limit
        ]
        message = f"'{resident.model.model_id}' needs {' and '.join(short)}"
        return to_api_error(
            DoesNotFitError(message, remedy=f"mlm plan {resident.model.model_id} --ctx 2048")
        )

    def _log_path(self, model: ServedModel) -> Path | None:
        name = "".join(c if c.isalnum() or c in ".-_" else "_" for c in model.model_id)
        return self._options.log_dir / f"{name}.log" if self._options.log_dir else None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _refused(resident: Resident, refusal: Refusal) -> ApiError:
    return ApiError(
        503,
        refusal.code,
        f"the model '{resident.model.model_id}' is not available: {refusal.reason}",
        retry_after_s=refusal.retry_after_s,
    )


def _load_failed(model_id: str, error: MlmError) -> ApiError:
    code = error.code if error.code == "engine_missing" else "load_failed"
    message = f"the model '{model_id}' cannot be loaded: {error.message}"
    return ApiError(503, code, message, remedy=error.remedy, retry_after_s=5)
