"""Percentiles and rates."""

import statistics

import pytest
from fakes.request_stats import request
from hypothesis import given
from hypothesis import strategies as st

from mlm.stats.summary import percentile, summarise_cache, summarise_models
from mlm.stats.types import LoadStats


def test_percentiles_are_interpolated_between_neighbours():
    assert percentile([1, 2, 3, 4, 5], 50) == 3
    assert percentile([10, 20], 95) == pytest.approx(19.5)
    assert percentile([7], 99) == 7
    assert percentile([], 50) is None


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_percentiles_agree_with_the_standard_library(values: list[float]):
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    ordered = sorted(values)
    for percent in (1, 50, 95, 99):
        assert percentile(ordered, percent) == pytest.approx(cuts[percent - 1], abs=1e-6)


def test_a_model_is_summed_up_in_milliseconds():
    (summary,) = summarise_models(
        [request(ttft_s=0.1), request(finished_at=1002.0, ttft_s=0.3)],
        [LoadStats(990.0, "tiny", True, 1.5, None, None)],
    )
    assert summary["requests"] == 2
    assert summary["prompt_tokens"] == 20
    assert summary["cached_tokens"] == 8
    assert summary["completion_tokens"] == 6
    assert summary["ttft_ms"] == pytest.approx(
        {"count": 2, "avg": 200, "min": 100, "max": 300, "p50": 200, "p95": 290, "p99": 298}
    )
    assert summary["load_ms"]["max"] == pytest.approx(1500)
    assert summary["decode_tps"] == pytest.approx(10)
    assert summary["requests_per_s"] == pytest.approx(0.5)
    assert summary["success_rate"] == 1


def test_failures_count_but_do_not_enter_the_latencies():
    failed = request(ok=False, error="worker_crashed", e2e_s=99.0, ttft_s=None, itl_s=())
    (summary,) = summarise_models([request(), failed], [])
    assert summary["e2e_ms"]["max"] == pytest.approx(400)
    assert summary["success_rate"] == 0.5
    assert summary["errors"] == {"worker_crashed": 1}


def test_a_client_that_left_is_no_failure_of_the_server():
    left = request(ok=False, error="cancelled")
    (summary,) = summarise_models([request(), left], [])
    assert summary["success_rate"] == 1
    assert summary["errors"] == {"cancelled": 1}


def test_nothing_known_is_null_and_never_zero():
    (summary,) = summarise_models([], [LoadStats(1.0, "tiny", False, 0.1, None, None)])
    assert summary["requests"] == 0
    assert summary["success_rate"] is None
    assert summary["decode_tps"] is None
    assert summary["requests_per_s"] is None
    assert summary["load_ms"]["p50"] is None


def test_the_most_used_model_comes_first():
    requests = [request(model="b"), request(model="a"), request(model="b")]
    assert [summary["model"] for summary in summarise_models(requests, [])] == ["b", "a"]


def test_the_hit_rate_ignores_requests_that_never_asked_the_cache():
    requests = [request(cache=word) for word in ("hit", "shared", "miss", "miss", "bypass")]
    assert summarise_cache(requests) == {"hits": 1, "misses": 2, "shared": 1, "hit_rate": 0.5}
    assert summarise_cache([request(cache="bypass")])["hit_rate"] is None
