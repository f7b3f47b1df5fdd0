"""One model in the pool: its worker, who uses it and who waits for it."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Literal

from mlm.engine.process import Worker
from mlm.planning.evict import LoadedModel
from mlm.server.errors import ApiError
from mlm.server.model import ServedModel
from mlm.server.setbacks import Setbacks

State = Literal["stopped", "starting", "ready", "stopping"]


@dataclass(eq=False, slots=True)
class Resident:
    """A model that was asked for at least once. Changed only by the pool, on its loop."""

    model: ServedModel
    state: State = "stopped"
    worker: Worker | None = None
    progress: float = 0.0  # of the load
    active: int = 0  # requests that use the worker
    handed_out: int = 0  # times that a request got it
    admitted: int = 0  # requests that use it or wait for it
    yielding: bool = False  # finishes what it has, then makes room
    kept_warm: bool = False  # wanted even while nobody waits
    last_used_at: float = field(default_factory=time.monotonic)
    loads: int = 0
    crashes: int = 0
    setbacks: Setbacks = field(default_factory=Setbacks)
    waiters: list["asyncio.Future[Worker]"] = field(default_factory=list)

    @property
    def wanted(self) -> bool:
        """Whether it should be loaded."""
        someone_waits = any(not waiter.done() for waiter in self.waiters)
        return self.state == "stopped" and (self.kept_warm or someone_waits)

    @property
    def occupies(self) -> bool:
        """Whether it takes memory now."""
        return self.state != "stopped"

    @property
    def open(self) -> bool:
        """Whether a new request may use the worker at once."""
        alive = self.worker is not None and self.worker.alive
        return self.state == "ready" and alive and not self.yielding

    def describe(self, now: float) -> LoadedModel:
        """Return what `mlm.planning.evict` needs to know."""
        busy = self.active > 0 or self.state == "starting"
        idle_s = 0.0 if busy else now - self.last_used_at
        return LoadedModel(self.model.model_id, self.model.memory_by_device, idle_s, busy)

    def release(self) -> None:
        """Let those who wait use the worker."""
        assert self.worker is not None
        for waiter in self.waiters:
            if not waiter.done():
                self.active += 1
                self.handed_out += 1
                waiter.set_result(self.worker)
        self.waiters.clear()

    def refuse(self, error: ApiError) -> None:
        """Send those who wait away."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self.waiters.clear()
        self.kept_warm = False

    def enter(self) -> "asyncio.Future[Worker]":
        """Return the worker, now or later; who gets it counts as active until `leave`."""
        waiter: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self.waiters.append(waiter)
        if self.open:
            self.release()
        return waiter

    def leave(self) -> None:
        """Give the worker back."""
        self.active -= 1
        self.last_used_at = time.monotonic()
