"""Whether one server is faster than another, from rounds in which they took turns.

A machine's speed drifts by more than two servers differ; within a round it hits both alike. So the
two figures of a round are divided first, and the ratios are summed up: by their median, of which
the interval needs no assumption about how they are spread.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import comb
from statistics import median
from typing import Any

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Ratio:
    """One figure of both sides over all rounds that count; ``ratio`` is A's divided by B's.

    ``low`` and ``high`` hold the true median with 95 % confidence; None with too few rounds.
    """

    scenario: str
    figure: str
    is_better_higher: bool
    a: float  # the median of its rounds
    b: float
    ratio: float
    low: float | None
    high: float | None
    least: float
    most: float
    rounds: tuple[float, ...]

    @property
    def slowdown_pct(self) -> float:
        """How much slower A is, in percent; negative if it is faster."""
        return (1 / self.ratio - 1 if self.is_better_higher else self.ratio - 1) * 100

    @property
    def is_certain(self) -> bool:
        """Whether "equally fast" lies outside the interval."""
        return self.low is not None and self.high is not None and not self.low <= 1 <= self.high

    def fails(self, gate_pct: float) -> bool:
        """Whether A is slower by more than ``gate_pct`` percent, and not by mere chance."""
        return self.is_certain and self.slowdown_pct > gate_pct

    def fields(self) -> dict[str, Any]:
        """Return what a report holds of it."""
        return {
            **asdict(self),
            "slowdown_pct": self.slowdown_pct,
            "is_certain": self.is_certain,
        }


def divide(
    scenario: str, figure: str, is_better_higher: bool, pairs: Sequence[tuple[float, float]]
) -> Ratio:
    """Return the ratio of a figure; ``pairs`` are those of A and B in one round, at least one."""
    ratios = sorted(a / b for a, b in pairs)
    low, high = median_interval(ratios)
    return Ratio(
        scenario,
        figure,
        is_better_higher,
        a=median(a for a, _ in pairs),
        b=median(b for _, b in pairs),
        ratio=median(ratios),
        low=low,
        high=high,
        least=ratios[0],
        most=ratios[-1],
        rounds=tuple(a / b for a, b in pairs),
    )


def median_interval(ordered: Sequence[float]) -> tuple[float | None, float | None]:
    """Return between which of the ``ordered`` values the true median lies, at least `CONFIDENCE`.

    Each value is above the median by the toss of a coin, so the k smallest and the k largest can
    be left out if fewer than k heads, or tails, are unlikely enough. Five values are too few.
    """
    n = len(ordered)
    left_out = -1
    tail = 0.0  # probability that the median lies beyond the value with the index ``left_out + 1``
    while left_out + 1 < n / 2:
        tail += comb(n, left_out + 1) / 2**n
        if 2 * tail > 1 - CONFIDENCE:
            break
        left_out += 1
    if left_out < 0:
        return None, None
    return ordered[left_out], ordered[n - 1 - left_out]
