"""The status line says the most important things that there is room for."""

import pytest

from mlm.repl.status import Speed, fit, shorten, status_parts

SPEED = Speed(decode_tps=23.14, ttft_s=0.21, cached_tokens=1024)
PARTS = status_parts("qwen3-8b:Q4_K_M", 1234, 8192, SPEED)


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (
            200,
            "qwen3-8b:Q4_K_M · 1,234/8,192 tokens · 23.1 tok/s · TTFT 0.21 s · 1,024 cached",
        ),
        (70, "qwen3-8b:Q4_K_M · 1,234/8,192 tokens · 23.1 tok/s · TTFT 0.21 s"),
        (52, "qwen3-8b:Q4_K_M · 1,234/8,192 tokens · 23.1 tok/s"),
        (45, "qwen3-8b:Q… · 1,234/8,192 tokens · 23.1 tok/s"),
        (40, "qwen3-8b:Q4_K_M · 1,234/8,192 tokens"),
        (30, "qwen3-8b… · 1,234/8,192 tokens"),
        (20, "qwen3-8b:Q4_K_M"),
        (9, "qwen3-8b…"),
    ],
)
def test_what_matters_least_goes_first(width: int, line: str):
    assert fit(PARTS, width) == line


def test_what_is_not_known_is_not_said():
    assert status_parts("tiny", None, None, None) == ["tiny"]
    assert status_parts("tiny", 12, None, Speed(ttft_s=0.5)) == ["tiny", "12 tokens", "TTFT 0.50 s"]


def test_wide_characters_count_as_what_they_take():
    assert shorten("日本語日本語", 7) == "日本語…"
    assert shorten("日本語", 6) == "日本語"
