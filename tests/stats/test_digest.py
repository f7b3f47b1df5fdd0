"""Many durations in little memory."""

import math
import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.stats.digest import Digest

DURATIONS = st.lists(st.floats(1e-6, 1e4), min_size=2, max_size=60)
PERCENTS = (0, 1, 50, 95, 99, 100)


@given(DURATIONS)
def test_percentiles_are_within_a_bit_more_than_a_percent(values: list[float]):
    ordered = sorted(values)
    cuts = [ordered[0], *statistics.quantiles(ordered, n=100, method="inclusive"), ordered[-1]]
    for percent, found in zip(PERCENTS, Digest(values).percentiles(PERCENTS), strict=True):
        assert found == pytest.approx(cuts[percent], rel=0.012)


@given(DURATIONS, DURATIONS)
def test_two_digests_are_added_up_without_loss(first: list[float], second: list[float]):
    merged = Digest(first)
    merged.merge(Digest(second))
    together = Digest(first + second)
    assert merged.percentiles(PERCENTS) == together.percentiles(PERCENTS)
    assert (merged.count, merged.least_s, merged.most_s) == (
        together.count,
        together.least_s,
        together.most_s,
    )
    assert merged.total_s == pytest.approx(together.total_s)


@given(DURATIONS)
def test_what_is_packed_can_be_unpacked(values: list[float]):
    digest = Digest(values)
    again = Digest.unpack(digest.pack())
    assert again.count == len(values)
    assert again.total_s == pytest.approx(digest.total_s, rel=1e-6)
    assert again.percentiles(PERCENTS) == pytest.approx(digest.percentiles(PERCENTS), rel=1e-6)


def test_a_class_may_hold_more_than_fits_into_two_bytes():
    digest = Digest()
    for _ in range(150_000):
        digest.add(0.5)
    assert Digest.unpack(digest.pack()).count == 150_000


@pytest.mark.parametrize("packed", [b"", b"short", b"x" * 13, b"x" * 14, b"\0" * 12 + b"abc"])
def test_other_bytes_are_refused(packed: bytes):
    with pytest.raises(ValueError):
        Digest.unpack(packed)


def test_what_is_below_a_power_of_two_milliseconds_is_counted_exactly():
    rng = random.Random(1)
    values = [rng.lognormvariate(-3, 2) for _ in range(3000)]
    bounds = [0.001 * 2**power for power in range(18)]
    expected = [sum(value < bound for value in values) for bound in bounds]
    assert Digest(values).cumulate(bounds) == expected


def test_a_million_durations_take_little_room():
    digest = Digest()
    rng = random.Random(2)
    for _ in range(100_000):
        digest.add(math.exp(rng.uniform(-14, 8)))
    assert len(digest.pack()) < 6_000


def test_nothing_has_no_percentiles_and_a_duration_of_zero_does_no_harm():
    assert Digest().percentiles((50, 99)) == [None, None]
    assert Digest().cumulate((0.1,)) == [0]
    assert Digest([0.0, 0.0]).percentiles((50,)) == [0.0]
    assert Digest([-0.001]).percentiles((50,)) == [0.0]
