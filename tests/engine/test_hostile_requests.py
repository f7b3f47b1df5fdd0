"""What a worker is sent by somebody who wishes it ill: each request costs itself and nothing else.

The server lets little of this pass; the worker does not count on it.
"""

import asyncio
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.real_worker import Answer, ask, working
from fakes.tiny_models import FIRST_CONTROL_TOKEN as N_VOCABULARY
from fakes.tiny_models import LETTERS

from mlm.engine.messages import Failed, JsonFormat, ToolChoice

LARGEST = 2**31 - 1
TINY = 1e-30
# Where the samplers' ranges end, and what is so small that dividing by it overflows.
EXTREMES: dict[str, tuple[Any, ...]] = {
    "temperature": (0, TINY, 100),
    "top_k": (0, 1, LARGEST),
    "top_p": (0, TINY, 1),
    "min_p": (0, TINY, 1),
    "typical_p": (0, TINY, 1),
    "repeat_penalty": (0.01, 100),
    "repeat_last_n": (-1, 0, 1, LARGEST),
    "frequency_penalty": (-100, 100),
    "presence_penalty": (-100, 100),
    "dry_multiplier": (0, TINY, 100),
    "dry_base": (0, TINY, 1, 100),
    "dry_allowed_length": (0, 1, LARGEST),
    "dry_penalty_last_n": (-1, 0, 1, LARGEST),
    "xtc_probability": (0, 1),
    "xtc_threshold": (0, TINY, 0.5, 1),
    "mirostat": (0, 0, 0, 1, 2),
    "mirostat_tau": (0, TINY, 100),
    "mirostat_eta": (0, TINY, 10),
    "top_n_sigma": (-1, 0, TINY, 100),
    "dynatemp_range": (0, TINY, 100),
    "dynatemp_exponent": (0, TINY, 100),
    "min_tokens": (0, 1, LARGEST),
    "ignore_eos": (False, True),
    "seed": (None, 0, 2**32 - 1),
    "logit_bias": ({}, dict.fromkeys(range(N_VOCABULARY), -1e300), {3: 1e300}),
    "grammar": (None, None, None, "root ::= [a-z ]+"),
}
BEYOND: dict[str, tuple[Any, ...]] = {
    "temperature": (-1.0, 101.0, math.nan, math.inf),
    "top_k": (-1, 2**31, 2**62),
    "top_p": (-0.1, 1.1, math.nan),
    "repeat_penalty": (0.0, -1.0, math.nan),
    "repeat_last_n": (-2, 2**40),
    "dry_base": (-1.0, math.inf),
    "mirostat": (-1, 3),
    "min_tokens": (-1, 2**31),
    "logit_bias": ({-1: 1.0}, {N_VOCABULARY: 1.0}, {2**40: 1.0}, {3: math.nan}, {3: -math.inf}),
    "grammar": (
        'root ::= root "a"',
        "root ::= a\na ::= b\nb ::= a",
        'root ::= "a"{1000000}',
        'root ::= "\\u{110000}"',
        "root ::= <[999999]>",
        "x" * 300_000,
        "\n".join(f"r{n} ::= r{n + 1}? r{n + 1}?" for n in range(40)) + '\nr40 ::= "a"?',
    ),
}
WHOLE: dict[str, dict[str, Any]] = {
    "no prompt": {"prompt_tokens": []},
    "a token below zero": {"prompt_tokens": [1, -1]},
    "a token too many": {"prompt_tokens": [N_VOCABULARY]},
    "a token of 64 bits": {"prompt_tokens": [2**62]},
    "a million tokens": {"prompt_tokens": [3] * 10**6},
    "8 MiB in one word": {"prompt": "x" * 2**23},
    "8 MiB in words": {"prompt": "hello world " * (2**23 // 12)},
    "8 MiB of nothing": {"prompt": "\0" * 2**23},
    "a crowd of messages": {"messages": [{"role": "user", "content": "x"}] * 100_000},
    "parts in parts": {"messages": [{"role": "user", "content": [[[{}]]]}]},
    "a schema of 10 MB": {"prompt": "x", "json_format": JsonFormat({"const": "x" * 10**7})},
    "a tool that is none": {
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "a", "parameters": {"type": "b"}}}],
        "tool_choice": ToolChoice(required=True),
    },
}
Ask = Callable[..., Any]
TinyModel = Callable[[str], Path]


def besides_a_stream(path: Path, story: Callable[[Ask], Any]) -> None:
    """Run a story that asks a worker, while another answer must be written to its end."""

    async def run() -> None:
        async with working(path, n_ctx=4 * 4096) as worker:
            stream = asyncio.create_task(ask(worker, "hello", max_tokens=500, ignore_eos=True))

            async def hostile_ask(**fields: Any) -> Answer:
                async with asyncio.timeout(30):
                    return await ask(worker, **fields)

            await story(hostile_ask)
            assert (await stream).ending.completion_tokens == 500
            assert (await ask(worker, "hello", max_tokens=3)).ending.reason == "length"

    asyncio.run(run())


@pytest.mark.parametrize("n_requests", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_samplers_choose_at_the_ends_of_their_ranges_and_are_not_asked_beyond(
    n_requests: int, tiny_model: TinyModel
):
    choose = random.Random(n_requests)

    async def story(ask: Ask) -> None:
        for _ in range(n_requests):
            names = choose.sample(list(EXTREMES), k=choose.randint(1, 12))
            fields = {name: choose.choice(EXTREMES[name]) for name in names}
            ending = (await ask(prompt="hello", max_tokens=12, **fields)).ending
            if isinstance(ending, Failed):  # one that excludes what the other one leaves
                assert "leave no token" in ending.message and fields["grammar"], fields
            else:
                assert ending.reason in ("stop", "length"), fields
        for name, values in BEYOND.items():
            for value in values:
                ending = (await ask(prompt="hello", max_tokens=5, **{name: value})).ending
                assert isinstance(ending, Failed), (name, value)
                assert ending.code == "invalid_request_error", ending
                assert name in ending.message, ending

    besides_a_stream(tiny_model("llama"), story)


def test_what_is_huge_or_crooked_is_refused_and_stop_strings_may_be_many(tiny_model: TinyModel):
    codes = ("invalid_request_error", "context_length_exceeded", "template_error")
    stops = ["a" * n + "b" for n in range(1, 101)]  # none of them ever comes
    only_a = {LETTERS["a"]: 100.0}

    async def story(ask: Ask) -> None:
        for name, fields in WHOLE.items():
            ending = (await ask(**fields, max_tokens=5)).ending
            assert isinstance(ending, Failed) and ending.code in codes, (name, ending)
        answer = await ask(prompt="hello", stop=stops, max_tokens=150, logit_bias=only_a)
        assert answer.text == "a" * 150

    besides_a_stream(tiny_model("llama"), story)
