"""The demo model, through the real engine: it knows mlm, and says so when it does not know."""

import asyncio
import sys
from pathlib import Path

import pytest
from fakes.real_worker import ask, working

from mlm.demo.hub import DEMO_FILE

SCRIPTS = Path(__file__).parents[2] / "scripts" / "demo_model"
EXPECTED_WORDS = {
    "What is mlm?": "command-line tool local language model",
    "How do I download a model?": "mlm download verified",
    "What does mlm recommend do?": "ranks fit this machine reasons",
    "Which model should I use?": "mlm recommend",
    "What does mlm verify do?": "every byte sha256",
    "How do I resume a download?": "again continues",
    "How do I start a server?": "mlm serve OpenAI 8000",
    "Which port does the server use?": "8000 --port",
    "How do I chat with a model?": "mlm chat /exit",
    "How do I remove a model?": "mlm rm",
    "Where are models stored?": "Hugging Face cache",
    "Is it private?": "own machine never leave",
    "Does mlm work offline?": "--offline",
    "What does exit code 3 mean?": "not found",
    "What does exit code 5 mean?": "integrity hash",
    "What is GGUF?": "llama.cpp weights tokenizer",
    "What is quantization?": "fewer bits quality",
    "What is a KV cache?": "keys values context",
    "What is TTFT?": "time to first token",
    "What is n_gpu_layers?": "layers GPU --gpu-layers",
    "How do I use the openai package?": "base_url http://127.0.0.1:8000/v1",
    "What does mlm doctor do?": "checks fix",
}
HONEST_WORDS = ("tiny demo model", "mlm recommend", "mlm download")


def answers(conversations: list[list[dict[str, str]]]) -> list[str]:
    """Return what the packaged model answers, greedily, to each conversation."""

    async def story():
        async with working(DEMO_FILE, n_ctx=8192, n_parallel=8) as worker:
            asked = [ask(worker, messages=messages, max_tokens=120) for messages in conversations]
            return [answer.text for answer in await asyncio.gather(*asked)]

    return asyncio.run(story())


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def test_it_answers_questions_about_mlm_and_local_models():
    given = answers([[user(question)] for question in EXPECTED_WORDS])
    missing = {
        question: (answer, absent)
        for (question, words), answer in zip(EXPECTED_WORDS.items(), given, strict=True)
        if (absent := [word for word in words.split() if word.lower() not in answer.lower()])
    }
    assert missing == {}


def test_it_says_honestly_that_it_knows_nothing_else():
    prompts = (SCRIPTS / "unrelated_heldout.txt").read_text(encoding="utf-8").splitlines()
    given = answers([[user(prompt)] for prompt in prompts])
    honest = [a for a in given if all(word in a for word in HONEST_WORDS)]
    assert len(prompts) == 100
    assert len(honest) >= 90


def test_it_follows_a_conversation_with_and_without_a_system_prompt():
    before = [user("What is GGUF?"), {"role": "assistant", "content": "A file format."}]
    system = {"role": "system", "content": "You are a helpful assistant."}
    plain, guided = answers(
        [[*before, user("How do I remove a model?")], [system, user("What is a KV cache?")]]
    )
    assert "mlm rm" in plain
    assert "keys and values" in guided


@pytest.mark.slow
def test_it_knows_the_facts_also_in_words_it_was_not_trained_on(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    dataset = __import__("dataset")
    facts = {fact.fact_id: fact for fact in dataset.Dataset(seed=0).facts}

    def share_right(pairs: list[tuple[str, str]]) -> float:
        given = answers([[user(question)] for question, _ in pairs])
        expected = [answer for _, answer in pairs]
        return sum(a == b for a, b in zip(given, expected, strict=True)) / len(pairs)

    plain = [(fact.question, fact.answer) for fact in facts.values()]
    reworded = [
        (question, facts[fact_id].answer)
        for fact_id, questions in dataset.heldout_by_fact().items()
        for question in questions
    ]
    for name in ("dataset", "paraphrase", "wording"):
        sys.modules.pop(name)
    assert len(plain) >= 60 and share_right(plain) >= 0.97
    assert len(reworded) >= 2 * len(plain) and share_right(reworded) >= 0.8
