"""A model that computes no numbers: its requests fail in words, and the worker lives on."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.real_worker import ask, working
from fakes.spoiled import spoil
from fakes.tiny_models import LETTERS

from mlm.engine.messages import Failed, Finished

TinyModel = Callable[[str], Path]
EVERYTHING: dict[str, dict[str, Any]] = {
    "greedy": {},
    "greedy with biases": {"logit_bias": {5: -1.0}},
    "the usual": {"temperature": 0.8},
    "few": {"temperature": 1.0, "top_k": 1},
    "the whole vocabulary": {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0},
    "sorted": {"temperature": 1.0, "top_k": 0, "top_p": 0.9},
    "typical": {"temperature": 1.0, "top_k": 0, "typical_p": 0.9},
    "mirostat": {"temperature": 1.0, "mirostat": 2},
    "penalties": {"temperature": 1.0, "repeat_penalty": 1.2},
    "a grammar": {"temperature": 1.0, "grammar": "root ::= [a-z]+"},
    "with probabilities": {"logprobs": 3},
}


@pytest.mark.parametrize(
    ("tensor", "row", "value"),
    [
        ("output_norm.weight", 0, float("nan")),  # then nothing is a number
        ("output.weight", 0, float("nan")),  # only of one token
        ("output.weight", -1, float("nan")),
        ("output.weight", 77, float("inf")),
    ],
)
def test_no_way_of_choosing_answers_out_of_what_is_no_number(
    tiny_model: TinyModel, tmp_path: Path, tensor: str, row: int, value: float
):
    async def story() -> None:
        model = spoil(tiny_model("llama"), tmp_path / "spoiled.gguf", tensor, row, value)
        async with working(model) as worker:
            for kind, wishes in EVERYTHING.items():
                answer = await ask(worker, "hello", max_tokens=20, ignore_eos=True, **wishes)
                assert isinstance(answer.ending, Failed), kind
                assert answer.ending.code == "engine_error"
                assert "no numbers (NaN" in answer.ending.message
                assert "mlm inspect" in answer.ending.message
                assert answer.text == ""

    asyncio.run(story())


def test_only_who_meets_the_broken_part_fails(tiny_model: TinyModel, tmp_path: Path):
    broken = {"prompt_tokens": [1, *[LETTERS[letter] for letter in "abczxy"]]}
    sound = {"prompt_tokens": [1, *[LETTERS[letter] for letter in "abcdxy"]]}
    bounds = {"max_tokens": 20, "logit_bias": {LETTERS["z"]: -100.0}, "ignore_eos": True}

    async def story() -> None:
        spoiled = tmp_path / "spoiled.gguf"
        spoil(tiny_model("llama"), spoiled, "token_embd.weight", LETTERS["z"])
        async with working(tiny_model("llama")) as worker:
            expected = (await ask(worker, **sound, **bounds)).text
        async with working(spoiled, n_parallel=2) as worker:
            for _ in range(3):
                answers = await asyncio.gather(
                    ask(worker, **broken, **bounds), ask(worker, **sound, **bounds)
                )
                assert isinstance(answers[0].ending, Failed)
                assert isinstance(answers[1].ending, Finished)
                assert answers[1].text == expected != ""

    asyncio.run(story())
