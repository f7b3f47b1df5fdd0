"""How well decode speeds are predicted: of published llama-bench results, by back end.

    PYTHONPATH=. python scripts/check_speeds.py

Each result is judged twice: with the constants that mlm has, which were fitted to all of them, and
held out, with constants fitted to the results of other devices only (of a back end with one device:
of other models). A result counts if it is of one accelerator that holds the model and could have
read so much; the others are counted. ``tests/planning/data`` says where each comes from.
"""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from published_speeds import Result, read_results

from mlm.planning.gpu_speed import ENGINES, Engine, time_on_accelerator
from mlm.planning.types import SpeedInterval

# Where a fit starts, alike for all back ends, and how far it may go (standard deviations of the
# logarithm): efficiencies for weights, experts and cache, seconds per layer and layer of experts.
_START = np.log([0.88, 0.80, 0.65, 40e-6, 40e-6])
_WIDTH = np.array([0.15, 0.2, 0.3, 0.5, 0.5])
_ENOUGH = 0.8  # an error so large (in logarithms) is another story, and counts no more if larger
_INTERVAL = (0.75, 1.25)  # as in mlm.planning.speed


@dataclass(frozen=True, slots=True)
class Miss:
    """How far a prediction was from a result."""

    error: float  # relative to the result
    covered: bool  # by the interval

    @classmethod
    def of(cls, speed: SpeedInterval, actual: float) -> "Miss":
        """Compare a prediction with what came."""
        return cls(abs(speed.mid / actual - 1), speed.low <= actual <= speed.high)


def main() -> None:
    """Print a table."""
    judged: dict[str, list[Result]] = defaultdict(list)
    left_out: Counter[str] = Counter()
    for result in read_results():
        reason = result.why_not_judged
        if reason is None:
            judged[result.kind].append(result)
        else:
            left_out[reason] += 1
    print(f"{'':28}{'n':>5}{'median':>9}{'in 35 %':>9}{'covered':>9}")
    fitted: list[Miss] = []
    held_out: list[Miss] = []
    for kind, results in judged.items():
        fitted += _show(
            f"{kind}, as shipped", [Miss.of(r.predict(), r.decode_tps) for r in results]
        )
        held_out += _show(f"{kind}, held out", hold_out(results))
        prefilled = [(r.predict_prefill(), r.prefill_tps) for r in results if r.prefill_tps]
        _show(f"{kind}, prefill as shipped", [Miss.of(speed, tps) for speed, tps in prefilled])
    _show("all, as shipped", fitted)
    _show("all, held out", held_out)
    for reason, count in left_out.items():
        print(f"not judged: {count}, {reason}")
    for kind, results in judged.items():
        print(
            f"fitted anew, {kind}:", ", ".join(f"{x:.3g}" for x in fit(_traits(results), results))
        )


def _show(name: str, misses: Sequence[Miss]) -> Sequence[Miss]:
    near = sum(miss.error <= 0.35 for miss in misses) / len(misses)
    covered = sum(miss.covered for miss in misses) / len(misses)
    middle = statistics.median(miss.error for miss in misses)
    print(f"{name:28}{len(misses):5}{middle:9.1%}{near:9.1%}{covered:9.1%}")
    return misses


def hold_out(results: Sequence[Result]) -> list[Miss]:
    """Return how each is predicted by what fits the others."""
    devices = {result.device for result in results}
    group: Callable[[Result], str] = (
        (lambda r: r.device) if len(devices) > 1 else (lambda r: r.model)
    )
    traits = _traits(results)
    names = [group(result) for result in results]
    misses = []
    for name in dict.fromkeys(names):
        others = [index for index, each in enumerate(names) if each != name]
        constants = fit(traits[others], [results[index] for index in others])
        for index, each in enumerate(names):
            if each == name:
                tps = 1 / float(traits[index] @ _weigh(constants))
                speed = SpeedInterval(tps * _INTERVAL[0], tps, tps * _INTERVAL[1])
                misses.append(Miss.of(speed, results[index].decode_tps))
    return misses


def _traits(results: Sequence[Result]) -> "np.ndarray":
    """Return per result what each constant is multiplied with: the model is linear in them."""
    typical = ENGINES["cuda"].typical_bandwidth
    tiny = 1e30  # an efficiency that makes its part vanish
    probes = [
        Engine(*(1.0 if index == each else tiny for index in range(3)), 0.0, 0.0, 1.0, typical)
        for each in range(3)
    ]
    probes += [
        Engine(tiny, tiny, tiny, *(float(index == each) for index in range(2)), 1.0, typical)
        for each in range(2)
    ]
    return np.array(
        [
            [
                time_on_accelerator(r.part, r.shape, r.config, r.n_past, probe)[0].total
                for probe in probes
            ]
            for r in results
        ]
    )


def _weigh(constants: "np.ndarray") -> "np.ndarray":
    return np.concatenate([1 / constants[:3], constants[3:]])


def fit(traits: "np.ndarray", results: Sequence[Result]) -> "np.ndarray":
    """Return the constants with the least absolute errors; repeated set-ups count less each."""
    setups = [(result.device, result.model, result.source) for result in results]
    counts = Counter(setups)
    weights = np.array([1 / math.sqrt(counts[setup]) for setup in setups])
    weights *= len(counts) / weights.sum()
    actual = np.array([result.decode_tps for result in results])

    def loss(point: "np.ndarray") -> float:
        errors = np.abs(np.log(actual * (traits @ _weigh(np.exp(point)))))
        pull = 0.5 * float((((point - _START) / _WIDTH) ** 2).sum())
        return float((weights * np.minimum(errors, _ENOUGH)).sum()) + pull

    return np.exp(_descend(loss, _START))


def _descend(loss: Callable[["np.ndarray"], float], start: "np.ndarray") -> "np.ndarray":
    """Return where ``loss`` is least, by trying smaller and smaller steps along each axis."""
    best, value, step = start.copy(), loss(start), 0.2
    while step > 1e-3:
        improved = False
        for axis in range(len(start)):
            for direction in (step, -step):
                point = best.copy()
                point[axis] += direction
                if (found := loss(point)) < value:
                    best, value, improved = point, found, True
        if not improved:
            step /= 2
    return best


if __name__ == "__main__":
    main()
