"""Decode speeds come out as others have measured and published them."""

from collections import Counter
from dataclasses import replace
from statistics import median

import pytest
from check_speeds import Miss, hold_out
from published_speeds import Result, read_results


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return [result for result in read_results() if result.why_not_judged is None]


def is_good(misses: list[Miss]) -> bool:
    near = sum(miss.error <= 0.35 for miss in misses) / len(misses)
    covered = sum(miss.covered for miss in misses) / len(misses)
    return median(miss.error for miss in misses) <= 0.15 and near >= 0.85 and covered >= 0.8


def test_nearly_all_results_say_something(results: list[Result]):
    reasons = Counter(result.why_not_judged for result in read_results())
    assert reasons[None] == len(results) > 600
    assert sum(reasons.values()) - len(results) < 10


def test_predictions_are_near_what_was_measured_with_every_back_end(results: list[Result]):
    for kind in ("cuda", "rocm", "metal", "vulkan"):
        found = [Miss.of(r.predict(), r.decode_tps) for r in results if r.kind == kind]
        assert is_good(found), kind


def test_a_device_is_predicted_as_well_from_the_results_of_others(results: list[Result]):
    for kind in ("cuda", "rocm", "metal", "vulkan"):
        assert is_good(hold_out([r for r in results if r.kind == kind])), kind


def test_a_result_that_no_memory_could_deliver_is_not_judged(results: list[Result]):
    impossible = replace(results[0], decode_tps=100 * results[0].decode_tps)
    assert impossible.why_not_judged == "the device cannot read so fast"
