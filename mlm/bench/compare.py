"""Whether one bench was faster than another, and how sure that is."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import exp, log
from random import Random
from statistics import fmean
from typing import Any

from mlm.bench.load import Run
from mlm.errors import UsageError

RESAMPLES = 2000
SEED = 7  # the same two files give the same interval


@dataclass(frozen=True, slots=True)
class Change:
    """One figure in two benches: geometric means, their ratio and its 95 % interval."""

    metric: str
    before: float
    after: float
    ratio: float  # after / before
    low: float
    high: float
    is_better_higher: bool

    @property
    def slowdown_pct(self) -> float:
        """How much slower it became, in percent; negative if it became faster."""
        return (1 / self.ratio - 1 if self.is_better_higher else self.ratio - 1) * 100

    @property
    def is_certain(self) -> bool:
        """Whether "no change" lies outside the interval."""
        return not self.low <= 1 <= self.high

    def fields(self) -> dict[str, Any]:
        """Return what a report holds of it."""
        return {
            **asdict(self),
            "slowdown_pct": self.slowdown_pct,
            "is_certain": self.is_certain,
        }

    def fails(self, gate_pct: float) -> bool:
        """Whether it is slower by more than ``gate_pct`` percent, and not by mere chance."""
        return self.is_certain and self.slowdown_pct > gate_pct


_METRICS: tuple[tuple[str, Callable[[Run], float | None], bool], ...] = (
    ("ttft_ms", lambda run: run.ttft_ms, False),
    ("decode_tps", lambda run: run.decode_tps, True),
    ("e2e_ms", lambda run: run.e2e_ms, False),
)


def compare(before: Sequence[Run], after: Sequence[Run]) -> tuple[Change, ...]:
    """Return how each figure changed. Only prompts that both benches asked are compared.

    The interval is a bootstrap over requests, drawn within each prompt, so that a bench with more
    long prompts does not look slower.

    Raises:
        UsageError: a prompt was answered only once, so that nobody knows what is chance.
    """
    for runs in (before, after):
        answered = Counter(run.prompt for run in runs if run.counts)
        if not answered or min(answered.values()) < 2:
            raise UsageError(
                "a comparison needs at least two answers to each prompt", remedy="--rounds 3"
            )
    changes = (
        _compare(name, _by_prompt(before, value), _by_prompt(after, value), is_better_higher)
        for name, value, is_better_higher in _METRICS
    )
    return tuple(change for change in changes if change)


def _by_prompt(runs: Sequence[Run], value: Callable[[Run], float | None]) -> dict[str, list[float]]:
    """Return the logarithms of a figure, grouped by prompt."""
    groups: dict[str, list[float]] = {}
    for run in runs:
        figure = value(run)
        if run.counts and figure:
            groups.setdefault(run.prompt, []).append(log(figure))
    return groups


def _compare(
    metric: str,
    before: dict[str, list[float]],
    after: dict[str, list[float]],
    is_better_higher: bool,
) -> Change | None:
    prompts = sorted(before.keys() & after.keys())
    if not prompts:
        return None
    old, new = [before[name] for name in prompts], [after[name] for name in prompts]
    random = Random(SEED)
    drawn = sorted(
        _mean(_resample(new, random)) - _mean(_resample(old, random)) for _ in range(RESAMPLES)
    )
    return Change(
        metric,
        before=exp(_mean(old)),
        after=exp(_mean(new)),
        ratio=exp(_mean(new) - _mean(old)),
        low=exp(drawn[int(RESAMPLES * 0.025)]),
        high=exp(drawn[int(RESAMPLES * 0.975)]),
        is_better_higher=is_better_higher,
    )


def _mean(groups: Sequence[Sequence[float]]) -> float:
    """Return the mean of the groups' means: every prompt counts the same."""
    return fmean(fmean(group) for group in groups)


def _resample(groups: Sequence[Sequence[float]], random: Random) -> list[list[float]]:
    return [random.choices(group, k=len(group)) for group in groups]
