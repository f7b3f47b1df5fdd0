"""What ran here makes the next prediction better, and one odd run does not spoil it."""

import math
from dataclasses import replace
from statistics import fmean

import pytest
from fakes.observations import observation

from mlm.planning.calibration import NOTHING_KNOWN, Calibration, Correction, calibrate
from mlm.stats.types import Observation, variant_name


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


# Decode speeds of the models of scripts/bench_models.py with 128, 1024 and 4096 tokens in the
# context, after the measurements that `mlm plan` makes: what attention was predicted to take of the
# time, and measured to predicted on a virtual machine with two cores of an EPYC (Zen 3), and on one
# with two cores of a Xeon (AVX-512; the shares are those of the other machine).
MACHINES = {
    "epyc": {
        "qwen2.5-0.5b": (24.8 / 30.8, 19.6 / 22.1, 11.9 / 11.2),
        "qwen3-0.6b": (24.4 / 29.8, 12.7 / 13.7, 4.2 / 4.8),
        "llama-3.2-1b": (15.4 / 16.8, 10.2 / 11.8, 5.0 / 5.8),
    },
    "xeon": {
        "qwen2.5-0.5b": (1.08, 1.14, 1.09),
        "qwen3-0.6b": (1.25, 1.39, 1.50),
        "llama-3.2-1b": (1.18, 1.42, 1.60),
    },
}
SHARES = {
    "qwen2.5-0.5b": (0.056, 0.324, 0.657),
    "qwen3-0.6b": (0.167, 0.617, 0.865),
    "llama-3.2-1b": (0.061, 0.340, 0.676),
}
CONTEXTS = (128, 1024, 4096)


def measured(machine: str, model: str, contexts: tuple[int, ...] = CONTEXTS) -> list[Observation]:
    """Return what a bench of the model with these contexts left behind."""
    return [
        observation(model=model, predicted=1.0, actual=ratio, n_past=n_past, attention_share=share,
                    source="bench")
        for ratio, share, n_past in zip(
            MACHINES[machine][model], SHARES[model], CONTEXTS, strict=True
        )
        if n_past in contexts
    ]  # fmt: skip


def errors(machine: str, model: str, known: Calibration) -> list[float]:
    """Return how far off the corrected speeds of a model are, at each context."""
    off = []
    for one in measured(machine, model):
        correction = known.find("cpu", "decode_tps", one.variant, one.attention_share or 0.0)
        assert correction is not None
        off.append(abs(correction.factor / one.actual - 1))
    return off


@pytest.mark.parametrize("model", SHARES)
@pytest.mark.parametrize("machine", MACHINES)
def test_after_one_bench_a_model_is_known_at_every_context(machine: str, model: str):
    assert max(errors(machine, model, calibrate(measured(machine, model)))) < 0.08
    everything = [one for name in SHARES for one in measured(machine, name)]
    assert max(errors(machine, model, calibrate(everything))) < 0.08


@pytest.mark.parametrize("machine", MACHINES)
def test_what_others_on_the_machine_were_like_takes_a_third_of_the_error_away(machine: str):
    before, after = [], []
    for model in SHARES:
        others = [one for name in SHARES if name != model for one in measured(machine, name)]
        before += [abs(1 / ratio - 1) for ratio in MACHINES[machine][model]]
        after += errors(machine, model, calibrate(others))
    assert fmean(after) < 0.67 * fmean(before)


def test_runs_with_one_context_are_told_from_no_other():
    known = calibrate(measured("xeon", "llama-3.2-1b", contexts=(128,)))
    short, long = (known.find("cpu", "decode_tps", None, share) for share in (0.0, 0.9))
    assert short is not None and long is not None
    assert long.factor == pytest.approx(short.factor, rel=0.05)
    assert long.spread > short.spread


def test_one_odd_run_with_a_long_context_does_little_harm_to_short_ones():
    good = [runs(100.0, n_past=n, attention_share=s)[0] for n, s in ((128, 0.1), (1024, 0.5))]
    odd = runs(50.0, n_past=4096, attention_share=0.8)
    correction = calibrate(good + odd).find("cpu", "decode_tps", "tiny:Q4_K_M", 0.1)
    assert correction is not None
    assert correction.factor == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("actual", [1e-300, 1e-3, 1e6, 1e300])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0, None])
def test_absurd_figures_break_nothing(actual: float, share: float | None):
    found = runs(actual, attention_share=share) + runs(1.0, n_past=9, attention_share=0.9)
    for wanted in (0.0, 0.5, 1.0):
        correction = calibrate(found).find("cpu", "decode_tps", "tiny:Q4_K_M", wanted)
        assert correction is not None
        assert 0 < correction.factor < math.inf
        assert 0 < correction.spread < math.inf


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
