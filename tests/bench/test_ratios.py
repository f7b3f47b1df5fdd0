"""A ratio is taken within a round, and says how sure it is."""

import pytest

from mlm.bench.ratios import divide, median_interval

DRIFT = (1.0, 1.1, 1.3, 1.6, 2.0, 1.5, 1.2, 0.9, 0.8)  # of the machine, the same for both sides


def test_drift_that_hits_both_sides_does_not_show():
    ratio = divide("chat", "ttft_ms", False, [(90 * d, 100 * d) for d in DRIFT])
    assert ratio.ratio == pytest.approx(0.9)
    assert (ratio.least, ratio.most) == pytest.approx((0.9, 0.9))
    assert (ratio.a, ratio.b) == (108, 120)  # the figures themselves drift


def test_the_ratio_is_the_middle_one_and_not_that_of_the_middles():
    ratio = divide("chat", "ttft_ms", False, [(1, 10), (10, 1), (3, 2)])
    assert ratio.ratio == 1.5
    assert ratio.rounds == (0.1, 10, 1.5)


def test_slower_is_less_of_a_speed_and_more_of_a_time():
    rounds = [(50.0 + i, 100.0 + i) for i in range(9)]
    speed, seconds = divide("s", "f", True, rounds), divide("s", "f", False, rounds)
    assert speed.slowdown_pct > 80
    assert seconds.slowdown_pct < -40
    assert speed.fails(50)
    assert not speed.fails(200)
    assert not seconds.fails(0)


def test_what_may_be_chance_does_not_fail():
    ratio = divide("s", "f", False, [(1.0 + 0.1 * (i - 2), 1.0) for i in range(9)])
    assert ratio.slowdown_pct > 0
    assert not ratio.is_certain
    assert not ratio.fails(0)


@pytest.mark.parametrize(
    ("n", "left_out"), [(6, 0), (8, 0), (9, 1), (11, 1), (12, 2), (15, 3), (20, 5)]
)
def test_the_interval_leaves_out_as_many_as_tables_of_the_sign_test_say(n: int, left_out: int):
    assert median_interval(range(n)) == (left_out, n - 1 - left_out)


@pytest.mark.parametrize("n", range(6))
def test_a_few_rounds_have_no_interval_and_fail_no_gate(n: int):
    assert median_interval(range(n)) == (None, None)
    assert n == 0 or not divide("s", "f", False, [(9.0, 1.0)] * n).fails(0)
