"""Finding models by words."""

from dataclasses import replace

import pytest
from fakes.facts import entry

from mlm.catalog.search import search_entries

MODELS = [
    replace(entry("qwen3-8b"), name="Qwen3-8B", family="qwen3", quality={"chat": 60.0}),
    replace(entry("qwen3.5-9b"), name="Qwen3.5-9B", family="qwen3.5", quality={"chat": 70.0}),
    replace(
        entry("llama-3.1-8b"), aliases=("llama3.1",), family="llama-3", license="LicenseRef-Llama",
        use_cases=("chat", "code"), quality={"chat": 50.0, "code": 80.0},
    ),
    replace(
        entry("deepseek-r1-0528-qwen3-8b"), base_repo="deepseek-ai/R1", family="deepseek-r1",
        use_cases=("chat", "code"), quality={"chat": 90.0, "code": 30.0},
    ),
]  # fmt: skip


def find(text: str) -> list[str]:
    return [found.model_id for found in search_entries(MODELS, text)]


@pytest.mark.parametrize(
    ("text", "best"),
    [
        ("qwen3-8b", "qwen3-8b"),
        ("QWEN3", "qwen3-8b"),  # the family of that name before its successor
        ("qwen3.5", "qwen3.5-9b"),
        ("8b llama", "llama-3.1-8b"),
        ("llama31", "llama-3.1-8b"),
        ("deepseek-ai", "deepseek-r1-0528-qwen3-8b"),
        ("LicenseRef-Llama", "llama-3.1-8b"),
    ],
)
def test_the_best_match_comes_first(text: str, best: str):
    assert find(text)[0] == best


def test_every_word_must_be_found_somewhere():
    assert find("qwen3 code") == ["deepseek-r1-0528-qwen3-8b"]
    assert find("qwen3 vision") == []


def test_of_equal_matches_the_better_at_what_was_asked_comes_first():
    assert find("code") == ["llama-3.1-8b", "deepseek-r1-0528-qwen3-8b"]
    assert find("chat")[0] == "deepseek-r1-0528-qwen3-8b"


@pytest.mark.parametrize("text", ["", "  ", "zzz", "((", ".*", "-" * 200])
def test_what_matches_nothing_finds_nothing(text: str):
    assert find(text) == []
