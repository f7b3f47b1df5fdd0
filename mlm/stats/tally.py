"""What requests came to, added up as they end: counts of all of them, percentiles of the latest."""

from collections import Counter
from typing import Any

from mlm.stats.digest import Digest
from mlm.stats.types import LoadStats, RequestStats

WELL = "ok"  # the outcome of a request that had no error
_PERCENTS = (50, 95, 99)


class Spread:
    """How durations of one kind are spread. With a ``window``, percentiles are of the latest."""

    def __init__(self, window: int | None = None) -> None:
        """Keep percentiles of between one and two ``window`` values; None: of all of them."""
        self.all = Digest()
        self._window = window
        self._newer, self._older = Digest(), Digest()

    def add(self, seconds: float | None) -> None:
        """Take in how long something took; None: it did not happen."""
        if seconds is not None:
            for digest in self._open():
                digest.add(seconds)

    def merge(self, others: Digest) -> None:
        """Take in how long many things took."""
        for digest in self._open():
            digest.merge(others)

    def summarise(self) -> dict[str, float | int | None]:
        """Return count, average, extremes and percentiles in milliseconds."""
        everything = self.all
        latest = everything
        if self._window is not None:
            latest = Digest()
            latest.merge(self._older)
            latest.merge(self._newer)
        count = everything.count
        percentiles = zip(_PERCENTS, latest.percentiles(_PERCENTS), strict=True)
        return {
            "count": count,
            "avg": everything.total_s * 1000 / count if count else None,
            "min": everything.least_s * 1000 if count else None,
            "max": everything.most_s * 1000 if count else None,
            **{f"p{percent}": None if at is None else at * 1000 for percent, at in percentiles},
        }

    def _open(self) -> tuple[Digest, ...]:
        """Return the digests that count what comes next."""
        if self._window is None:
            return (self.all,)
        if self._newer.count >= self._window:
            self._older, self._newer = self._newer, Digest()
        return self.all, self._newer


class Tally:
    """The requests of one model, one key or one day. It takes the same room however many."""

    def __init__(self, window: int | None = None) -> None:
        """Keep percentiles of about so many of the latest requests; None: of all."""
        self.requests = self.prompt_tokens = self.cached_tokens = self.completion_tokens = 0
        self.outcomes: Counter[tuple[str, str]] = Counter()  # endpoint, error code or `WELL`
        self.cache: Counter[str] = Counter()  # by what the response cache did
        self.ttft, self.queue, self.e2e, self.load = (Spread(window) for _ in range(4))
        self.itl = Spread(window and window * 10)  # an answer has many gaps
        self.failed_loads = 0
        self._span: tuple[float, float] | None = None  # when the first and the last ended
        self._summary: dict[str, Any] | None = None  # of what has come so far

    def add(self, request: RequestStats, gaps: Digest) -> None:
        """Take in a request; ``gaps`` are those between its tokens."""
        self._summary = None
        self.requests += 1
        self.prompt_tokens += request.prompt_tokens
        self.cached_tokens += request.cached_tokens
        self.completion_tokens += request.completion_tokens
        self.outcomes[request.endpoint, WELL if request.ok else request.error or "unknown"] += 1
        self.cache[request.cache] += 1
        at = request.finished_at
        first, last = self._span or (at, at)
        self._span = min(first, at), max(last, at)
        if request.ok:
            self.ttft.add(request.ttft_s)
            self.queue.add(request.queue_s)
            self.e2e.add(request.e2e_s)
            self.itl.merge(gaps)

    def add_load(self, load: LoadStats) -> None:
        """Take in the load of a model."""
        self._summary = None
        if load.ok:
            self.load.add(load.load_s)
        else:
            self.failed_loads += 1

    def summarise(self) -> dict[str, Any]:
        """Return the fields of a row of ``mlm.stats/1``, but for what it is the row of."""
        if self._summary is None:  # whoever watches asks more often than there is news
            self._summary = self._sum_up()
        return self._summary

    def _sum_up(self) -> dict[str, Any]:
        by_outcome: Counter[str] = Counter()
        for (_, outcome), n in self.outcomes.items():
            by_outcome[outcome] += n
        well = by_outcome.pop(WELL, 0)
        served = self.requests - by_outcome["cancelled"]
        gaps = self.itl.all
        return {
            "requests": self.requests,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cached_tokens": self.cached_tokens,
            "ttft_ms": self.ttft.summarise(),
            "itl_ms": self.itl.summarise(),
            "e2e_ms": self.e2e.summarise(),
            "load_ms": self.load.summarise(),
            "decode_tps": gaps.count / gaps.total_s if gaps.total_s else None,
            "requests_per_s": self._requests_per_s(),
            "success_rate": well / served if served else None,
            "errors": dict((+by_outcome).most_common()),
        }

    def _requests_per_s(self) -> float | None:
        """Return the rate between the first and the last request; one alone has none."""
        if self._span is None or self._span[0] == self._span[1]:
            return None
        return (self.requests - 1) / (self._span[1] - self._span[0])
