"""Speeds and rates come of several readings; what has gone or begun anew has no past."""

import pytest
from fakes.stats_server import full_resident, full_stats

from mlm.monitor.pace import SPAN_S, Pacer
from mlm.monitor.reading import read_stats
from mlm.monitor.types import Reading


def reading(tokens: int, clock_s: float, requests: int = 100) -> Reading:
    work = {"step_s": clock_s, "idle_s": 0.0, "decode_tokens": tokens, "prefill_tokens": 2 * tokens}
    document = full_stats() | {"resident": [full_resident("alpha", work=work)]}
    document["models"][0]["requests"] = requests
    return read_stats(document)


def test_a_speed_is_by_the_workers_own_clock():
    pacer = Pacer()
    assert pacer.note(reading(100, 10.0), 0.0).speeds == {}
    pace = pacer.note(reading(150, 11.0), 5.0)  # our question came late; its heartbeat did not
    assert (pace.decode, pace.prefill) == (50.0, 100.0)


def test_the_same_heartbeat_twice_says_nothing_new():
    pacer = Pacer()
    pacer.note(reading(100, 10.0), 0.0)
    pacer.note(reading(150, 11.0), 1.0)
    assert pacer.note(reading(150, 11.0), 2.0).decode == 50.0


def test_a_model_that_was_loaded_anew_has_no_speed_yet():
    pacer = Pacer()
    pacer.note(reading(100, 10.0), 0.0)
    pacer.note(reading(150, 11.0), 1.0)
    assert pacer.note(reading(5, 0.5), 2.0).speeds == {}


def test_a_rate_is_of_the_last_ten_seconds():
    pacer = Pacer()
    assert pacer.note(reading(0, 1.0, requests=0), 0.0).requests_per_s is None
    pacer.note(reading(0, 1.0, requests=100), 1.0)
    assert pacer.note(reading(0, 1.0, requests=120), 11.0).requests_per_s == pytest.approx(2.0)


def test_a_server_that_was_started_anew_counts_from_there():
    pacer = Pacer()
    pacer.note(reading(0, 1.0, requests=500), 0.0)
    assert pacer.note(reading(0, 1.0, requests=3), 1.0).requests_per_s is None


def test_traces_reach_back_as_far_as_a_chart():
    pacer = Pacer()
    for second in range(200):
        pace = pacer.note(reading(0, 1.0), float(second))
    assert len(pace.traces["cpu"]) == SPAN_S + 1
    assert pace.traces["gpu 0"][-1] == (199.0, 87)
