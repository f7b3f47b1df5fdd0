"""What a load showed: percentiles, speeds and a rating.

The rating says how a person in front of the screen fares. It is the best grade of which all three
hold, and E when a request failed:

| Grade | First token, p95 | Reading speed, p50 | Why |
|---|---|---|---|
| A | 0.45 s | 25 tok/s | MLPerf Inference 5.0, llama2-70b interactive: 450 ms, 40 ms a token |
| B | 1 s | 12 tok/s | Nielsen, Usability Engineering (1993): up to 1 s a thought is not broken |
| C | 2 s | 5 tok/s | MLPerf Inference, llama2-70b server: 2 s, 200 ms a token |
| D | 10 s | 2 tok/s | Nielsen: after 10 s attention is lost |
| E | longer | slower | |
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from mlm.bench.load import Measured, Run
from mlm.stats.summary import percentile

Rating = Literal["A", "B", "C", "D", "E"]

_RATINGS: tuple[tuple[Rating, float, float], ...] = (
    ("A", 0.45, 25),
    ("B", 1, 12),
    ("C", 2, 5),
    ("D", 10, 2),
)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Of some times, in milliseconds; None where nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class PromptSummary:
    """What one prompt cost, or all of them together."""

    requests: int
    ttft_ms: Percentiles
    itl_ms: Percentiles
    e2e_ms: Percentiles
    decode_tps: float | None  # of one answer after its first token; the median


@dataclass(frozen=True, slots=True)
class Summary:
    """What a load showed. Requests that failed or that a cache answered are only counted."""

    all: PromptSummary
    by_prompt: dict[str, PromptSummary]
    failed: int
    cached: int
    prefill_tps: float | None  # prompt tokens per second of TTFT, of the longest prompt; the median
    total_tps: float | None  # tokens of all users per second
    rating: Rating


def summarise(measured: Measured) -> Summary:
    """Return what the runs of a load show."""
    counting = [run for run in measured.runs if run.counts]
    names = dict.fromkeys(run.prompt for run in measured.runs)
    failed = sum(run.error is not None for run in measured.runs)
    together = _summarise_runs(counting)
    tokens = sum(run.completion_tokens for run in counting)
    return Summary(
        all=together,
        by_prompt={
            name: _summarise_runs([run for run in counting if run.prompt == name]) for name in names
        },
        failed=failed,
        cached=len(measured.runs) - len(counting) - failed,
        prefill_tps=_prefill_tps(counting),
        total_tps=tokens / measured.wall_s if measured.wall_s > 0 else None,
        rating=rate(together.ttft_ms.p95, together.decode_tps, failed=failed),
    )


def rate(ttft_ms: float | None, decode_tps: float | None, *, failed: int = 0) -> Rating:
    """Return the grade for a p95 of TTFT and a median decode speed; see the module's table."""
    if failed or ttft_ms is None or decode_tps is None:
        return "E"
    for rating, longest_s, slowest_tps in _RATINGS:
        if ttft_ms <= longest_s * 1000 and decode_tps >= slowest_tps:
            return rating
    return "E"


def _summarise_runs(runs: Sequence[Run]) -> PromptSummary:
    speeds = [run.decode_tps for run in runs if run.decode_tps is not None]
    return PromptSummary(
        requests=len(runs),
        ttft_ms=_percentiles(run.ttft_ms for run in runs),
        itl_ms=_percentiles(gap for run in runs for gap in run.itl_ms),
        e2e_ms=_percentiles(run.e2e_ms for run in runs),
        decode_tps=median(speeds) if speeds else None,
    )


def _percentiles(times_ms: Iterable[float | None]) -> Percentiles:
    ordered = sorted(time for time in times_ms if time is not None)
    return Percentiles(*(percentile(ordered, percent) for percent in (50, 95, 99)))


def _prefill_tps(runs: Sequence[Run]) -> float | None:
    """Return the prefill speed where it shows best: at the longest prompt."""
    timed = [
        (run.prompt, run.prompt_tokens - (run.cached_tokens or 0), run.ttft_ms)
        for run in runs
        if run.prompt_tokens and run.ttft_ms
    ]
    if not timed:
        return None
    longest, _, _ = max(timed, key=lambda row: row[1])
    return median(tokens / ttft_ms * 1000 for prompt, tokens, ttft_ms in timed if prompt == longest)
