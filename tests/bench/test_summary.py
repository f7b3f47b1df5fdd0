"""Percentiles, speeds and the rating are what the runs say."""

import pytest

from mlm.bench.load import Measured, Run
from mlm.bench.summary import Percentiles, rate, summarise


def run(prompt: str = "short", **figures) -> Run:
    given = {"ttft_ms": 100.0, "itl_ms": (40.0, 60.0), "e2e_ms": 200.0, "decode_tps": 20.0}
    counts = {"prompt_tokens": 30, "cached_tokens": 0, "completion_tokens": 3}
    return Run(prompt, 0, 0, **(given | counts | figures))


def test_times_are_summed_up_over_all_requests_and_per_prompt():
    runs = (run(ttft_ms=100.0), run(ttft_ms=300.0), run("long", ttft_ms=200.0))
    summary = summarise(Measured(runs, wall_s=3))
    assert summary.all.ttft_ms.p50 == 200
    assert summary.by_prompt["short"].ttft_ms.p50 == 200
    assert summary.by_prompt["long"].requests == 1
    assert summary.all.itl_ms == Percentiles(50, 60, 60)
    assert summary.total_tps == 3  # nine tokens in three seconds


def test_prefill_speed_is_that_of_the_longest_prompt_without_what_was_cached():
    runs = (run(), run("long", prompt_tokens=1100, cached_tokens=100, ttft_ms=500.0))
    assert summarise(Measured(runs, 1)).prefill_tps == pytest.approx(2000)


def test_failures_and_kept_answers_are_counted_and_nothing_else():
    runs = (run(), run(error="stream_cut", ttft_ms=9e9), run(cache="hit", ttft_ms=0.1))
    summary = summarise(Measured(runs, 1))
    assert (summary.all.requests, summary.failed, summary.cached) == (1, 1, 1)
    assert summary.all.ttft_ms.p99 == 100
    assert summary.rating == "E"


def test_of_nothing_everything_is_unknown():
    summary = summarise(Measured((run(error="network"),), 1))
    assert summary.all.ttft_ms == Percentiles(None, None, None)
    assert (summary.all.decode_tps, summary.prefill_tps, summary.rating) == (None, None, "E")


@pytest.mark.parametrize(
    ("ttft_ms", "decode_tps", "rating"),
    [
        (450, 25, "A"),
        (451, 25, "B"),
        (100, 24.9, "B"),
        (1001, 100, "C"),
        (10, 4.9, "D"),
        (10_001, 100, "E"),
        (10, 1.9, "E"),
        (None, 10, "E"),
        (10, None, "E"),
    ],
)
def test_the_rating_is_that_of_the_weaker_figure(ttft_ms, decode_tps, rating):
    assert rate(ttft_ms, decode_tps) == rating
