"""What this machine's own runs say of the predictions for it: how far off they are, and how surely.

Each observation is a ratio of what came to what was predicted. Three things make it differ from 1:
the machine (all its models are off alike), the model (its kind is off), and chance (the same run
again). Their usual sizes tell how much of a ratio belongs to which, and so what it says of another
model on the machine: the arithmetic is that of a random-effects model, on logarithms, with medians
in place of means so that a run beside other work does no harm.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlm.stats.types import DeviceKind, Observation, Quantity

_SPEEDS = ("decode_tps", "prefill_tps")
_RECENT = 50  # of a model: older ones were another version of everything
_Z = 1.645  # an interval of so many standard deviations to each side holds nine of ten


@dataclass(frozen=True, slots=True)
class _Scatter:
    """Standard deviations of the logarithm of actual to predicted."""

    machine: float
    model: float
    chance: float


# Speeds: between devices, and between models on one device, of the published results that
# tests/planning/test_published_speeds.py holds; between runs, of three models on a virtual machine
# with nothing else to do, minutes apart.
# Bytes: llama.cpp's buffers against plans for real shapes (tests/planning/test_truth.py).
_SPEED = _Scatter(machine=0.25, model=0.10, chance=0.06)
_BYTES = _Scatter(machine=0.02, model=0.02, chance=0.005)


@dataclass(frozen=True, slots=True)
class Correction:
    """What to multiply a prediction with, and how far off it is usually then."""

    factor: float
    spread: float  # standard deviation of the logarithm of what comes to what is said
    n: int  # observations behind it

    @property
    def low(self) -> float:
        """The lower end of an interval, as a share of the corrected figure."""
        return math.exp(-_Z * self.spread)

    @property
    def high(self) -> float:
        """The upper end."""
        return math.exp(_Z * self.spread)


_Key = tuple[DeviceKind, Quantity]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The corrections for one machine and engine; without observations there are none."""

    of_devices: Mapping[_Key, Correction] = field(default_factory=dict)
    of_models: Mapping[tuple[_Key, str], Correction] = field(default_factory=dict)

    def find(
        self, device: DeviceKind, quantity: Quantity, model: str | None = None
    ) -> Correction | None:
        """Return the correction of one figure; None where nothing is known of such devices.

        Of a ``model`` that has not run here: what the others on the device say of it.
        """
        key = (device, quantity)
        found = self.of_models.get((key, model)) if model is not None else None
        return found or self.of_devices.get(key)


NOTHING_KNOWN = Calibration()


def variant_name(model: str, quant: str | None) -> str:
    """Return a model's id with its quantization: ``qwen3-8b:Q4_K_M``, served as what it may be."""
    ending = f":{quant}"
    if quant is None:
        return model
    return model.removesuffix(ending).removesuffix(ending.lower()) + ending


def calibrate(observations: Iterable[Observation], engine: str | None = None) -> Calibration:
    """Return what the observations of one machine say of it, in the order they were made.

    Only those with ``engine`` count; None means the engine of the last one.
    """
    known = [one for one in observations if one.means_something]
    if engine is None and known:
        engine = known[-1].engine
    ratios: dict[_Key, dict[str, list[Observation]]] = {}
    for one in known:
        if one.engine == engine:
            models = ratios.setdefault((one.device, one.quantity), {})
            models.setdefault(variant_name(one.model, one.quant), []).append(one)
    of_devices: dict[_Key, Correction] = {}
    of_models: dict[tuple[_Key, str], Correction] = {}
    for key, models in ratios.items():
        logs = {model: _logs(found) for model, found in models.items()}
        scatter = _SPEED if key[1] in _SPEEDS else _BYTES
        of_devices[key] = device = _of_device(list(logs.values()), scatter)
        for model, found in logs.items():
            of_models[key, model] = _of_model(found, device, scatter)
    return Calibration(of_devices, of_models)


def _logs(observations: Sequence[Observation]) -> list[float]:
    """Return the logarithms of the ratios that count: a bench is made to be one."""
    benches = [one for one in observations if one.source == "bench"]
    return [math.log(one.ratio) for one in (benches or observations)[-_RECENT:]]


def _of_device(models: Sequence[Sequence[float]], scatter: _Scatter) -> Correction:
    """Return what a model may expect that has not run here."""
    each = scatter.model**2 + scatter.chance**2  # of what one model says of the machine
    weight = scatter.machine**2 / (scatter.machine**2 + each / len(models))
    middle = _median([_median(logs) for logs in models])
    left = (1 - weight) * scatter.machine**2
    return Correction(
        factor=math.exp(weight * middle),
        spread=math.sqrt(left + scatter.model**2 + scatter.chance**2),
        n=sum(map(len, models)),
    )


def _of_model(logs: Sequence[float], device: Correction, scatter: _Scatter) -> Correction:
    """Return what the model may expect that these observations are of."""
    usual = scatter.machine**2 + scatter.model**2
    weight = usual / (usual + scatter.chance**2 / len(logs))
    expected = math.log(device.factor)
    left = (1 - weight) * usual
    return Correction(
        factor=math.exp(expected + weight * (_median(logs) - expected)),
        spread=math.sqrt(left + scatter.chance**2),
        n=len(logs),
    )


def _median(values: Sequence[float]) -> float:
    """Return the middle value; importing `statistics` for it costs every command 10 ms."""
    ordered, middle = sorted(values), len(values) // 2
    return (ordered[middle] + ordered[~middle]) / 2
