"""Bias, spread and findings of what was predicted."""

import pytest
from fakes.observations import observation

from mlm.planning.calibration import calibrate
from mlm.planning.track_record import sum_up
from mlm.stats.types import Observation

GB = 1e9


def load(model: str = "a", off: float = 1.0, **changes: object) -> list[Observation]:
    """Return the buffers of one load; the large ones ``off`` by a factor, the small one by half."""
    sizes = {"weights": 4 * GB, "kv_cache": 1 * GB}
    buffers = [
        observation(model=model, quantity=name, predicted=size, actual=size * off, source="load")
        for name, size in sizes.items()
    ]
    small = observation(model=model, quantity="output", predicted=1e6, actual=1.5e6, source="load")
    return [*buffers, small]


def test_nothing_measured_is_no_finding():
    record = sum_up([])
    assert (record.records, record.memory_bias, record.findings) == ((), None, ())


def test_bias_is_the_median_and_every_model_counts_once():
    busy = [observation(model="busy", actual=10.0)] * 50
    others = [observation(model=name, actual=22.0) for name in ("b", "c")]
    (record,) = sum_up([*busy, *others]).records
    assert record.bias == pytest.approx(0.1)
    assert (record.n, record.n_models) == (52, 3)
    assert (record.low, record.high) == (-0.5, -0.5)


def test_the_correction_is_the_one_that_plans_use():
    observations = [observation(actual=15.0)] * 5
    (record,) = sum_up(observations).records
    found = calibrate(observations).find("cpu", "decode_tps")
    assert found is not None
    assert record.correction == found.factor
    assert 0.75 < found.factor < 0.85


def test_weights_and_attention_have_corrections_of_their_own():
    short = observation(actual=16.0, n_past=100, attention_share=0.05)
    long = observation(actual=24.0, n_past=4000, attention_share=0.7)
    (record,) = sum_up([short, long]).records
    assert record.correction is not None and record.attention_correction is not None
    assert record.correction < 1 < record.attention_correction


def test_memory_is_not_corrected():
    assert {record.correction for record in sum_up(load()).records} == {None}


@pytest.mark.parametrize(("off", "is_finding"), [(1.04, False), (1.06, True), (0.93, True)])
def test_memory_that_is_off_by_more_than_five_percent_is_a_finding(off: float, is_finding: bool):
    record = sum_up([*load("a", off), *load("b", off), *load("c", 1.5)])
    assert record.memory_bias == pytest.approx(off - 1, abs=0.002)
    assert bool(record.findings) is is_finding


def test_a_small_buffer_alone_is_none():
    record = sum_up(load())
    assert record.findings == ()
    assert {one.quantity: one.bias for one in record.records}["output"] == pytest.approx(0.5)


def test_what_was_fixed_since_does_not_count_any_more():
    record = sum_up([*load("a", 2.0), *load("a", 2.0), *load("a", 1.0)])
    assert record.findings == ()


def test_a_process_may_be_smaller_than_planned_but_not_larger():
    small = observation(quantity="rss", predicted=GB, actual=0.7 * GB)
    large = observation(quantity="rss", predicted=GB, actual=1.1 * GB)
    assert sum_up([small]).findings == ()
    assert sum_up([large]).findings == ("a worker's memory is 10 % more than was planned",)


def test_another_engine_is_another_story():
    old = observation(engine="older", actual=1.0)
    (record,) = sum_up([old, old, observation()]).records
    assert (record.n, record.bias) == (1, 0.0)
