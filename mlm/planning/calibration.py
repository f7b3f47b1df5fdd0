"""What this machine's own runs say of the predictions for it: how far off they are, and how surely.

Each observation is a ratio of what came to what was predicted. Three things make it differ from 1:
the machine (all its models are off alike), the model (its kind is off), and chance (the same run
again). Their usual sizes tell how much of a ratio belongs to which, and so what it says of another
model on the machine: the arithmetic is that of a random-effects model, on logarithms, with medians
in place of means so that a run beside other work does no harm.

The time of a token has two parts that may be off each in its own way: the weights, and attention
over the cache, which grows with the context. Runs with several contexts tell the two apart; as long
as there is one context only, what is known of the attention is mostly what is known of the weights.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mlm.stats.types import SPEEDS, DeviceKind, Observation, Quantity

_RECENT = 50  # of a model and context: older ones were another version of everything
# Beyond so many, runs with one context only repeat what the two parts of the time cannot explain.
_ENOUGH = 4
_BETWEEN = 0.5  # of chance: what differs between two contexts of a bench, which are seconds apart
_Z = 1.645  # an interval of so many standard deviations to each side holds nine of ten
_ANYTHING = 1e6  # a variance
# Of logarithms: what is further off than by a factor of a thousand was no run, and of attention
# beside the weights nobody has seen half as much as a factor of seven.
_WILD, _MOST = 7.0, 2.0
_ROUNDS = 6  # of Newton's method; three are enough for what is usual


@dataclass(frozen=True, slots=True)
class _Scatter:
    """Standard deviations of the logarithm of actual to predicted."""

    machine: float
    model: float
    chance: float
    attention: float = 0.25  # of that part beside the other: between machines, and between models


# Speeds: between devices, and between models on one device, of the published results that
# tests/planning/test_published_speeds.py holds; between runs, of three models on a virtual machine
# with nothing else to do, minutes apart; attention, of those three on two machines.
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


@dataclass(frozen=True, slots=True)
class Estimate:
    """How far off both parts of a time are; as logarithms of what came to what was predicted.

    Bytes have one part alone, that of the weights.
    """

    weights: float
    attention: float  # what has to be added to it for that part
    doubt: tuple[float, float, float]  # variance of the one, their covariance, that of the other
    chance: float  # variance of a run
    n: int  # observations behind it

    def at(self, share: float) -> Correction:
        """Return the correction where attention takes this share of the predicted time."""
        taken = _log_time(self.weights, self.attention, share)
        weights, both, attention = self.doubt
        variance = weights + 2 * share * both + share**2 * attention
        return Correction(math.exp(-taken), math.sqrt(variance + self.chance), self.n)


_Key = tuple[DeviceKind, Quantity]


@dataclass(frozen=True, slots=True)
class Calibration:
    """The corrections for one machine and engine; without observations there are none."""

    of_devices: Mapping[_Key, Estimate] = field(default_factory=dict)
    of_models: Mapping[tuple[_Key, str], Estimate] = field(default_factory=dict)

    def find(
        self, device: DeviceKind, quantity: Quantity, model: str | None = None, share: float = 0.0
    ) -> Correction | None:
        """Return the correction of one figure; None where nothing is known of such devices.

        Of a ``model`` that has not run here: what the others on the device say of it. ``share`` is
        that of attention in the predicted time.
        """
        key = (device, quantity)
        found = self.of_models.get((key, model)) if model is not None else None
        found = found or self.of_devices.get(key)
        return None if found is None else found.at(share)

    def fastest(self) -> float:
        """Return how many times as fast as predicted any decoding can be here; at least 1."""
        estimates = [
            *(each for (_, what), each in self.of_devices.items() if what == "decode_tps"),
            *(each for ((_, what), _), each in self.of_models.items() if what == "decode_tps"),
        ]
        return max([1.0, *(each.at(share).factor for each in estimates for share in (0.0, 1.0))])


NOTHING_KNOWN = Calibration()


def calibrate(observations: Iterable[Observation], engine: str | None = None) -> Calibration:
    """Return what the observations of one machine say of it, in the order they were made.

    Only those with ``engine`` count; None means the engine of the last one.
    """
    known = [one for one in observations if one.means_something]
    if engine is None and known:
        engine = known[-1].engine
    runs: dict[_Key, dict[str, list[Observation]]] = {}
    for one in known:
        if one.engine == engine:
            models = runs.setdefault((one.device, one.quantity), {})
            models.setdefault(one.variant, []).append(one)
    of_devices: dict[_Key, Estimate] = {}
    of_models: dict[tuple[_Key, str], Estimate] = {}
    for key, models in runs.items():
        scatter = _SPEED if key[1] in SPEEDS else _BYTES
        seen = {model: _by_context(found) for model, found in models.items()}
        of_devices[key] = device = _of_device(list(seen.values()), scatter)
        for model, contexts in seen.items():
            of_models[key, model] = _of_model(contexts, device, scatter)
    return Calibration(of_devices, of_models)


@dataclass(frozen=True, slots=True)
class _Context:
    """What runs with about as many tokens in the context say together."""

    ratio: float  # logarithm of actual to predicted; the median
    share: float  # of attention in the predicted time
    n: int


def _by_context(observations: Sequence[Observation]) -> list[_Context]:
    """Return what the runs of a model say that count: a bench is made to be one."""
    benches = [one for one in observations if one.source == "bench"]
    groups: dict[int, list[Observation]] = {}
    for one in benches or observations:
        groups.setdefault((one.n_past or 0).bit_length(), []).append(one)
    return [
        _Context(
            min(max(_median([math.log(one.ratio) for one in group[-_RECENT:]]), -_WILD), _WILD),
            _median([one.attention_share or 0.0 for one in group[-_RECENT:]]),
            len(group[-_RECENT:]),
        )
        for group in groups.values()
    ]


def _of_device(models: Sequence[Sequence[_Context]], scatter: _Scatter) -> Estimate:
    """Return what a model may expect that has not run here."""
    attending = scatter.attention**2
    single = [
        _fit(contexts, (0.0, 0.0), (_ANYTHING, 2 * attending), scatter) for contexts in models
    ]
    telling = [one for one, contexts in zip(single, models, strict=True) if len(contexts) > 1]
    weights, left = _shrink(
        [one.weights for one in single], scatter.machine**2, scatter.model**2 + scatter.chance**2
    )
    attention, unsure = _shrink([one.attention for one in telling], attending, attending)
    doubt = (left + scatter.model**2, 0.0, unsure + attending)
    return Estimate(weights, attention, doubt, scatter.chance**2, sum(one.n for one in single))


def _shrink(values: Sequence[float], usual: float, each: float) -> tuple[float, float]:
    """Return what to believe of something with the variance ``usual`` around 0, told by values of
    which one has the variance ``each`` around it; and the variance that is left."""
    if not values:
        return 0.0, usual
    weight = usual / (usual + each / len(values))
    return weight * _median(values), (1 - weight) * usual


def _of_model(contexts: Sequence[_Context], device: Estimate, scatter: _Scatter) -> Estimate:
    """Return what the model may expect that these runs are of."""
    usual = (scatter.machine**2 + scatter.model**2, 2 * scatter.attention**2)
    return _fit(contexts, (device.weights, device.attention), usual, scatter)


def _fit(
    contexts: Sequence[_Context],
    expected: tuple[float, float],
    usual: tuple[float, float],
    scatter: _Scatter,
) -> Estimate:
    """Return the likeliest of what could be, given what was ``expected`` and how far off that
    ``usual``ly is (variances): by Newton's method, as the two parts add up before the logarithm."""
    weights, attention = expected
    chance = scatter.chance * (_BETWEEN if len(contexts) > 1 else 1.0)
    for _ in range(_ROUNDS):
        a, b, d = 1 / usual[0], 0.0, 1 / usual[1]
        e, f = (expected[0] - weights) * a, (expected[1] - attention) * d
        for one in contexts:
            sure = min(one.n, _ENOUGH) / chance**2
            taken = _log_time(weights, attention, one.share)
            slope = one.share * math.exp(-weights - attention - taken)
            a, b, d = a + sure, b + sure * slope, d + sure * slope**2
            e, f = e + sure * (one.ratio + taken), f + sure * slope * (one.ratio + taken)
        determinant = a * d - b * b
        weights += (e * d - f * b) / determinant
        attention += (f * a - e * b) / determinant
        attention = min(max(attention, -_MOST), _MOST)  # so that no step leads astray
    doubt = (d / determinant, -b / determinant, a / determinant)
    return Estimate(weights, attention, doubt, scatter.chance**2, sum(one.n for one in contexts))


def _log_time(weights: float, attention: float, share: float) -> float:
    """Return the logarithm of the time that comes, where 1 was predicted."""
    return -weights + math.log(1 - share + share * math.exp(-attention))


def _median(values: Sequence[float]) -> float:
    """Return the middle value; importing `statistics` for it costs every command 10 ms."""
    ordered, middle = sorted(values), len(values) // 2
    return (ordered[middle] + ordered[~middle]) / 2
