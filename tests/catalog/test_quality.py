"""Quality from published scores, by the rule that catalog/README.md tells."""

import re
from pathlib import Path

import pytest

from mlm.catalog import quality
from mlm.catalog.quality import compute_quality
from mlm.catalog.types import Score, UseCase


def score(benchmark: str, value: float) -> Score:
    return Score(benchmark, value, "%", "test")


def compute(*scores: tuple[str, float], uses: tuple[UseCase, ...] = ("chat",)) -> dict[str, int]:
    return dict(compute_quality([score(*each) for each in scores], uses))


def test_no_score_is_no_quality():
    assert compute() == {}
    assert compute(("HellaSwag", 99)) == {}


def test_a_line_is_cut_off_at_nought_and_at_its_top():
    assert compute(("IFEval", 20)) == {"chat": 0}
    assert compute(("IFEval", 72.5)) == {"chat": 40}
    assert compute(("IFEval", 100)) == {"chat": 80}


def test_quality_is_the_mean_of_the_parts():
    assert compute(("IFEval", 72.5), ("MMLU-Pro (5-shot)", 52.5)) == {"chat": 43}


def test_a_model_that_thinks_counts_with_its_thinking_score():
    both = (("IFEval strict prompt (non-thinking)", 50), ("IFEval strict prompt (thinking)", 95))
    assert compute(*both) == {"chat": 80}
    assert compute(*reversed(both)) == {"chat": 80}


def test_the_leaderboards_own_scale_counts_only_without_the_plain_score_and_without_thinking():
    board = ("MMLU-Pro, Open LLM Leaderboard v2, normalised", 65)
    assert compute(board) == {"chat": 85}
    assert compute(board, ("MMLU-Pro", 10)) == {"chat": 0}
    assert compute(board, uses=("chat", "reasoning")) == {}


def test_easy_tests_of_code_count_only_where_there_is_no_harder_one():
    easy = ("HumanEval (0-shot)", 100)
    assert compute(easy) == {"code": 50}
    assert compute(easy, ("LMArena text (coding)", 1500)) == {"code": 68}
    assert compute(easy, ("LiveCodeBench v5 (thinking)", 85)) == {"code": 100}
    assert compute(("LiveCodeBench v5", 85), ("LiveCodeBench v6", 0)) == {"code": 0}


def test_what_only_thinkers_are_asked_does_not_count_for_others():
    assert compute(("AIME 2024", 50)) == {}
    assert compute(("AIME 2024", 50), uses=("reasoning",)) == {"reasoning": 50}
    assert compute(("AIME 2024 (non-thinking)", 50), uses=("reasoning",)) == {}


@pytest.mark.parametrize(
    ("benchmark", "use"),
    [("MTEB English v2 (mean)", "embedding"), ("GPQA-Diamond (thinking)", "reasoning"),
     ("MATH (4-shot)", "reasoning"), ("MMMU (val)", "vision"), ("MMMU-Pro (vision)", "vision"),
     ("MathVista (mini)", "vision"), ("LMArena vision (overall)", "vision")],
)  # fmt: skip
def test_each_use_has_benchmarks_of_its_own(benchmark: str, use: str):
    assert set(compute((benchmark, 60))) == {use}


def test_the_table_in_the_readme_has_the_lines_of_the_code():
    """Every line's three numbers stand in the table, once per line."""
    text = (Path(__file__).parents[2] / "catalog/README.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|$", text, re.MULTILINE)
    told = {tuple(float(number) for number in row) for row in rows}
    parts = [part for parts in quality._PARTS.values() for part in parts]
    lines = {
        (line.start, line.end, line.top) for part in [*parts, *quality._CODE_ELSE] for line in part
    }
    assert lines == told
