"""What ran here makes the next prediction better, and one odd run does not spoil it."""

import math
from dataclasses import replace

import pytest
from fakes.observations import observation

from mlm.planning.calibration import NOTHING_KNOWN, Calibration, Correction, calibrate, variant_name
from mlm.stats.types import Observation


def runs(*actual: float, **changes: object) -> list[Observation]:
    """Return runs that were predicted to reach 100."""
    return [observation(predicted=100.0, actual=each, **changes) for each in actual]


def found(calibration: Calibration, model: str | None = None) -> Correction:
    correction = calibration.find("cpu", "decode_tps", model)
    assert correction is not None
    return correction


def test_without_runs_nothing_is_corrected():
    assert calibrate([]) == NOTHING_KNOWN
    assert NOTHING_KNOWN.find("cpu", "decode_tps", "tiny:Q4_K_M") is None


@pytest.mark.parametrize("actual", [40.0, 80.0, 125.0, 250.0])
def test_one_run_of_a_model_is_enough_to_know_it(actual: float):
    correction = found(calibrate(runs(actual)), "tiny:Q4_K_M")
    assert 100 * correction.factor == pytest.approx(actual, rel=0.03)
    assert correction.n == 1


def test_a_model_is_known_again_by_whatever_name_it_is_served():
    bare = calibrate(runs(40.0, model="qwen3-8b", quant="Q4_K_M"))
    full = calibrate(runs(40.0, model="qwen3-8b:q4_k_m", quant="Q4_K_M"))
    other = calibrate(runs(40.0, model="qwen3-8b", quant="Q8_0"))
    name = variant_name("qwen3-8b", "Q4_K_M")
    assert found(bare, name).factor == pytest.approx(0.4, rel=0.03)
    assert found(full, name).factor == pytest.approx(0.4, rel=0.03)
    assert found(other, name).factor > 0.41
    assert variant_name("some-file", None) == "some-file"


def test_another_model_on_the_machine_profits_but_is_trusted_less():
    calibration = calibrate(runs(70.0))
    same, other = found(calibration, "tiny:Q4_K_M"), found(calibration, "large:Q8_0")
    assert 0.7 < same.factor < other.factor < 0.8
    assert other.spread > 1.8 * same.spread
    assert other == found(calibration)


def test_more_models_make_the_machine_better_known():
    one = found(calibrate(runs(70.0)))
    many = found(calibrate([r for name in "abc" for r in runs(70.0, model=name)]))
    assert abs(math.log(many.factor / 0.7)) < abs(math.log(one.factor / 0.7))
    assert many.spread < one.spread
    assert many.n == 3


def test_a_run_beside_other_work_does_not_count():
    correction = found(calibrate(runs(80.0, 81.0, 12.0, 80.0, 79.0)), "tiny:Q4_K_M")
    assert correction.factor == pytest.approx(0.8, rel=0.02)


def test_a_model_that_runs_often_does_not_outvote_the_others():
    often = runs(*[50.0] * 30, model="often")
    others = [run for name in "abc" for run in runs(90.0, model=name)]
    assert found(calibrate(often + others)).factor == pytest.approx(0.9, rel=0.02)


def test_a_bench_counts_more_than_answers_to_people():
    answers, bench = runs(40.0, 30.0, 35.0), runs(90.0, source="bench")
    assert found(calibrate(bench + answers), "tiny:Q4_K_M").factor == pytest.approx(0.9, rel=0.02)


def test_devices_and_quantities_are_corrected_on_their_own():
    calibration = calibrate(
        runs(50.0) + runs(200.0, device="cuda") + runs(80.0, quantity="prefill_tps")
    )
    assert found(calibration).factor < 0.6
    assert calibration.find("cuda", "decode_tps").factor > 1.7
    assert 0.8 < calibration.find("cpu", "prefill_tps").factor < 0.85
    assert calibration.find("metal", "decode_tps") is None
    assert calibration.find("cpu", "weights") is None


def test_sizes_hardly_need_correcting_and_are_known_more_narrowly():
    sizes = calibrate(runs(101.0, quantity="weights")).find("cpu", "weights", "tiny:Q4_K_M")
    assert 1 < sizes.factor <= 1.01
    assert sizes.spread < found(calibrate(runs(101.0))).spread / 4


def test_another_engine_is_another_story():
    old = runs(20.0, engine="llama.cpp 1")
    new = runs(90.0, engine="llama.cpp 2")
    assert found(calibrate(old + new), "tiny:Q4_K_M").factor == pytest.approx(0.9, rel=0.02)
    assert found(calibrate(old + new, "llama.cpp 1")).factor < 0.3
    assert calibrate(old, "llama.cpp 2") == NOTHING_KNOWN


def test_figures_that_mean_nothing_are_passed_over():
    (good,) = runs(90.0)
    bad = [replace(good, actual=0.0), replace(good, predicted=math.nan)]
    assert calibrate([good, *bad]) == calibrate([good])


def test_an_interval_holds_what_comes():
    correction = found(calibrate(runs(80.0)))
    assert correction.low < 1 < correction.high
    assert correction.low * correction.high == pytest.approx(1)
