"""Log-probabilities: which, and with which text they come."""

import asyncio
import math
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes.real_worker import Answer, ask, working
from hypothesis import given
from hypothesis import strategies as st

from mlm.engine.logprobs import Logprobs
from mlm.engine.messages import ChosenToken, TokenOut
from mlm.engine.request import AnswerText

TinyModel = Callable[[str], Path]
CHAT = [{"role": "user", "content": "What is mlm?"}]


def tell(pieces: list[bytes], stops: list[str]) -> list[tuple[str, list[ChosenToken]]]:
    """Return what is sent for an answer of these tokens, step by step, and at its end."""
    logprobs = Logprobs(0, lambda token: b"")
    text = AnswerText(stops, logprobs)
    sent: list[tuple[str, list[ChosenToken]]] = []
    for piece in pieces:
        logprobs.note(np.zeros(2, np.float32), 0)
        fresh = text.push(piece)
        if fresh:
            sent.append((fresh, text.take_logprobs(fresh)))
        if text.is_stopped:
            return sent
    rest = text.flush()
    return [*sent, (rest, text.take_logprobs(rest))] if rest else sent


def test_the_numbers_are_the_logarithms_of_a_softmax():
    logprobs = Logprobs(2, lambda token: b"<%d>" % token)
    logprobs.note(np.log(np.array([0.1, 0.6, 0.05, 0.25], np.float32)) + 40, 2)
    logprobs.place(b"c", 1)
    (token,) = logprobs.take(1)
    assert token.chosen.logprob == pytest.approx(math.log(0.05), abs=1e-5)
    assert [(other.token, other.spelling) for other in token.likeliest] == [
        (1, b"<1>"),
        (3, b"<3>"),
    ]
    assert [other.logprob for other in token.likeliest] == pytest.approx(
        [math.log(0.6), math.log(0.25)], abs=1e-5
    )


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_whatever_a_broken_model_computes_there_are_numbers(broken: float):
    logprobs = Logprobs(3, lambda token: b"x")
    logprobs.note(np.array([1, broken, 2], np.float32), 1)
    logprobs.place(b"x", 1)
    (token,) = logprobs.take(1)
    assert all(math.isfinite(p.logprob) for p in (token.chosen, *token.likeliest))


def test_a_token_that_is_held_back_comes_with_its_text():
    sent = tell([b"fine", b"\n", b"Use", b" it"], ["\nUser:"])
    assert [(text, len(tokens)) for text, tokens in sent] == [("fine", 1), ("\nUse it", 3)]


def test_text_that_is_never_sent_has_no_entry_but_what_it_cut_has():
    ((text, tokens),) = tell([b"fine!\n", b"User", b":"], ["\nUser:"])
    assert text == "fine!"
    assert [token.chosen.spelling for token in tokens] == [b"fine!\n"]


def test_half_a_character_comes_with_its_other_half():
    (first, (text, halves)) = tell([b"a", b"\xf0\x9f", b"\x98\x80"], [])
    assert (first[0], text) == ("a", "\U0001f600")
    assert [(token.start, token.end) for token in halves] == [(1, 1), (1, 2)]


def test_a_token_without_text_has_no_entry():
    assert [len(tokens) for _, tokens in tell([b"a", b"", b"b"], [])] == [1, 1]


@given(
    st.one_of(st.text("ab\u00e9\U0001f600", max_size=20).map(str.encode), st.binary(max_size=20)),
    st.lists(st.text("ab\u00e9", min_size=1, max_size=3), max_size=2),
    st.lists(st.integers(0, 80), max_size=8),
)
def test_however_tokens_cut_it_text_and_entries_stay_together(
    data: bytes, stops: list[str], cuts: list[int]
):
    pieces = [data[a:b] for a, b in pairwise([0, *sorted(cuts), len(data)])]
    sent = tell(pieces, stops)
    whole = "".join(text for text, _ in tell([data], stops))
    assert "".join(text for text, _ in sent) == whole
    n_chars, tokens = 0, []
    for text, fresh in sent:
        assert all(token.start < n_chars + len(text) for token in fresh)
        n_chars += len(text)
        tokens += fresh
    assert [token.start for token in tokens][:1] in ([], [0])
    assert all(a.end == b.start for a, b in pairwise(tokens))
    assert (tokens[-1].end if tokens else 0) >= len(whole) or "\ufffd" in whole
    spelled = b"".join(token.chosen.spelling for token in tokens)
    assert data.startswith(spelled)
    assert spelled.decode("utf-8", "replace").startswith(whole)


def entries(answer: Answer) -> list[ChosenToken]:
    outs = [event for event in answer.events if isinstance(event, TokenOut)]
    return [token for out in outs for token in out.logprobs]


def test_a_real_answer_is_told_token_by_token(demo_model: Path):
    async def story():
        async with working(demo_model) as worker:
            return (
                await ask(worker, messages=CHAT, logprobs=4),
                await ask(worker, messages=CHAT),
            )

    told, plain = asyncio.run(story())
    assert told.text == plain.text
    assert entries(plain) == []
    tokens = entries(told)
    assert b"".join(token.chosen.spelling for token in tokens).decode() == told.text
    assert len(tokens) == told.ending.completion_tokens - 1  # but for the one that ends it
    for token in tokens:
        assert len(token.likeliest) == 4
        assert token.likeliest[0] == token.chosen  # it is greedy
        assert 0 >= token.likeliest[0].logprob >= token.likeliest[3].logprob
        assert sum(math.exp(p.logprob) for p in token.likeliest) < 1.0001


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 1.9, "seed": 1},
        {"temperature": 0.5, "top_k": 1},
        {"mirostat": 2, "temperature": 1, "seed": 1},
        {"grammar": 'root ::= "zebra"'},
        {"logit_bias": {300: 50.0}},
        {"repeat_penalty": 5.0},
    ],
    ids=str,
)
def test_samplers_and_grammars_change_the_choice_but_not_the_numbers(
    sampling: dict[str, Any], tiny_model: TinyModel
):
    question: dict[str, Any] = {"max_tokens": 1, "logprobs": 10_000, "cache_prompt": False}

    async def story():
        async with working(tiny_model("llama")) as worker:
            plain = await ask(worker, "hello", **question, ignore_eos=True)
            other = await ask(worker, "hello", **question, ignore_eos=True, **sampling)
        return entries(plain)[0], entries(other)[0]

    plain, other = asyncio.run(story())
    numbers, same = ({p.token: p.logprob for p in t.likeliest} for t in (plain, other))
    assert sum(map(math.exp, numbers.values())) == pytest.approx(1, abs=1e-4)
    assert same == pytest.approx(numbers, abs=1e-4)
    assert other.chosen.logprob == same[other.chosen.token]


def test_a_prompt_of_tokens_is_taken_as_it_is(demo_model: Path):
    async def story():
        async with working(demo_model) as worker:
            return [
                await ask(worker, prompt_tokens=[300, 301, 302], max_tokens=3, echo=True),
                await ask(worker, prompt_tokens=[]),
                await ask(worker, prompt_tokens=[5, 10**6]),
                await ask(worker, prompt_tokens=[5] * 600),
                await ask(worker, "x", prompt_tokens=[5]),
            ]

    good, *bad = asyncio.run(story())
    assert (good.ending.prompt_tokens, good.ending.completion_tokens) == (3, 3)
    assert len(good.text) > 3
    codes = [answer.ending.code for answer in bad]
    refused = "invalid_request_error"
    assert codes == [refused, refused, "context_length_exceeded", refused]
    assert "1000000" in bad[1].ending.message
