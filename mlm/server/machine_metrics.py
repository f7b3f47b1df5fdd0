"""What Prometheus collects of the workers and of the machine."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from prometheus_client.metrics_core import Metric

from mlm.engine.messages import STEP_BOUNDS_S, Work
from mlm.hardware.gpu_load import GpuLoad
from mlm.server.families import Sample, counter, gauge, histogram
from mlm.server.services import Services
from mlm.server.vitals import MachineLoad


@dataclass(frozen=True, slots=True)
class Scene:
    """What has to be waited for before a page can be written."""

    services: Services
    machine: MachineLoad | None = None
    gpus: tuple[GpuLoad, ...] = ()
    cached: dict[str, int] = field(default_factory=lambda: {"entries": 0, "bytes": 0})

    @classmethod
    async def of(cls, services: Services) -> "Scene":
        """Return how things are now, or were a moment ago."""
        machine, gpus = await services.vitals.read()
        return cls(services, machine, gpus, await services.cache.count())


def describe_engines(scene: Scene) -> Iterator[Metric]:
    """Yield what the workers have done since they loaded their models, by their heartbeats."""
    work = _work(scene.services)
    steps = (
        ((model,), [sum(w.steps[: n + 1]) for n in range(len(w.steps))], w.step_s)
        for model, w in work.items()
    )
    meaning = "Steps of the engine, by how long they took"
    yield histogram("mlm_engine_step_seconds", meaning, "model", STEP_BOUNDS_S, steps)
    sequences = (((model,), w.sequences) for model, w in work.items())
    meaning = "Requests that steps computed a part of; divided by steps: how full batches are"
    yield counter("mlm_engine_sequences_total", meaning, "model", sequences)
    tokens: list[Sample] = []
    seconds: list[Sample] = []
    for model, w in work.items():
        tokens += [
            ((model, "prefill"), w.prefill_tokens),
            ((model, "decode"), w.decode_tokens),
            ((model, "reused"), w.reused_tokens),
        ]
        own_s = w.step_s - w.computing_s - w.choosing_s
        seconds += [
            ((model, "computing"), w.computing_s),
            ((model, "choosing"), w.choosing_s),
            ((model, "own"), max(own_s, 0.0)),
            ((model, "idle"), w.idle_s),
        ]
    meaning = "Tokens by what was done: prefill and decode were computed, reused were there"
    yield counter("mlm_engine_tokens_total", meaning, "model kind", tokens)
    meaning = "Where time goes: llama.cpp computing, choosing tokens, mlm's own work, idle"
    yield counter("mlm_engine_time_seconds_total", meaning, "model phase", seconds)


def describe_machine(scene: Scene) -> Iterator[Metric]:
    """Yield what the server, its workers and the machine take."""
    yield from _describe_server(scene)
    yield from _describe_workers(scene)
    yield from _describe_host(scene.machine)
    yield from _describe_gpus(scene.gpus)


def _work(services: Services) -> dict[str, Work]:
    return {
        resident.model.model_id: work
        for resident in services.pool.residents
        if resident.worker is not None and (work := resident.worker.work) is not None
    }


def _describe_server(scene: Scene) -> Iterator[Metric]:
    own = scene.machine.processes.get(os.getpid()) if scene.machine else None
    started = [((), scene.services.started_at)]
    yield gauge("mlm_start_time_seconds", "When the server started, Unix time", "", started)
    cpu = [((), own.cpu_s if own else None)]
    yield counter("mlm_process_cpu_seconds_total", "CPU time of the server itself", "", cpu)
    rss = [((), own.rss_bytes if own else None)]
    yield gauge("mlm_process_resident_memory_bytes", "Memory of the server itself", "", rss)
    fds = [((), own.fds if own else None)]
    yield gauge("mlm_process_open_fds", "Files and connections that it has open", "", fds)
    threads = [((), own.threads if own else None)]
    yield gauge("mlm_process_threads", "Threads of the server itself", "", threads)


def _describe_workers(scene: Scene) -> Iterator[Metric]:
    processes = scene.machine.processes if scene.machine else {}
    loads = {
        resident.model.model_id: processes[resident.worker.pid]
        for resident in scene.services.pool.residents
        if resident.worker is not None and resident.worker.pid in processes
    }
    cpu = (((model,), load.cpu_s) for model, load in loads.items())
    yield counter("mlm_worker_cpu_seconds_total", "CPU time of the model's worker", "model", cpu)
    rss = (((model,), load.rss_bytes) for model, load in loads.items())
    yield gauge("mlm_worker_resident_memory_bytes", "Memory of it", "model", rss)


def _describe_host(machine: MachineLoad | None) -> Iterator[Metric]:
    host = machine.host if machine else None
    percent = host.cpu_percent if host else None
    busy = [((), None if percent is None else percent / 100)]
    yield gauge("mlm_host_cpu_ratio", "Share of all cores that is busy, 0 to 1", "", busy)
    cores = [((), host.cores if host else None)]
    yield gauge("mlm_host_cpu_cores", "Cores that the system shows", "", cores)
    total = [((), host.memory_total if host else None)]
    yield gauge("mlm_host_memory_bytes", "Main memory", "", total)
    available = [((), host.memory_available if host else None)]
    yield gauge("mlm_host_memory_available_bytes", "What could still be had of it", "", available)


def _describe_gpus(gpus: tuple[GpuLoad, ...]) -> Iterator[Metric]:
    named = [((str(index), gpu.name), gpu) for index, gpu in enumerate(gpus)]
    busy = (
        (labels, None if gpu.utilisation_percent is None else gpu.utilisation_percent / 100)
        for labels, gpu in named
    )
    meaning = "Share of the time in which something ran on the GPU, 0 to 1"
    yield gauge("mlm_gpu_utilization_ratio", meaning, "gpu name", busy)
    used = ((labels, gpu.memory_used) for labels, gpu in named)
    yield gauge("mlm_gpu_memory_used_bytes", "Memory of the GPU in use", "gpu name", used)
    total = ((labels, gpu.memory_total) for labels, gpu in named)
    yield gauge("mlm_gpu_memory_bytes", "All its memory", "gpu name", total)
    power = ((labels, gpu.power_w) for labels, gpu in named)
    yield gauge("mlm_gpu_power_watts", "What it draws", "gpu name", power)
    heat = ((labels, gpu.temperature_c) for labels, gpu in named)
    yield gauge("mlm_gpu_temperature_celsius", "How hot it is", "gpu name", heat)
