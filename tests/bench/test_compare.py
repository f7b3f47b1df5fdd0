"""A comparison says what changed and whether it could be chance."""

import pytest

from mlm.bench.compare import Change, compare
from mlm.bench.load import Run
from mlm.errors import UsageError

NOISE = (0.96, 0.98, 1.0, 1.02, 1.04)


def runs(e2e_ms: float, prompt: str = "short") -> list[Run]:
    return [
        Run(
            prompt,
            0,
            number,
            ttft_ms=e2e_ms * noise / 4,
            e2e_ms=e2e_ms * noise,
            decode_tps=1000 / (e2e_ms * noise),
        )
        for number, noise in enumerate(NOISE)
    ]


def change(metric: str, before: list[Run], after: list[Run]) -> Change:
    return next(change for change in compare(before, after) if change.metric == metric)


def test_twice_as_slow_is_seen_in_times_and_speeds_alike():
    for metric, ratio in (("ttft_ms", 2), ("e2e_ms", 2), ("decode_tps", 0.5)):
        found = change(metric, runs(100), runs(200))
        assert found.ratio == pytest.approx(ratio)
        assert found.low < ratio < found.high
        assert found.slowdown_pct == pytest.approx(100)
        assert found.fails(50)
        assert not found.fails(150)


def test_faster_never_fails():
    found = change("e2e_ms", runs(200), runs(100))
    assert found.slowdown_pct == pytest.approx(-50)
    assert not found.fails(0)


def test_what_may_be_chance_does_not_fail():
    found = change("e2e_ms", runs(100), runs(100.5))
    assert not found.is_certain
    assert not found.fails(0)


def test_the_same_runs_give_the_same_interval():
    assert compare(runs(100), runs(110)) == compare(runs(100), runs(110))


def test_a_bench_with_more_long_prompts_is_not_slower():
    before = runs(100) + runs(1000, "long")
    after = runs(100) + runs(1000, "long") + runs(1000, "long")
    assert change("e2e_ms", before, after).ratio == pytest.approx(1)


def test_only_prompts_of_both_are_compared():
    assert change("e2e_ms", runs(100) + runs(9, "long"), runs(100)).ratio == pytest.approx(1)
    assert compare(runs(100), runs(100, "long")) == ()


def test_one_answer_is_not_enough_to_compare():
    with pytest.raises(UsageError):
        compare(runs(100), runs(100)[:1])
    with pytest.raises(UsageError):
        compare([Run("short", 0, 0, error="network")], runs(100))
