"""Sizes and times, as people type and read them."""

import time

import pytest

from mlm.errors import UsageError
from mlm.units import (
    format_duration,
    format_params,
    format_size,
    format_tokens,
    parse_since,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("4096", 4096),
        ("12GiB", 12 * 1024**3),
        ("12G", 12 * 1024**3),
        ("12gb", 12 * 1000**3),
        (" 1.5 MiB ", 1_572_864),
        ("500kB", 500_000),
        ("2T", 2 * 1024**4),
        ("7B", 7),
        ("0", 0),
    ],
)
def test_a_size_means_what_its_unit_says(text: str, size: int):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "GiB", "12 potatoes", "-3G", "1e9", "12iB", "٣GB", "1..5G"])
def test_what_is_not_a_size_is_refused_with_an_example(text: str):
    with pytest.raises(UsageError) as caught:
        parse_size(text)
    assert "12GiB" in str(caught.value.remedy)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "0.98 KiB"),
        (4_920_000_000, "4.58 GiB"),
        (10 * 1024**3, "10.0 GiB"),
        (123 * 1024**3, "123 GiB"),
        (-(5 * 1024**3), "-5.00 GiB"),
        (3 * 1024**5, "3072 TiB"),
        (None, "?"),
    ],
)
def test_a_size_is_written_with_three_digits(size: int | None, text: str):
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.84, "0.8 s"), (12, "12 s"), (59.6, "1m00s"), (200, "3m20s"), (7500, "2h05m"), (None, "?")],
)
def test_a_duration_is_written_as_one_would_say_it(seconds: float | None, text: str):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(8_030_000_000, "8.03B"), (140_600_000_000, "141B"), (27_000_000_000, "27B"),
     (135_000_000, "135M"), (33_400_000, "33.4M"), (1_400_000, "1.4M"), (12_000, "12k"),
     (40, "40")],
)  # fmt: skip
def test_a_number_of_weights_is_written_as_models_are_named(count: int, text: str):
    assert format_params(count) == text


@pytest.mark.parametrize(
    ("count", "text"), [(131_072, "128k"), (40_960, "40k"), (1536, "1.5k"), (512, "512")]
)
def test_a_number_of_tokens_is_written_as_contexts_are_named(count: int, text: str):
    assert format_tokens(count) == text


def test_since_is_a_time_ago_or_a_local_date():
    now = time.mktime((2026, 11, 27, 12, 0, 0, 0, 0, -1))
    assert parse_since("24h", now) == now - 86400
    assert parse_since("2026-11-27", now) == now - 12 * 3600
    assert parse_since(" 2026-11-27T11:30", now) == now - 1800
    assert parse_since("2026-11-27 11:30", now) == now - 1800


def test_since_begins_in_1970_at_the_earliest():
    assert parse_since("900w", 0.0) == parse_since("40000w", time.time()) == 0.0
    assert parse_since("1901-01-01", time.time()) == 0.0
    for endless in ("99999999999999999d", "9" * 5000 + "s"):
        with pytest.raises(UsageError, match="over a thousand years"):
            parse_since(endless, time.time())


@pytest.mark.parametrize(
    "text", ["2026-11-28", "2026-13-01", "2026-11", "27.11.2026", "yesterday", "", "9999-01-01"]
)
def test_what_is_no_moment_of_the_past_says_how_to_write_one(text: str):
    with pytest.raises(UsageError) as caught:
        parse_since(text, time.mktime((2026, 11, 27, 12, 0, 0, 0, 0, -1)))
    assert "2026-11-01" in str(caught.value.remedy)
