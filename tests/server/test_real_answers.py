"""The real `mlm serve` on the demo model, asked by the client that people use: tokens, choices."""

import math
from collections.abc import Iterator
from typing import Any

import pytest
from fakes.mlm_serve import MlmServe, mlm_serve
from openai import OpenAI

FRESH = {"Cache-Control": "no-store"}
MODEL = "mlm-demo"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlmServe]:
    with mlm_serve(tmp_path_factory.mktemp("home")) as server:
        server.wait_for("loaded")
        yield server


@pytest.fixture(scope="module")
def client(served: MlmServe) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        client.completions.create(model=MODEL, prompt="x", max_tokens=1)  # its processes are there
        yield client


def ask(client: OpenAI, question: str = "What is mlm?", **params: Any) -> Any:
    messages: Any = [{"role": "user", "content": question}]
    return client.chat.completions.create(model=MODEL, messages=messages, **params)


def spell(entries: Any) -> str:
    return b"".join(bytes(entry.bytes) for entry in entries).decode()


def test_the_tokens_that_are_told_spell_the_answer(client: OpenAI):
    (choice,) = ask(client, temperature=0, logprobs=True, top_logprobs=5).choices
    assert spell(choice.logprobs.content) == choice.message.content
    for entry in choice.logprobs.content:
        assert entry.top_logprobs[0].token == entry.token  # it is greedy
        assert entry.top_logprobs[0].logprob == entry.logprob
        assert sum(math.exp(top.logprob) for top in entry.top_logprobs) < 1.0001


def test_streamed_they_come_with_their_text(client: OpenAI):
    told, said = [], ""
    for chunk in ask(client, temperature=0, logprobs=True, stream=True, extra_headers=FRESH):
        (choice,) = chunk.choices
        said += choice.delta.content or ""
        told += choice.logprobs.content if choice.logprobs else []
        assert spell(told).startswith(said)
    assert spell(told) == said != ""


def test_what_a_stop_string_cuts_off_is_not_told(client: OpenAI):
    full = ask(client, temperature=0).choices[0].message.content
    stop = full[len(full) // 2 :][:7]
    (choice,) = ask(client, temperature=0, logprobs=True, stop=[stop]).choices
    assert choice.message.content == full[: full.index(stop)]
    told = choice.logprobs.content
    assert spell(told).startswith(choice.message.content)
    assert len(spell(told[:-1])) < len(choice.message.content)  # each has a part in it


def test_a_completion_tells_them_in_its_own_form(client: OpenAI):
    answer = client.completions.create(
        model=MODEL, prompt="mlm is", max_tokens=8, temperature=0, logprobs=3
    )
    (choice,) = answer.choices
    told = choice.logprobs
    assert told is not None and told.tokens and told.text_offset and told.top_logprobs
    assert "".join(told.tokens) == choice.text
    assert len(told.tokens) == answer.usage.completion_tokens == 8
    assert [choice.text[a:][: len(t)] for a, t in zip(told.text_offset, told.tokens, strict=True)]
    assert all(len(likeliest) == 3 for likeliest in told.top_logprobs)


def test_a_choice_is_what_its_seed_alone_would_have_said(client: OpenAI):
    body = {"deterministic": True, "top_k": 0, "min_p": 0}
    same = {"temperature": 2.0, "top_p": 1, "max_tokens": 40}
    same |= {"extra_headers": FRESH, "extra_body": body}
    together = [choice.message.content for choice in ask(client, n=3, seed=5, **same).choices]
    alone = [ask(client, seed=5 + i, **same).choices[0].message.content for i in range(3)]
    assert together == alone
    assert len(set(together)) == 3


def test_choices_without_a_seed_differ(client: OpenAI):
    anything = {"top_k": 0, "min_p": 0}
    answer = ask(client, n=4, temperature=2.0, top_p=1, max_tokens=20, extra_body=anything)
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert len({choice.message.content for choice in answer.choices}) > 1
    assert answer.usage.completion_tokens > 20
    assert answer.usage.prompt_tokens == ask(client).usage.prompt_tokens


def test_sixteen_choices_go_through_four_slots(client: OpenAI):
    texts = {}
    for chunk in ask(client, n=16, temperature=0.9, max_tokens=12, stream=True):
        (choice,) = chunk.choices
        texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    assert sorted(texts) == list(range(16))
    assert all(texts.values())


def test_prompts_in_one_request_are_answered_as_one_by_one(client: OpenAI):
    prompts = ["mlm is", "A model", "The server"]
    same: Any = {"max_tokens": 6, "temperature": 0, "extra_headers": FRESH,
                 "extra_body": {"deterministic": True}}  # fmt: skip
    together = client.completions.create(model=MODEL, prompt=prompts, **same)
    alone = [client.completions.create(model=MODEL, prompt=p, **same) for p in prompts]
    assert [c.text for c in together.choices] == [a.choices[0].text for a in alone]
    assert together.usage is not None
    assert together.usage.prompt_tokens == sum(a.usage.prompt_tokens for a in alone if a.usage)


def test_a_prompt_of_tokens_is_the_same_as_its_text(client: OpenAI):
    told = client.completions.create(
        model=MODEL, prompt=[300, 301, 302], max_tokens=2, temperature=0, echo=True
    )
    assert told.usage is not None and told.usage.prompt_tokens == 3
    assert len(told.choices[0].text) >= 3
    with pytest.raises(Exception, match="there is no token 2000000000"):
        client.completions.create(model=MODEL, prompt=[2_000_000_000], max_tokens=2)
