"""Percentiles and rates."""

import statistics
from typing import Any

import pytest
from fakes.request_stats import request
from hypothesis import given
from hypothesis import strategies as st

from mlm.stats.digest import Digest
from mlm.stats.summary import percentile, summarise_cache, summarise_groups
from mlm.stats.tally import Spread, Tally
from mlm.stats.types import LoadStats, RequestStats


def tally(*events: RequestStats | LoadStats, window: int | None = None) -> Tally:
    added = Tally(window)
    for event in events:
        if isinstance(event, LoadStats):
            added.add_load(event)
        else:
            added.add(event, Digest(event.itl_s))
    return added


def summarise(*events: RequestStats | LoadStats) -> dict[str, Any]:
    return tally(*events).summarise()


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
    summary = summarise(
        request(ttft_s=0.1),
        request(finished_at=1002.0, ttft_s=0.3),
        LoadStats(990.0, "tiny", True, 1.5, None, None),
    )
    assert summary["requests"] == 2
    assert summary["prompt_tokens"] == 20
    assert summary["cached_tokens"] == 8
    assert summary["completion_tokens"] == 6
    assert summary["ttft_ms"] == pytest.approx(
        {"count": 2, "avg": 200, "min": 100, "max": 300, "p50": 200, "p95": 290, "p99": 298},
        rel=0.012,
    )
    assert summary["load_ms"]["max"] == pytest.approx(1500)
    assert summary["decode_tps"] == pytest.approx(10)
    assert summary["requests_per_s"] == pytest.approx(0.5)
    assert summary["success_rate"] == 1


def test_failures_count_but_do_not_enter_the_latencies():
    failed = request(ok=False, error="worker_crashed", e2e_s=99.0, ttft_s=None, itl_s=(9.0,))
    summary = summarise(request(), failed)
    assert summary["e2e_ms"]["max"] == pytest.approx(400)
    assert summary["itl_ms"]["count"] == 2
    assert summary["success_rate"] == 0.5
    assert summary["errors"] == {"worker_crashed": 1}


def test_a_client_that_left_is_no_failure_of_the_server():
    summary = summarise(request(), request(ok=False, error="cancelled"))
    assert summary["success_rate"] == 1
    assert summary["errors"] == {"cancelled": 1}


def test_nothing_known_is_null_and_never_zero():
    summary = summarise(LoadStats(1.0, "tiny", False, 0.1, None, None))
    assert summary["requests"] == 0
    assert summary["success_rate"] is None
    assert summary["decode_tps"] is None
    assert summary["requests_per_s"] is None
    assert summary["load_ms"]["p50"] is None
    assert summary["errors"] == {}


def test_the_most_used_model_comes_first():
    groups = {"b": tally(request(), request()), "c": tally(request()), "a": tally(request())}
    assert [row["model"] for row in summarise_groups("model", groups)] == ["b", "a", "c"]


def test_the_hit_rate_ignores_requests_that_never_asked_the_cache():
    first = tally(*(request(cache=word) for word in ("hit", "shared", "miss")))
    second = tally(*(request(cache=word) for word in ("miss", "bypass")))
    expected = {"hits": 1, "misses": 2, "shared": 1, "hit_rate": 0.5}
    assert summarise_cache([first, second]) == expected
    assert summarise_cache([tally(request(cache="bypass"))])["hit_rate"] is None


def test_with_a_window_percentiles_are_of_the_latest_and_counts_of_all():
    spread = Spread(window=10)
    for seconds in [5.0] * 1000 + [0.1] * 20:
        spread.add(seconds)
    summary = spread.summarise()
    assert (summary["count"], summary["max"], summary["min"]) == (1020, 5000, 100)
    assert summary["p99"] == pytest.approx(100)
