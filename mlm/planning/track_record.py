"""How well predictions have come true on a machine: bias and spread of every figure."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import get_args

from mlm.planning.calibration import Estimate, calibrate
from mlm.planning.types import TIGHT_SHARE
from mlm.stats.summary import percentile
from mlm.stats.types import SPEEDS, DeviceKind, Observation, Quantity

BUFFERS: tuple[Quantity, ...] = ("weights", "repack", "kv_cache", "compute", "output")
_MEASURED: tuple[Quantity, ...] = ("rss", "device_memory")
# What a plan leaves free: off by more, and what "fits" does not. A process may well be smaller than
# planned, for it does not touch every page that it has reserved.
MAX_MEMORY_BIAS = 1 - TIGHT_SHARE


@dataclass(frozen=True, slots=True)
class Record:
    """What became of all predictions of one quantity; shares are of what was predicted."""

    device: DeviceKind
    quantity: Quantity
    n: int
    n_models: int
    bias: float  # actual / predicted - 1, the median over models
    low: float  # of single observations: one in ten is lower …
    high: float  # … and one in ten is higher
    # What later predictions are multiplied with, as far as the time goes to weights, and as far as
    # it goes to attention; None: memory is not.
    correction: float | None
    attention_correction: float | None

    @property
    def is_speed(self) -> bool:
        """Whether it is about tokens per second, not bytes."""
        return self.quantity in SPEEDS


@dataclass(frozen=True, slots=True)
class TrackRecord:
    """What became of the predictions for one machine, with the engine that ran there last."""

    engine: str | None
    n_models: int
    records: tuple[Record, ...]
    memory_bias: float | None  # of all buffers of a load together, the median over models
    findings: tuple[str, ...]

    def find(self, quantity: Quantity) -> Record | None:
        """Return the record of a quantity that most observations are behind."""
        found = [record for record in self.records if record.quantity == quantity]
        return max(found, key=lambda record: record.n, default=None)


def sum_up(observations: Iterable[Observation]) -> TrackRecord:
    """Return what became of the predictions, in the order in which they were made."""
    known = [one for one in observations if one.means_something]
    if not known:
        return TrackRecord(None, 0, (), None, ())
    engine = known[-1].engine
    current = [one for one in known if one.engine == engine]
    groups: dict[tuple[DeviceKind, Quantity], list[Observation]] = defaultdict(list)
    for one in current:
        groups[one.device, one.quantity].append(one)
    calibration = calibrate(current, engine)
    records = []
    for device in get_args(DeviceKind):
        for quantity in get_args(Quantity):
            if group := groups.get((device, quantity)):
                found = calibration.of_devices[device, quantity] if quantity in SPEEDS else None
                records.append(_record(group, found))
    memory_bias = _memory_bias(current)
    n_models = len({one.variant for one in current})
    findings = tuple(_findings(records, memory_bias))
    return TrackRecord(engine, n_models, tuple(records), memory_bias, findings)


def _record(group: Sequence[Observation], found: Estimate | None) -> Record:
    by_model: dict[str, list[float]] = defaultdict(list)
    for one in group:
        by_model[one.variant].append(one.ratio)
    ordered = sorted(one.ratio for one in group)
    low, high = percentile(ordered, 10), percentile(ordered, 90)
    assert low is not None
    assert high is not None
    return Record(
        device=group[0].device,
        quantity=group[0].quantity,
        n=len(group),
        n_models=len(by_model),
        bias=median(median(ratios) for ratios in by_model.values()) - 1,
        low=low - 1,
        high=high - 1,
        correction=found.at(0.0).factor if found else None,
        attention_correction=found.at(1.0).factor if found else None,
    )


def _memory_bias(observations: Sequence[Observation]) -> float | None:
    """Return how far off the buffers of a load were together.

    A small buffer may be off by half and do no harm; the latest figures of each model count.
    """
    latest: dict[str, dict[tuple[DeviceKind, Quantity], Observation]] = defaultdict(dict)
    for one in observations:
        if one.quantity in BUFFERS:
            latest[one.variant][one.device, one.quantity] = one
    ratios = [
        sum(one.actual for one in buffers.values()) / sum(one.predicted for one in buffers.values())
        for buffers in latest.values()
    ]
    return median(ratios) - 1 if ratios else None


def _findings(records: Sequence[Record], memory_bias: float | None) -> list[str]:
    found = []
    if memory_bias is not None and abs(memory_bias) > MAX_MEMORY_BIAS:
        found.append(f"llama.cpp takes {describe_bias(memory_bias)} memory than was planned")
    found += [
        f"{_NAMES[record.quantity]} is {describe_bias(record.bias)} than was planned"
        for record in records
        if record.quantity in _MEASURED and record.bias > MAX_MEMORY_BIAS
    ]
    return found


_NAMES = {"rss": "a worker's memory", "device_memory": "the memory that a worker has on its GPU"}


def describe_bias(bias: float) -> str:
    """Return ``4 % more`` or ``12 % less``."""
    return f"{abs(bias):.0%} {'more' if bias > 0 else 'less'}".replace("%", " %")
