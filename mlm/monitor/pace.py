"""Figures that take several readings to tell: speeds, rates, and how things went lately."""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from mlm.monitor.types import Machine, ModelState, Reading, Work

SPAN_S = 120.0  # that charts show
_HEARTBEATS = 4  # readings of a worker that a speed is drawn from
_WINDOW_S = 10.0  # that a rate is drawn from

Point = tuple[float, float]  # when (monotonic seconds), and what


@dataclass(frozen=True, slots=True)
class Speed:
    """Tokens per second."""

    decode: float
    prefill: float


@dataclass(frozen=True, slots=True)
class Pace:
    """How it goes at ``at`` (monotonic seconds)."""

    at: float = 0.0
    speeds: Mapping[str, Speed] = field(default_factory=dict)  # by model, of those loaded
    requests_per_s: float | None = None
    traces: Mapping[str, tuple[Point, ...]] = field(default_factory=dict)  # by what is charted

    @property
    def decode(self) -> float:
        """Tokens per second of all answers."""
        return sum(speed.decode for speed in self.speeds.values())

    @property
    def prefill(self) -> float:
        """Tokens per second of all prompts."""
        return sum(speed.prefill for speed in self.speeds.values())


class Pacer:
    """Takes readings in as they come."""

    def __init__(self) -> None:
        self._works: dict[str, deque[Work]] = {}
        self._totals: deque[Point] = deque()
        self._traces: dict[str, deque[Point]] = {}

    def note(self, reading: Reading, now: float) -> Pace:
        """Return how it goes with ``reading``, that came at ``now`` (monotonic seconds)."""
        speeds = {m.name: speed for m in reading.models if (speed := self._speed_of(m)) is not None}
        pace = Pace(now, speeds, self._rate_of(reading.requests, now))
        self._remember("tokens", now, pace.decode)
        self._remember("requests", now, pace.requests_per_s)
        self._remember("cache", now, _percent(reading.cache.hit_rate))
        self._remember_machine(reading.machine, now)
        return replace(pace, traces={key: tuple(points) for key, points in self._traces.items()})

    def _speed_of(self, model: ModelState) -> Speed | None:
        """Return the speed of a model by its worker's own clock; None until it has a past."""
        seen = self._works.setdefault(model.name, deque(maxlen=_HEARTBEATS))
        work = model.work
        if work is None or (seen and work.clock_s < seen[-1].clock_s):
            seen.clear()  # gone, or loaded anew
        if work is not None and not (seen and work.clock_s == seen[-1].clock_s):
            seen.append(work)
        if len(seen) < 2:
            return None
        first, last = seen[0], seen[-1]
        seconds = last.clock_s - first.clock_s
        return Speed(
            (last.decode_tokens - first.decode_tokens) / seconds,
            (last.prefill_tokens - first.prefill_tokens) / seconds,
        )

    def _rate_of(self, total: int, now: float) -> float | None:
        """Return requests per second, of which there have been ``total``."""
        totals = self._totals
        if totals and total < totals[-1][1]:
            totals.clear()  # the server has been started anew
        totals.append((now, total))
        while totals[0][0] < now - _WINDOW_S:
            totals.popleft()
        seconds = now - totals[0][0]
        return (total - totals[0][1]) / seconds if seconds > 0 else None

    def _remember_machine(self, machine: Machine, now: float) -> None:
        self._remember("cpu", now, machine.cpu_percent)
        self._remember("memory", now, machine.memory_used)
        for index, gpu in enumerate(machine.gpus):
            busy = gpu.busy_percent
            self._remember(f"gpu {index}", now, gpu.memory_used if busy is None else busy)

    def _remember(self, key: str, now: float, value: float | None) -> None:
        points = self._traces.setdefault(key, deque())
        if value is not None:
            points.append((now, value))
        while points and points[0][0] < now - SPAN_S:
            points.popleft()


def _percent(share: float | None) -> float | None:
    return None if share is None else share * 100
