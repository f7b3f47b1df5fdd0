"""A look back on the history: summed up by model, by key, by day and by hour."""

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from mlm.stats.history import read_loads, read_requests
from mlm.stats.tally import Tally
from mlm.stats.types import RequestStats

By = Literal["model", "key", "day", "hour"]
SPANS = {"day": "%Y-%m-%d", "hour": "%Y-%m-%d %H:00"}  # of local time, by which they sort
MINUTE_S, HOUR_S = 60, 3600


class Review:
    """What a history comes to. ``groups`` are its parts by model, key (its name), day or hour."""

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


def fill_gaps(names: Sequence[str], by: By) -> list[str]:
    """Return all days or hours from the first to the last of ``names``, which are some of them."""
    moments = [time.mktime(time.strptime(name, SPANS[by])) for name in names]
    if not moments:
        return []
    hours = range(int(min(moments)), int(max(moments)) + 1, HOUR_S)
    found = {time.strftime(SPANS[by], time.localtime(moment)) for moment in hours}
    return sorted(found | set(names))


def _group_of(request: RequestStats, by: By) -> str:
    if by in SPANS:
        return time.strftime(SPANS[by], time.localtime(request.finished_at))
    return request.tenant if by == "key" else request.model
