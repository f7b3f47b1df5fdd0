"""Whatever goes on around a request, it is answered as llama.cpp alone would answer it.

For every kind of model that writes: some can forget the end of what they hold, some only if it is
not far back, some not at all; some hold everything, some a window, some one state.
"""

import asyncio
import random
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes.plain_llama import PlainLlama
from fakes.real_worker import CONFIG, Answer, ask, events_of, request
from fakes.tiny_models import LETTERS, WORDS
from msgspec.structs import replace

from mlm.engine.messages import Accepted, ChosenToken, TokenOut, WorkerConfig
from mlm.engine.process import Worker

KINDS = ("llama", "qwen3", "mixtral", "gemma3", "mamba", "granitehybrid")
MORE_KINDS = ("qwen2", "qwen3moe", "gemma2", "deepseek2", "lfm2")
N_TOKENS = 8
# Random models have close calls; so that rounding decides none, the cache has 32 bits.
EXACT = replace(
    CONFIG, n_ctx=4 * 1024, n_ubatch=64, type_k="f32", type_v="f32", flash_attn="off",
    prefix_cache=2**24,
)  # fmt: skip
ONLY_LETTERS = dict.fromkeys(LETTERS.values(), 100.0)


@dataclass
class Company:
    """A worker with one model, and llama.cpp alone to compare it with."""

    kind: str
    path: Path
    worker: Worker
    is_unified: bool
    plain: PlainLlama
    runner: asyncio.Runner

    def run(self, story: Coroutine[Any, Any, list[Answer]]) -> list[Answer]:
        return self.runner.run(story)

    async def ask(self, prompt: str) -> Answer:
        """Let the engine go on with a text, in letters."""
        return await ask(
            self.worker, prompt, max_tokens=N_TOKENS, logit_bias=ONLY_LETTERS, ignore_eos=True
        )

    async def ask_all(self, prompts: list[str]) -> list[Answer]:
        return list(await asyncio.gather(*(self.ask(prompt) for prompt in prompts)))

    def expected(self, prompt: str) -> str:
        """Return what llama.cpp alone says."""
        answer = self.plain.complete(self.path, prompt, N_TOKENS, tuple(LETTERS.values()))
        assert answer.margin > 1e-4, "too close a call: take another prompt"
        return answer.text

    def check(self, prompts: list[str], answers: list[Answer]) -> None:
        texts = {prompt: answer.text for prompt, answer in zip(prompts, answers, strict=True)}
        assert texts == {prompt: self.expected(prompt) for prompt in texts}


@pytest.fixture(
    scope="module",
    params=[
        *((kind, {}) for kind in KINDS),
        *(pytest.param((kind, {}), marks=pytest.mark.slow) for kind in MORE_KINDS),
        *(
            pytest.param((kind, {"kv_unified": True}), marks=pytest.mark.slow)
            for kind in (*KINDS, *MORE_KINDS)
        ),
        pytest.param(("gemma3", {"swa_full": True}), marks=pytest.mark.slow),
        pytest.param(("llama", {"n_batch": 16, "n_ubatch": 8}), marks=pytest.mark.slow),
        pytest.param(("lfm2", {"n_batch": 16, "n_ubatch": 8}), marks=pytest.mark.slow),
    ],
    ids=lambda param: "-".join((param[0], *param[1])),
)
def company(request: pytest.FixtureRequest, tiny_model, plain: PlainLlama) -> Iterator[Company]:
    kind, changes = request.param
    with meeting(kind, tiny_model(kind), replace(EXACT, **changes), plain) as company:
        yield company


@contextmanager
def meeting(kind: str, path: Path, config: WorkerConfig, plain: PlainLlama) -> Iterator[Company]:
    """Run a worker until the block ends."""
    with asyncio.Runner() as runner:
        worker = runner.run(Worker.start(path, config))
        try:
            # Wait for all its processes, or a test would take a new one for a leak of its own.
            runner.run(ask(worker, messages=[{"role": "user", "content": "hello"}], max_tokens=1))
            yield Company(kind, path, worker, config.kv_unified, plain, runner)
        finally:
            runner.run(worker.stop(grace_s=5))


def text_of(n_words: int, seed: int) -> str:
    """Return a text of so many words, always the same."""
    return " ".join(random.Random(seed).choices(WORDS, k=n_words))


def test_it_goes_on_as_llama_cpp_does(company: Company):
    prompts = ["hello", text_of(90, 1), text_of(500, 2)]

    async def story():
        return [await company.ask(prompt) for prompt in prompts]

    company.check(prompts, company.run(story()))


def test_beside_others_it_says_the_same(company: Company):
    prompts = [text_of(n, seed) for seed, n in enumerate((3, 150, 40, 8, 100, 30, 5, 60), 10)]
    company.check(prompts, company.run(company.ask_all(prompts)))


def test_after_a_beginning_that_others_share_it_says_the_same(company: Company):
    """First nobody has it, then everybody; then one that is the whole of what others began."""
    beginning = text_of(150, 20)
    prompts = [f"{beginning} {text_of(10, seed)}" for seed in range(21, 27)]
    later = [f"{beginning} {text_of(10, seed)}" for seed in range(31, 33)] + [beginning]

    async def story():
        return [*await company.ask_all(prompts), *await company.ask_all(later)]

    company.check([*prompts, *later], company.run(story()))


def test_every_turn_of_a_chat_says_what_the_whole_of_it_would(company: Company):
    """Also when a turn is taken back, and when the last word of an answer is."""

    async def story():
        said = text_of(60, 40)
        for turn in range(3):
            prompts.append(said)
            answers.append(await company.ask(said))
            said += answers[-1].text + " " + text_of(5, 41 + turn)
        for prompt in (prompts[1], prompts[2][:-1], prompts[0] + answers[0].text[:4] + " user"):
            prompts.append(prompt)
            answers.append(await company.ask(prompt))
        return answers

    prompts: list[str] = []
    answers: list[Answer] = []
    company.check(prompts, company.run(story()))
    second = answers[1].ending
    assert second.cached_tokens >= answers[0].ending.prompt_tokens


def test_after_one_that_was_left_it_says_the_same(company: Company):
    """Left while its prompt enters, and while it is answered."""
    prompts = [text_of(450, 50), text_of(450, 51), text_of(80, 52)]

    async def leave(prompt: str, after: type) -> None:
        stream = events_of(
            company.worker, request(prompt, logit_bias=ONLY_LETTERS, ignore_eos=True)
        )
        async for event in stream:
            if isinstance(event, after):
                break
        await stream.aclose()

    async def story():
        await asyncio.gather(leave(prompts[0], Accepted), leave(prompts[1], Accepted))
        await leave(prompts[2], TokenOut)
        extended = [prompt + " " + text_of(4, 53) for prompt in prompts]
        prompts.extend(extended)
        return await company.ask_all(prompts)

    company.check(prompts, company.run(story()))


def test_more_conversations_than_slots_all_keep_their_thread(company: Company):
    async def story():
        prompts = [text_of(40, seed) for seed in range(60, 67)]
        for turn in range(2):
            answers = await company.ask_all(prompts)
            company.check(prompts, answers)
            prompts = [
                f"{prompt}{answer.text} {text_of(3, 70 + turn)}"
                for prompt, answer in zip(prompts, answers, strict=True)
            ]
        return [answer for answer in answers if answer.ending.cached_tokens >= 40]

    assert len(company.run(story())) == 7


def check_probabilities(company: Company, tolerance: float) -> None:
    """Let it choose at random beside others, and compare with llama.cpp forced to choose the same.

    Of the prompts some begin alike, one is longer than a window, and one comes again.
    """
    prompts = [f"{text_of(60, 80)} {text_of(5, seed)}" for seed in range(81, 85)]
    prompts += [text_of(200, 85), prompts[0]]

    async def sample(prompt: str, seed: int) -> list[ChosenToken]:
        answer = await ask(
            company.worker, prompt, max_tokens=N_TOKENS, logit_bias=ONLY_LETTERS,
            ignore_eos=True, temperature=2.0, seed=seed, logprobs=1,
        )  # fmt: skip
        parts = [event for event in answer.events if isinstance(event, TokenOut)]
        return [token for part in parts for token in part.logprobs]

    async def story() -> list[list[ChosenToken]]:
        asking = (sample(prompt, seed) for seed, prompt in enumerate(prompts))
        return list(await asyncio.gather(*asking))

    for prompt, tokens in zip(prompts, company.runner.run(story()), strict=True):
        chosen = [token.chosen for token in tokens]
        assert len(chosen) == N_TOKENS
        expected = company.plain.score(company.path, prompt, [token.token for token in chosen])
        assert [token.logprob for token in chosen] == pytest.approx(expected, abs=tolerance)


def test_what_it_says_of_probabilities_is_what_llama_cpp_computes(company: Company):
    check_probabilities(company, tolerance=0.001)


def test_a_deterministic_answer_is_the_same_to_the_last_bit_beside_others(company: Company):
    if company.is_unified:
        answer = company.runner.run(ask(company.worker, "hello", deterministic=True))
        assert answer.ending.param == "deterministic"
        return
    prompt = text_of(150, 90)

    async def sample() -> list[float]:
        answer = await ask(
            company.worker, prompt, max_tokens=40, logit_bias=ONLY_LETTERS, ignore_eos=True,
            temperature=2.0, seed=5, logprobs=0, deterministic=True,
        )  # fmt: skip
        parts = [event for event in answer.events if isinstance(event, TokenOut)]
        return [token.chosen.logprob for part in parts for token in part.logprobs]

    async def story() -> list[list[float]]:
        samples = [await sample()]
        others = asyncio.gather(*(company.ask(text_of(100, seed)) for seed in range(91, 97)))
        samples += await asyncio.gather(sample(), sample())
        await others
        return [*samples, await sample()]

    samples = company.runner.run(story())
    assert len(samples[0]) == 40
    assert samples == [samples[0]] * 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*KINDS, *MORE_KINDS])
def test_with_the_usual_cache_of_16_bits_probabilities_are_nearly_the_same(
    kind: str, tiny_model, plain: PlainLlama
):
    config = replace(EXACT, type_k="f16", type_v="f16", flash_attn="auto")
    with meeting(kind, tiny_model(kind), config, plain) as company:
        check_probabilities(company, tolerance=0.1)
