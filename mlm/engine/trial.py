"""Measures how long small things take, one beside the other."""

import time
from collections.abc import Callable, Collection, Sequence
from statistics import median

Compute = Callable[[], object]
_MIN_ROUNDS = 3


class Trial:
    """Something that is done again and again, each time elsewhere in memory."""

    def __init__(self, parts: Sequence[Compute], n_units: int) -> None:
        """Each of ``parts`` does the same, ``n_units`` times."""
        self._parts, self._n_units = parts, n_units
        self._taken_s: list[float] = []

    def go(self) -> None:
        """Do it once."""
        compute = self._parts[len(self._taken_s) % len(self._parts)]
        started = time.perf_counter()
        compute()
        self._taken_s.append(time.perf_counter() - started)

    @property
    def seconds(self) -> float:
        """The time of a unit in the middle round."""
        return median(self._taken_s) / self._n_units


def take_turns(trials: Collection[Trial], seconds: float) -> float:
    """Let each of ``trials`` do its thing, one after the other, until so much time is over.

    Return how many CPUs it had: less than the threads, which wait for each other without rest, if
    other programs took them. Only on the whole: kernels count the time of other threads late.
    """
    started, given, rounds = time.perf_counter(), time.process_time(), 0
    while rounds < _MIN_ROUNDS or time.perf_counter() - started < seconds:
        for trial in trials:
            trial.go()
        rounds += 1
    return (time.process_time() - given) / (time.perf_counter() - started)
