"""The highest logits are found, however they are found."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.engine.logits import Biases, ModelError, check_highest, find_contenders, find_highest

INFINITE = float("inf")


def test_the_highest_come_in_order_and_ties_by_number():
    logits = np.array([0.0, 5.0, 1.0, 5.0, 3.0], np.float32)
    assert find_highest(logits, 4) == [1, 3, 4, 2]
    assert find_highest(logits, 9) == [1, 3, 4, 2, 0]
    assert find_highest(logits, 0) == []


@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.integers(1, 5000),
    count=st.integers(1, 60),
    n_values=st.sampled_from([2, 30, 100_000]),
)
def test_the_short_way_misses_none_of_them(seed: int, size: int, count: int, n_values: int):
    numbers = np.random.default_rng(seed)
    logits = numbers.integers(-n_values, n_values, size).astype(np.float32)  # many are equal
    logits[numbers.random(size) < 0.1] = -INFINITE
    expected = sorted(range(size), key=lambda place: (-logits[place], place))[:count]
    assert find_highest(logits, count) == expected
    contenders = find_contenders(logits, count)
    assert contenders is None or set(expected) <= set(contenders.tolist())


def test_of_a_large_vocabulary_few_places_are_left():
    logits = np.random.default_rng(0).standard_normal(151_936).astype(np.float32)
    contenders = find_contenders(logits, 40)
    assert contenders is not None and 40 <= len(contenders) < 100
    assert contenders.tolist() == sorted(contenders)


@pytest.mark.parametrize("broken", [float("nan"), -INFINITE, INFINITE])
def test_there_is_no_short_way_through_what_are_no_numbers(broken: float):
    assert find_contenders(np.full(10_000, broken, np.float32), 3) is None


@pytest.mark.parametrize("broken", [float("nan"), INFINITE])
@pytest.mark.parametrize("place", [0, 70_000, 151_935, 151_940])
def test_what_is_no_number_is_found_among_the_few(broken: float, place: int):
    logits = np.random.default_rng(0).standard_normal(151_941).astype(np.float32)
    logits[place] = broken
    contenders = find_contenders(logits, 40)
    assert contenders is not None and place in contenders
    with pytest.raises(ModelError, match="NaN"):
        check_highest(logits[contenders].max())


def test_logits_that_are_ruled_out_are_numbers():
    check_highest(np.float32(-INFINITE))
    check_highest(np.float32(3))


def test_there_is_no_short_way_to_many_of_few():
    assert find_contenders(np.zeros(1000, np.float32), 40) is None
    assert find_contenders(np.zeros(1000, np.float32), 0) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.sampled_from([-INFINITE, -3.0, 1.0, 64.0]))))
def test_biases_add_up_for_one_choice_and_leave_no_trace(biases: list[tuple[int, float]]):
    logits = np.arange(10, dtype=np.float32)
    logits[3] = -INFINITE
    before, expected = logits.copy(), logits.copy()
    for token, bias in biases:
        expected[token] += np.float32(bias)
    with Biases(biases).added_to(logits):
        np.testing.assert_array_equal(logits, expected)
    np.testing.assert_array_equal(logits, before)
