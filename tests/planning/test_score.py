"""The formulas behind a rank, and their arithmetic in words."""

import math
import re

import pytest
from fakes.facts import GB, LLAMA_8B, MIXTRAL, entry, gpu, machine, quant

from mlm.planning.recommend import consider
from mlm.planning.recommendation import Recommendation, Wish
from mlm.planning.score import (
    COMFORT_TPS,
    explain_fit,
    explain_loss,
    explain_speed,
    fit_factor,
    loss_of,
    speed_factor,
)
from mlm.planning.types import DevicePlan
from mlm.units import GIB


def by_hand(arithmetic: str) -> float:
    """Return what a reader gets who types the arithmetic into a calculator."""
    formula = arithmetic.partition(":")[0].replace(" x ", " * ")
    assert re.fullmatch(r"[\d.e+*/(), -]*(?:(?:exp|min|sqrt)[\d.e+*/(), -]*)*", formula), formula
    known = {"exp": math.exp, "min": min, "sqrt": math.sqrt}
    return float(eval(formula, {"__builtins__": {}}, known))


@pytest.mark.parametrize("name", ["Q2_K", "IQ4_XS", "Q4_K_M", "Q8_0", "Q9_Z"])
@pytest.mark.parametrize("params", [135_000_000, 8_030_000_000, 70_600_000_000])
def test_what_a_quantization_costs_can_be_redone_by_hand(name: str, params: int):
    model = entry(params=params)
    assert by_hand(explain_loss(model, name)) == pytest.approx(loss_of(model, name), abs=1e-4)


def test_a_native_format_costs_nothing_and_says_so():
    assert loss_of(entry(), "MXFP4") == 0
    assert explain_loss(entry(), "MXFP4") == "MXFP4 is what it was trained in, or as good"


@pytest.mark.parametrize("use", COMFORT_TPS)
@pytest.mark.parametrize("tps", [0.01, 1.7, 9.0, 48.3, 1234.5])
def test_what_speed_counts_can_be_redone_by_hand(use, tps: float):
    assert by_hand(explain_speed(tps, use)) == pytest.approx(speed_factor(tps, use), abs=2e-3)


def test_a_comfortable_speed_counts_four_fifths_and_a_crawl_next_to_nothing():
    for use, comfort in COMFORT_TPS.items():
        assert speed_factor(comfort, use) == pytest.approx(0.8)
        assert speed_factor(comfort / 10, use) < 0.16
        assert speed_factor(comfort * 4, use) > 0.99


def plan(device: str, share: float) -> DevicePlan:
    return DevicePlan(device, int(share * 10 * GIB), 0, 0, 0, 0, 0, available=10 * GIB)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.8, 0.9, 0.95, 4.0])
def test_how_well_memory_is_used_can_be_redone_by_hand(share: float):
    plans = [plan("cpu", 0.2), plan("cuda0", share)]
    hardware = machine(16, gpu(10))
    computed = fit_factor(plans, hardware)
    assert max(0, by_hand(explain_fit(plans, hardware))) == pytest.approx(computed, abs=1e-4)


def test_crowding_main_memory_costs_more_than_filling_a_card():
    card = machine(16, gpu(10))
    chip = machine(16, gpu(10, "metal", unified=True))
    plans = [plan("cpu", 0.1), plan("cuda0", 0.94)]
    shared = [plan("cpu", 0.1), plan("metal0", 0.94)]
    assert fit_factor(plans, card) > 0.92
    assert fit_factor([plan("cpu", 0.94)], machine(16)) < 0.85
    assert fit_factor(shared, chip) < 0.85  # other programs live there


def test_experts_count_between_their_active_and_their_total_size():
    mixture = entry(architecture=MIXTRAL, params=46_703_000_000, params_active=12_900_000_000)
    dense = entry(architecture=LLAMA_8B, params=24_545_000_000)
    assert loss_of(mixture, "Q4_K_M") == pytest.approx(loss_of(dense, "Q4_K_M"), rel=0.01)


def test_the_parts_of_a_score_make_the_score():
    found = consider(entry(), quant(), machine(32, bandwidth=50 * GB), Wish())
    assert isinstance(found, Recommendation)
    parts = found.parts
    product = parts["quality"] * (1 - parts["quant_loss"]) * parts["fit"] * parts["speed"]
    assert found.score == pytest.approx(product)
