"""Puts predictions to the test: what was said of a served model beside what came of it.

Observations go to the ledger (`mlm.stats.ledger`). Nothing here may fail or delay a request.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import get_args
from weakref import WeakSet

from mlm.engine.messages import BufferKind, Finished
from mlm.engine.process import Worker
from mlm.hardware.process_memory import read_gpu_memory, read_peak_rss
from mlm.hardware.strain import read_cpu_pressure
from mlm.planning.evidence import MIN_MODEL_BYTES
from mlm.planning.placement import device_at, kind_of, placement_of, split_model
from mlm.planning.speed import time_token
from mlm.server.model import Premises, ServedModel
from mlm.stats.types import DeviceKind, Observation, Quantity, Source

# Fewer tokens say more of the clock than of the machine: one decode step in thirty is 3 %.
MIN_DECODED, MIN_PREFILLED = 32, 128
# Where somebody waits for a CPU for so much of the time, the machine is not the model's alone. The
# worker's own threads, no more than cores, wait for nobody; gateway and client cost a few percent.
MAX_PRESSURE = 0.25
GATHER_S = 120.0  # of the speeds of this time, the middle one is remembered
_MAX_GATHERED = 1000


@dataclass(frozen=True, slots=True)
class _Subject:
    """A loaded model whose predictions can be put to the test."""

    model: ServedModel
    premises: Premises
    worker: Worker

    @property
    def placement(self) -> DeviceKind:
        """Where its layers are."""
        premises = self.premises
        return placement_of(split_model(premises.shape, self.model.config, premises.hardware))

    def observe(
        self,
        source: Source,
        what: tuple[DeviceKind, Quantity],
        figures: tuple[float, float],
        n_past: int | None = None,
        attention_share: float | None = None,
    ) -> Observation:
        """Return an observation of it; ``figures`` are what was predicted and what came."""
        shape, config = self.premises.shape, self.model.config
        is_prefill = what[1] == "prefill_tps"
        return Observation(
            at=time.time(),
            machine=self.premises.hardware.fingerprint,
            engine=self.worker.ready.engine,
            model=self.model.model_id,
            architecture=shape.architecture,
            quant=shape.quant,
            device=what[0],
            quantity=what[1],
            predicted=figures[0],
            actual=figures[1],
            n_past=n_past,
            attention_share=attention_share,
            n_threads=config.n_threads_batch if is_prefill else config.n_threads,
            source=source,
        )


@dataclass(slots=True)
class _Speeds:
    """What was measured in one series: each as (tokens per second, tokens in the context)."""

    subject: _Subject
    measured: list[tuple[float, int]] = field(default_factory=list)


# Speeds that may be compared. The number is the magnitude of the tokens in the context, in bits.
_Series = tuple[Worker, Source, Quantity, int]


class Observer:
    """Watches loads and answers. It lives on the server's loop; ``note`` must not wait."""

    def __init__(self, note: Callable[[Observation], object] = lambda _: None) -> None:
        self._note = note
        self._speeds: dict[_Series, _Speeds] = {}
        self._weighed: WeakSet[Worker] = WeakSet()
        self._timer: asyncio.TimerHandle | None = None

    def note_load(self, model: ServedModel, worker: Worker) -> None:
        """Compare what llama.cpp took with the plan, buffer by buffer."""
        subject = _find_subject(model, worker)
        if subject is None:
            return
        planned: Counter[tuple[DeviceKind, BufferKind]] = Counter()
        for device in model.memory.devices:
            for kind in get_args(BufferKind):
                planned[kind_of(device.device), kind] += getattr(device, kind)
        taken: Counter[tuple[DeviceKind, BufferKind]] = Counter()
        for buffer in worker.ready.buffers:
            taken[kind_of(device_at(buffer.place)), buffer.kind] += buffer.n_bytes
        if model.config.embedding:  # room for results grows with the inputs, of which none has come
            taken = Counter({what: size for what, size in taken.items() if what[1] != "output"})
        for what, n_bytes in taken.items():
            self._note(subject.observe("load", what, (planned[what], n_bytes)))

    def note_answer(
        self, model: ServedModel, worker: Worker, finished: Finished, source: Source
    ) -> None:
        """Take in how long an answer took that had the machine to itself."""
        subject = _find_subject(model, worker)
        if subject is None:
            return
        decoded = finished.completion_tokens - 1  # the first token ends the prefill
        computed = finished.prompt_tokens - finished.cached_tokens
        if decoded >= MIN_DECODED:
            self._weigh(subject)
        if (read_cpu_pressure() or 0.0) > MAX_PRESSURE:
            return  # a speed of now would be that of a slower machine
        if decoded >= MIN_DECODED and finished.decode_s > 0:
            n_past = finished.prompt_tokens + decoded // 2
            self._gather(subject, source, "decode_tps", (decoded / finished.decode_s, n_past))
        if computed >= MIN_PREFILLED and finished.prefill_s > 0:
            n_past = finished.cached_tokens + computed // 2
            self._gather(subject, source, "prefill_tps", (computed / finished.prefill_s, n_past))

    def flush(self) -> None:
        """Say now what has been gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        series, self._speeds = self._speeds, {}
        for (_, source, quantity, _), speeds in series.items():
            ordered = sorted(speeds.measured)
            self._note_speed(speeds.subject, source, quantity, ordered[len(ordered) // 2])

    def _gather(
        self, subject: _Subject, source: Source, quantity: Quantity, measured: tuple[float, int]
    ) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(GATHER_S, self.flush)
        series = (subject.worker, source, quantity, measured[1].bit_length())
        speeds = self._speeds.setdefault(series, _Speeds(subject))
        if len(speeds.measured) < _MAX_GATHERED:
            speeds.measured.append(measured)

    def _note_speed(
        self, subject: _Subject, source: Source, quantity: Quantity, measured: tuple[float, int]
    ) -> None:
        premises, (tps, n_past) = subject.premises, measured
        bandwidth = premises.hardware.memory_bandwidth_bytes_per_s
        if subject.placement in ("cpu", "mixed") and bandwidth is None:
            return  # a prediction without it is not the one that `mlm plan` makes
        decode, prefill = time_token(
            premises.shape, subject.model.config, premises.hardware, n_past=n_past
        )
        time = decode if quantity == "decode_tps" else prefill
        what, figures = (subject.placement, quantity), (1 / time.total, tps)
        self._note(subject.observe(source, what, figures, n_past, time.attention_share))

    def _weigh(self, subject: _Subject) -> None:
        """Compare what the whole process takes with the plan, once, now that it has worked."""
        if subject.worker in self._weighed:
            return
        self._weighed.add(subject.worker)
        devices = subject.model.memory.devices
        on_cpu = sum(device.total for device in devices if device.device == "cpu")
        if rss := read_peak_rss(subject.worker.pid):
            self._note(subject.observe("serve", (subject.placement, "rss"), (on_cpu, rss)))
        on_cuda = sum(d.total for d in devices if kind_of(d.device) == "cuda")
        if on_cuda:  # NVML takes its time
            loop = asyncio.get_running_loop()
            loop.run_in_executor(None, self._weigh_on_gpu, subject, on_cuda)

    def _weigh_on_gpu(self, subject: _Subject, predicted: int) -> None:
        if n_bytes := read_gpu_memory(subject.worker.pid):
            what: tuple[DeviceKind, Quantity] = (subject.placement, "device_memory")
            self._note(subject.observe("serve", what, (predicted, n_bytes)))


def _find_subject(model: ServedModel, worker: Worker) -> _Subject | None:
    if model.premises is None or model.premises.shape.disk_bytes < MIN_MODEL_BYTES:
        return None
    return _Subject(model, model.premises, worker)
