"""Texts are as long as they should be, and new to every server."""

import pytest

from mlm.bench.texts import Texts, measure_texts


def three_per_word_and_twenty_around(text: str) -> int:
    return 20 + 3 * len(text.split())


def test_a_question_makes_a_prompt_of_the_wanted_length_for_the_model_at_hand():
    texts = measure_texts("tag", three_per_word_and_twenty_around)
    for wanted in (64, 850, 2000):
        question = texts.question(wanted, "key")
        assert three_per_word_and_twenty_around(question) == pytest.approx(wanted, abs=2)
    assert 3 * len(texts.text(850, "key").split()) == pytest.approx(850, abs=2)


@pytest.mark.parametrize("answer", [None, 0, 40])
def test_where_tokens_are_not_counted_lengths_are_usual_ones(answer: int | None):
    words = measure_texts("tag", lambda text: answer).question(64, "key").split()
    assert 30 < len(words) < 64


def test_a_key_has_its_text_and_another_key_or_tag_another_one():
    texts, others = Texts("one", 1, 0), Texts("two", 1, 0)
    assert texts.text(30, "a", 1) == texts.text(30, "a", 1)
    assert len({texts.text(30, "a", 1), texts.text(30, "a", 2), others.text(30, "a", 1)}) == 3


def test_even_a_question_that_is_too_short_asks_something():
    assert Texts("tag", 4, 50).question(3, "key")
