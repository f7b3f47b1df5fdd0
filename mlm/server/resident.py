"""One model in the pool: its worker, who uses it and who waits for it."""

import asyncio
import time
from dataclasses import dataclass, field, replace
from itertools import islice

from mlm.engine.process import Worker
from mlm.planning.residency import MAIN_MEMORY, Standing, State
from mlm.planning.types import RuntimeConfig
from mlm.server.errors import ApiError
from mlm.server.model import ServedModel, worker_config
from mlm.server.service_rate import ServiceRate
from mlm.server.setbacks import Setbacks


@dataclass(eq=False, slots=True)
class Waiter:
    """A request that will get the worker."""

    since: float
    worker: "asyncio.Future[Worker]"


@dataclass(eq=False, slots=True)
class Resident:
    """A model that was asked for at least once. Changed only by the pool, on its loop."""

    model: ServedModel
    ttl_s: float | None = None  # idle for so long, it is unloaded
    state: State = "stopped"
    worker: Worker | None = None
    progress: float = 0.0  # of the load
    active: int = 0  # requests that use the worker
    handed_out: int = 0  # times that a request got it
    admitted: int = 0  # requests that use it or wait for it
    pinned: bool = False
    successor: ServedModel | None = None  # how it is to be loaded the next time
    keeps: int = 0  # bytes of main memory that the worker may keep prefixes in
    wanted_since: float | None = None  # to be loaded even while nobody waits
    ready_since: float = 0.0
    last_used_at: float = field(default_factory=time.monotonic)
    load_s: float | None = None  # how long the last load took
    unloading: "asyncio.Task[None] | None" = None  # the last time that it was unloaded
    loads: int = 0
    crashes: int = 0
    setbacks: Setbacks = field(default_factory=Setbacks)
    rate: ServiceRate = field(default_factory=ServiceRate)
    waiters: list[Waiter] = field(default_factory=list)
    callers: list["asyncio.Future[None]"] = field(default_factory=list)

    @property
    def wanted(self) -> bool:
        """Whether it should be loaded."""
        someone_waits = any(not waiter.worker.done() for waiter in self.waiters)
        return self.state == "stopped" and (self.wanted_since is not None or someone_waits)

    @property
    def called_for(self) -> bool:
        """Whether somebody waits for it to be loaded without having a request."""
        return any(not caller.done() for caller in self.callers)

    @property
    def occupies(self) -> bool:
        """Whether it takes memory now."""
        return self.state != "stopped"

    @property
    def idle_s(self) -> float | None:
        """For how long nobody has used it; None while somebody does, or it is not loaded."""
        if self.state != "ready" or self.admitted:
            return None
        return time.monotonic() - self.last_used_at

    @property
    def config(self) -> RuntimeConfig:
        """The config that its worker has, or would have."""
        kept = self.keeps if self.occupies else self.model.config.prefix_cache
        return replace(self.model.config, prefix_cache=kept)

    @property
    def memory_by_device(self) -> dict[str, int]:
        """Bytes per device, those for prefixes among them."""
        memory = dict(self.model.memory_by_device)
        memory[MAIN_MEMORY] = memory.get(MAIN_MEMORY, 0) + (self.keeps if self.occupies else 0)
        return memory

    def standing(self, now: float) -> Standing:
        """Return what `mlm.planning.residency` needs to know; those who have left are forgotten."""
        self.waiters = [waiter for waiter in self.waiters if not waiter.worker.done()]
        return Standing(
            model_id=self.model.model_id,
            needed=self.model.memory_by_device,
            state=self.state,
            keeps_at_most=self.model.config.prefix_cache,
            keeps=self.keeps if self.occupies else 0,
            waiting=tuple(waiter.since for waiter in self.waiters),
            active=self.active,
            places=places_of(self.model),
            alive=self.worker is not None and self.worker.alive,
            wanted_since=self.wanted_since,
            ready_since=self.ready_since,
            last_used_at=self.last_used_at,
            ttl_s=self.ttl_s,
            pinned=self.pinned,
            outdated=self.successor is not None,
            resting=self.setbacks.refusal(now) is not None,
            may_start_at=self.setbacks.restart_at(now),
        )

    def enter(self) -> Waiter:
        """Wait for the worker; who gets it counts as active until `leave`."""
        waiter = Waiter(time.monotonic(), asyncio.get_running_loop().create_future())
        self.waiters.append(waiter)
        return waiter

    def call_for(self) -> "asyncio.Future[None]":
        """Have it loaded; the future is done when it is."""
        caller: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.callers.append(caller)
        if self.state != "starting" and self.wanted_since is None:
            self.wanted_since = time.monotonic()
        return caller

    def release(self, n_requests: int) -> None:
        """Let so many of those who wait use the worker."""
        assert self.worker is not None
        for waiter in self._take(n_requests):
            if not self.active:
                self.rate.note_begin(time.monotonic())
            self.active += 1
            self.handed_out += 1
            waiter.worker.set_result(self.worker)

    def refuse(self, error: ApiError, n_requests: int | None = None) -> None:
        """Send so many of those who wait away; None: all, and it is not wanted any more."""
        for waiter in self._take(n_requests):
            waiter.worker.set_exception(error)
        if n_requests is None:
            self.wanted_since = None
            for caller in self.callers:
                if not caller.done():
                    caller.set_exception(error)
            self.callers.clear()

    def become_ready(self, load_s: float) -> None:
        """Note that the worker can take requests, after so many seconds."""
        self.state, self.progress, self.load_s = "ready", 1.0, load_s
        self.loads += 1
        self.setbacks.note_loaded()
        self.ready_since = self.last_used_at = time.monotonic()
        for caller in self.callers:
            if not caller.done():
                caller.set_result(None)
        self.callers.clear()

    def become_stopped(self, *, wanted: bool = False) -> None:
        """Note that the worker is gone; `wanted` is one that should be loaded again."""
        self.state, self.worker, self.keeps = "stopped", None, 0
        if self.successor is not None:
            self.model, self.successor = self.successor, None
        if wanted:
            self.wanted_since = time.monotonic()

    def succeed_by(self, model: ServedModel) -> None:
        """Take in how it is to be run from now on; what needs another worker waits for that."""
        before = (self.model.files, worker_config(self.model.config))
        after = (model.files, worker_config(model.config))
        if self.occupies and before != after:
            self.successor = model
        else:
            self.model, self.successor = model, None

    def leave(self) -> None:
        """Give the worker back."""
        self.active -= 1
        self.last_used_at = time.monotonic()
        self.rate.note_end(self.last_used_at, others=self.active > 0)

    def _take(self, n_requests: int | None) -> list[Waiter]:
        """Return those who have waited longest and are still there; they wait no more."""
        present = [waiter for waiter in self.waiters if not waiter.worker.done()]
        taken = list(islice(present, n_requests))
        self.waiters = present[len(taken) :]
        return taken


def places_of(model: ServedModel) -> int:
    """Return how many requests a worker is given at once.

    One waits behind each that runs, prepared, so that no slot is ever empty; the others wait where
    they can still be told that it takes too long. Vectors are made of all inputs together.
    """
    return 2**31 if model.config.embedding else 2 * model.config.n_parallel
