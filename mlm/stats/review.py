"""A look back on the history: summed up by model, by key and by day."""

import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Literal

from mlm.stats.history import read_loads, read_requests
from mlm.stats.tally import Tally
from mlm.stats.types import RequestStats

By = Literal["model", "key", "day"]
MINUTE_S = 60


class Review:
    """What a history comes to. ``groups`` are its parts by model, key (its name) or day."""

    def __init__(self) -> None:
        self.models: dict[str, Tally] = defaultdict(Tally)
        self.groups: dict[str, Tally] = self.models
        self.minutes: dict[str, Counter[int]] = defaultdict(Counter)  # requests of each group
        self.n_loads = 0

    @property
    def n_requests(self) -> int:
        """All requests."""
        return sum(tally.requests for tally in self.models.values())


def review_history(path: Path, *, since: float | None = None, by: By = "model") -> Review:
    """Return what ended after ``since`` (Unix time), summed up.

    Raises:
        ConflictError: the history cannot be read.
    """
    review = Review()
    if by != "model":
        review.groups = defaultdict(Tally)
    for request, gaps in read_requests(path, since=since):
        group = _group_of(request, by)
        review.models[request.model].add(request, gaps)
        if by != "model":
            review.groups[group].add(request, gaps)
        review.minutes[group][int(request.finished_at // MINUTE_S)] += 1
    for load in read_loads(path, since=since):
        review.models[load.model].add_load(load)
        review.n_loads += 1
    return review


def count_over_time(minutes: Counter[int], first: int, last: int, n: int) -> list[int]:
    """Return the counts of ``n`` equal stretches from minute ``first`` to minute ``last``."""
    length = max((last - first + 1) / n, 1.0)
    counts = [0] * n
    for minute, count in minutes.items():
        counts[min(int((minute - first) / length), n - 1)] += count
    return counts


def _group_of(request: RequestStats, by: By) -> str:
    if by == "day":
        return time.strftime("%Y-%m-%d", time.localtime(request.finished_at))
    return request.tenant if by == "key" else request.model
