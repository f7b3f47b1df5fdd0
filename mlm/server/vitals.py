"""How the server and its machine are doing: CPU, memory, open files, GPUs.

Nothing is read unless somebody looks, nothing more often than once a second, and nothing on the
server's loop: a driver may take seconds to answer, or never do.
"""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import psutil

from mlm.hardware.gpu_load import GpuLoad, read_gpu_loads

MAX_AGE_S = 1.0  # of what is shown
PATIENCE_S = 0.5  # for something newer
_MAX_SPAN_S = 10.0  # a share of the CPU over a longer time says nothing of now …
_SHORT_SPAN_S = 0.2  # … so it is measured over this one

Reading = TypeVar("Reading")


@dataclass(frozen=True, slots=True)
class ProcessLoad:
    """What one process takes. Sizes are bytes; what is not known is None."""

    cpu_s: float  # since it was started
    rss_bytes: int
    fds: int | None
    threads: int
    cpu_percent: float | None = None  # 100 is one core; None: it has only just been seen


@dataclass(frozen=True, slots=True)
class HostLoad:
    """What the machine is up to, with all that runs on it."""

    cpu_percent: float | None  # 100 is all cores
    cores: int
    memory_total: int
    memory_available: int


@dataclass(frozen=True, slots=True)
class MachineLoad:
    """The machine, and the processes of the server that could be seen, by their ids."""

    host: HostLoad
    processes: dict[int, ProcessLoad]


class Vitals:
    """What ``/metrics`` and ``/admin/stats`` say of the machine."""

    def __init__(self, workers: Callable[[], Iterable[int]]) -> None:
        """``workers`` returns process ids; it is called on another thread."""
        self._machine = Lookout(_MachineReader(workers).read)
        self._gpus = Lookout(read_gpu_loads)

    async def read(self) -> tuple[MachineLoad | None, tuple[GpuLoad, ...]]:
        """Return the machine, None before anything is known, and its GPUs."""
        machine, gpus = await asyncio.gather(self._machine.look(), self._gpus.look())
        return machine, gpus or ()


class Lookout(Generic[Reading]):
    """Gives what ``read`` returned lately; it is called on a thread for which nobody waits long."""

    def __init__(self, read: Callable[[], Reading]) -> None:
        self._read = read
        self._latest: Reading | None = None
        self._read_at = float("-inf")
        self._reading: Future[None] | None = None

    async def look(self) -> Reading | None:
        """Return what is at most `MAX_AGE_S` old; older, or None, where it is not to be had."""
        if time.monotonic() - self._read_at >= MAX_AGE_S:
            if self._reading is None or self._reading.done():
                self._reading = Future()
                work = threading.Thread(target=self._refresh, args=(self._reading,), daemon=True)
                work.start()
            await asyncio.wait([asyncio.wrap_future(self._reading)], timeout=PATIENCE_S)
        return self._latest

    def _refresh(self, reading: "Future[None]") -> None:
        try:
            with suppress(OSError, psutil.Error):
                self._latest = self._read()
        finally:
            self._read_at = time.monotonic()
            reading.set_result(None)


class _MachineReader:
    """Reads the machine; shares of the CPU are those since the last time."""

    def __init__(self, workers: Callable[[], Iterable[int]]) -> None:
        self._workers = workers
        self._at = float("-inf")
        self._host_s = (0.0, 0.0)  # CPU seconds of all cores: busy, all
        self._processes: dict[int, ProcessLoad] = {}

    def read(self) -> MachineLoad:
        """Return how things are."""
        if time.monotonic() - self._at > _MAX_SPAN_S:
            self._look()
            time.sleep(_SHORT_SPAN_S)
        at, (busy, everything), before = self._at, self._host_s, self._processes
        self._look()
        memory, span = psutil.virtual_memory(), self._host_s[1] - everything
        return MachineLoad(
            HostLoad(
                cpu_percent=_percent(self._host_s[0] - busy, span),
                cores=psutil.cpu_count() or 1,
                memory_total=int(memory.total),
                memory_available=int(memory.available),
            ),
            {pid: self._since(at, before.get(pid), now) for pid, now in self._processes.items()},
        )

    def _since(self, at: float, before: ProcessLoad | None, now: ProcessLoad) -> ProcessLoad:
        if before is None:
            return now
        return replace(now, cpu_percent=_percent(now.cpu_s - before.cpu_s, self._at - at))

    def _look(self) -> None:
        found = {}
        for pid in (os.getpid(), *self._workers()):
            with suppress(psutil.Error):
                found[pid] = _read_process(pid)
        self._at, self._host_s, self._processes = time.monotonic(), _read_host_cpu(), found


def _read_process(pid: int) -> ProcessLoad:
    process = psutil.Process(pid)
    with process.oneshot():
        times = process.cpu_times()
        return ProcessLoad(
            cpu_s=times.user + times.system,
            rss_bytes=int(process.memory_info().rss),
            fds=process.num_fds() if hasattr(process, "num_fds") else None,  # not on Windows
            threads=process.num_threads(),
        )


def _read_host_cpu() -> tuple[float, float]:
    """Return the CPU seconds of all cores since boot: busy ones, and all."""
    times = psutil.cpu_times()
    # The time of guests is also in that of whoever runs them.
    everything = sum(times) - getattr(times, "guest", 0) - getattr(times, "guest_nice", 0)
    return everything - times.idle - getattr(times, "iowait", 0), everything


def _percent(part_s: float, whole_s: float) -> float | None:
    return round(max(part_s / whole_s, 0.0) * 100, 1) if whole_s > 0 else None
