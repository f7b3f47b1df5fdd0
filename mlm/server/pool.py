"""The models in memory: which are loaded, which must wait, which go.

`mlm.planning.residency.decide` says what to do; `Pool._step` asks it whenever something has
changed, or when it wanted to be asked again, and does it.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mlm.engine.process import Worker
from mlm.engine.spawn import LAUNCH, Launch
from mlm.errors import EngineError, MlmError
from mlm.planning.evict import Room
from mlm.planning.residency import Rules, WhyGo, WhyNot, decide
from mlm.server import refusals
from mlm.server.budget import Budget
from mlm.server.errors import ApiError, shutting_down
from mlm.server.model import ServedModel, worker_config
from mlm.server.options import MAX_WAIT_S
from mlm.server.resident import Resident
from mlm.stats.types import LoadStats

_log = logging.getLogger("mlm.server")
_LEAST_RETRY_S = 1.0
_NO_ROOM = Room({}, 0)
_WHY: dict[WhyGo | Literal["asked"], str] = {
    "room": "to make room",
    "idle": "as nobody has used it for a while",
    "outdated": "to load it with its new config",
    "asked": "as asked",
}


@dataclass(frozen=True, slots=True)
class PoolOptions:
    """How the pool is run. ``on_change`` is called when a model's state or progress changes."""

    max_models: int = 2
    max_queue: int = 32  # requests per model beyond its slots
    max_waiting: int = 128  # requests that wait for models to be loaded, of all models
    max_wait_s: float = MAX_WAIT_S
    ttl_s: float | None = None  # a model that nobody uses for so long is unloaded
    launch: Launch = LAUNCH
    log_dir: Path | None = None
    memory_limit: Callable[[], int | None] = lambda: None  # of main memory, as it is now
    on_load: Callable[[LoadStats], None] = lambda _: None
    on_change: Callable[[Resident], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to use a worker, and for how long its model and then a place were waited for."""

    worker: Worker
    load_s: float
    queue_s: float
    is_alone: Callable[[], bool]  # no other request has used any worker since it was given


class Pool:
    """Keeps workers for models, as many as fit. Make it and use it on the main thread's loop."""

    def __init__(self, options: PoolOptions) -> None:
        self._options = options
        self._residents: dict[str, Resident] = {}
        self._budget = Budget(options.max_models, options.memory_limit)
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
        self._budget.take_in(model)
        resident = self._residents.get(model.model_id)
        if resident is None:
            resident = Resident(model, self._options.ttl_s)
            self._residents[model.model_id] = resident
        elif model is not resident.model:
            resident.succeed_by(model)
        return resident

    def places(self, model: ServedModel) -> int:
        """Return how many requests for ``model`` may run or wait at once."""
        return model.config.n_parallel + self._options.max_queue

    def fitting(self, models: Sequence[ServedModel]) -> list[ServedModel]:
        """Return the first of ``models``, as many as fit into memory together."""
        first: list[ServedModel] = []
        for model in models:
            self.resident(model)
            if self._budget.room().holds([m.memory_by_device for m in (*first, model)]):
                first.append(model)
        return first

    @asynccontextmanager
    async def lease(self, model: ServedModel) -> AsyncIterator[Lease]:
        """Give the right to use a worker of ``model``, loaded if need be.

        Raises:
            ApiError: 429 when the queue is full; 503 when the model cannot be had, or not in time.
        """
        resident = self.resident(model)
        self._admit(resident)
        resident.admitted += 1
        asked_at = time.monotonic()
        try:
            worker, waited_s = await self._wait_for(resident)
            load_s = min(max(resident.ready_since - asked_at, 0.0), waited_s)
            try:
                yield Lease(worker, load_s, waited_s - load_s, self._watch_for_others())
            finally:
                resident.leave()
        finally:
            resident.admitted -= 1
            self._step()

    async def load(self, model: ServedModel) -> Resident:
        """Load ``model``; return when it is loaded, however long that takes.

        Raises:
            ApiError: 503 when it cannot be had.
        """
        resident = self.resident(model)
        self._admit(resident)
        if resident.state != "ready":
            loaded = resident.call_for()
            self._step()
            await loaded
        return resident

    async def unload(self, model: ServedModel) -> Resident:
        """Unload ``model`` if it is loaded; return when it is gone.

        Raises:
            ApiError: 409 while it is busy or pinned.
        """
        resident = self.resident(model)
        if resident.admitted or resident.called_for or resident.state == "starting":
            raise refusals.busy(resident)
        if resident.pinned and resident.state == "ready":
            raise refusals.is_pinned(resident)
        resident.wanted_since = None
        if resident.state == "ready":
            self._let_go(resident, "asked")
        if resident.unloading is not None:
            await asyncio.wait([resident.unloading])
        return resident

    def pin(self, model: ServedModel, *, pinned: bool) -> Resident:
        """Have ``model`` stay in memory once it is there, or no longer."""
        resident = self.resident(model)
        resident.pinned = pinned
        if resident.occupies:
            self._options.on_change(resident)
        self._step()
        return resident

    def renew(self, model: ServedModel) -> None:
        """Have ``model`` replace the one of the same name: at once, or when nobody uses it."""
        if model.model_id in self._residents:
            self.resident(model)
            self._step()

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

    def _watch_for_others(self) -> Callable[[], bool]:
        """Return what tells whether the one request that is active now has been alone since."""
        before = self._handed_out()
        alone = sum(resident.active for resident in self.residents) == 1
        return lambda: alone and self._handed_out() == before

    def _handed_out(self) -> int:
        return sum(resident.handed_out for resident in self.residents)

    async def _wait_for(self, resident: Resident) -> tuple[Worker, float]:
        """Return the worker, and for how many seconds it was waited for."""
        waiter = resident.enter()
        self._step()
        at_once = waiter.worker.done()
        try:
            worker = await waiter.worker
        except asyncio.CancelledError:
            if not waiter.worker.cancelled() and waiter.worker.exception() is None:
                resident.leave()  # it was handed over in the moment in which the client left
            raise
        return worker, 0.0 if at_once else time.monotonic() - waiter.since

    def _admit(self, resident: Resident) -> None:
        """Refuse at once what would wait in vain."""
        if self._closing:
            raise shutting_down()
        if refusal := resident.setbacks.refusal(time.monotonic()):
            raise refusals.resting(resident, refusal)
        if resident.admitted >= self.places(resident.model):
            raise refusals.queue_full(resident, self._wait_s(resident))
        if resident.state != "ready":
            waiting = sum(r.admitted - r.active for r in self.residents if r.state != "ready")
            if waiting >= self._options.max_waiting:
                raise refusals.too_many_waiting(waiting, self._wait_s(resident))

    def _wait_s(self, resident: Resident) -> float:
        """Return how long those take who wait already, by how fast it went lately."""
        n_waiting = max(resident.admitted - resident.model.config.n_parallel, 1)
        load_s = 0.0 if resident.state == "ready" else resident.load_s or 0.0
        wait_s = load_s + (resident.rate.seconds_for(n_waiting) or 0.0)
        return min(max(wait_s, _LEAST_RETRY_S), self._options.max_wait_s)

    def _step(self) -> None:
        """Do what is to be done now."""
        if self._closing:
            return
        now = time.monotonic()
        # Reading the memory limit takes a few system calls, which most steps can do without.
        room = self._budget.room() if any(r.wanted for r in self.residents) else _NO_ROOM
        standings = [resident.standing(now) for resident in self.residents]
        decision = decide(standings, Rules(room, self._options.max_wait_s), now)
        for model_id, n_requests in decision.late.items():
            late = self._residents[model_id]
            max_wait_s = self._options.max_wait_s
            error = refusals.waited_too_long(late, max_wait_s, self._wait_s(late))
            late.refuse(error, n_requests)
        for model_id, why_not in decision.refused.items():
            refused = self._residents[model_id]
            refused.refuse(self._explain(refused, why_not, room, now))
        for model_id, keeps in decision.started.items():
            self._start(self._residents[model_id], keeps)
        for model_id, why_go in decision.unloaded.items():
            self._let_go(self._residents[model_id], why_go)
        for model_id, n_requests in decision.admitted.items():
            self._residents[model_id].release(n_requests)
        self._step_again(decision.again_at, now)

    def _step_again(self, at: float | None, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = asyncio.get_running_loop().call_later(at - now, self._step)

    def _explain(self, resident: Resident, why: WhyNot, room: Room, now: float) -> ApiError:
        if refusal := resident.setbacks.refusal(now):
            return refusals.resting(resident, refusal)
        if why == "pinned":
            pinned = [r for r in self.residents if r.pinned and r.occupies]
            return refusals.no_room_beside(resident, pinned, room)
        return refusals.too_large(resident, room)

    def _start(self, resident: Resident, keeps: int) -> None:
        resident.state, resident.progress, resident.keeps = "starting", 0.0, keeps
        resident.wanted_since = None
        self._spawn(self._load(resident))

    async def _load(self, resident: Resident) -> None:
        started_at = time.monotonic()
        self._options.on_change(resident)
        try:
            resident.worker = await Worker.start(
                resident.model.path,
                worker_config(resident.config),
                mmproj=resident.model.mmproj,
                launch=self._options.launch,
                on_progress=lambda progress: self._note_progress(resident, progress),
                log_path=self._log_path(resident.model),
            )
        except (MlmError, OSError) as error:
            failure = error if isinstance(error, MlmError) else EngineError(str(error))
            resident.setbacks.note_load_failure(time.monotonic(), failure.message)
            resident.refuse(refusals.load_failed(resident, failure))
            _log.warning("cannot load %s: %s", resident.model.model_id, failure.message)
            self._note_load(resident, time.monotonic() - started_at)
            resident.become_stopped()
        else:
            resident.become_ready(time.monotonic() - started_at)
            self._note_load(resident, time.monotonic() - started_at)
            self._spawn(self._watch(resident, resident.worker))
        self._step()
        self._options.on_change(resident)

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

    def _let_go(self, resident: Resident, why: WhyGo | Literal["asked"]) -> None:
        resident.state = "stopping"
        resident.unloading = self._spawn(self._unload(resident, why))

    async def _unload(self, resident: Resident, why: WhyGo | Literal["asked"]) -> None:
        assert resident.worker is not None
        self._options.on_change(resident)
        _log.info("unloading %s %s", resident.model.model_id, _WHY[why])
        await resident.worker.stop()
        resident.become_stopped(wanted=why == "outdated")
        self._options.on_change(resident)
        self._step()

    async def _watch(self, resident: Resident, worker: Worker) -> None:
        """Notice the death of a worker that nobody stopped, and have it replaced."""
        death = await worker.wait_dead()
        if resident.worker is not worker or resident.state != "ready" or self._closing:
            return
        resident.crashes += 1
        resident.setbacks.note_crash(time.monotonic(), death.message)
        resident.become_stopped(wanted=True)
        _log.warning("%s: %s", resident.model.model_id, death.message)
        self._options.on_change(resident)
        self._step()

    def _log_path(self, model: ServedModel) -> Path | None:
        return self._options.log_dir / model.log_name if self._options.log_dir else None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
