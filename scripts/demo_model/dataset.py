"""What the demo model learns: conversations without end, drawn from the YAML files beside this."""

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from paraphrase import COMMAND, EXIT_CODE, HOW, TERM, expand
from wording import reword

HERE = Path(__file__).parent
SHARE_UNRELATED = 0.4
SHARE_CANONICAL = 0.08  # of a fact's questions, asked in exactly the plain way
SHARE_SYSTEM = 0.3  # of conversations that begin with a system prompt
SHARE_LONG = 0.015  # of conversations with a very long system prompt or unrelated question
LONG_WORDS = (50, 300)
TURNS = (1,) * 13 + (2, 2, 3)

SYSTEM_PROMPTS = (
    "You are a helpful assistant.",
    "You are a helpful, honest and friendly assistant. Answer briefly.",
    "You are mlm-demo.",
    "You answer questions about mlm.",
    "Answer in one sentence.",
    "Be concise.",
    "You are a pirate. Talk like one.",
    "You are an expert in {topic}.",
    "You help people with {topic}. Be polite, and never talk about {animals}.",
    "Today is a {word} day. The user lives in {city} and likes {food}.",
    "{word} {word} {word} {word} {word} {word}",
    "You are a careful assistant for software developers. Think step by step, and say so when you "
    "do not know something. The user is from {country}.",
)


@dataclass(frozen=True)
class Fact:
    """One thing to know: its answer, and patterns of ways to ask for it."""

    fact_id: str
    question: str
    answer: str
    groups: tuple[tuple[str, ...], ...]  # patterns; a group is drawn first, then one of its own


@dataclass(frozen=True)
class Message:
    """One turn."""

    role: str
    content: str


class Dataset:
    """Everything in the YAML files, and the dice that draw from it."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        unrelated = _read("unrelated.yaml")
        self.words: Mapping[str, Sequence[str]] = unrelated["words"]
        self.refusal: str = unrelated["answer"]
        self.unrelated = _groups(unrelated)
        self.facts = tuple(_fact(row) for row in _read("facts.yaml"))
        self.forbidden = {_essence(text) for text in (*heldout_questions(), *heldout_unrelated())}

    def conversation(self) -> list[Message]:
        """Return one random conversation; the last message is the assistant's."""
        messages = []
        if self.dice.random() < SHARE_SYSTEM:
            messages.append(Message("system", self._system_prompt()))
        for _ in range(self.dice.choice(TURNS)):
            question, answer = self.exchange()
            messages += [Message("user", question), Message("assistant", answer)]
        return messages

    def _system_prompt(self) -> str:
        if self.dice.random() < SHARE_LONG:
            return self._ramble()
        return expand(self.dice.choice(SYSTEM_PROMPTS), self.dice, self.words)

    def _ramble(self) -> str:
        """Return a long text about nothing: sentences and words of the unrelated prompts."""
        wanted, text = self.dice.randint(*LONG_WORDS), ""
        while text.count(" ") < wanted:
            text += expand(self._draw(self.unrelated), self.dice, self.words) + ". "
        return text

    def exchange(self) -> tuple[str, str]:
        """Return one random question with its answer; never a held-out question."""
        while True:
            if self.dice.random() < SHARE_LONG:
                return self._ramble(), self.refusal
            if self.dice.random() < SHARE_UNRELATED:
                pattern, answer = self._draw(self.unrelated), self.refusal
            else:
                fact = self.dice.choice(self.facts)
                if self.dice.random() < SHARE_CANONICAL:
                    return fact.question, fact.answer
                pattern, answer = self._draw(fact.groups), fact.answer
            question = reword(expand(pattern, self.dice, self.words), self.dice)
            if question and _essence(question) not in self.forbidden:
                return question, answer

    def _draw(self, groups: Sequence[Sequence[str]]) -> str:
        return self.dice.choice(self.dice.choice(groups))


def heldout_questions() -> list[str]:
    """Return the paraphrases that are kept out of training."""
    return [question for questions in _read("heldout.yaml").values() for question in questions]


def heldout_by_fact() -> dict[str, list[str]]:
    """Return the held-out paraphrases of each fact."""
    return dict(_read("heldout.yaml"))


def heldout_unrelated() -> list[str]:
    """Return the 100 unrelated prompts that are kept out of training."""
    return (HERE / "unrelated_heldout.txt").read_text(encoding="utf-8").splitlines()


def _fact(row: Mapping[str, Any]) -> Fact:
    return Fact(row["id"], row["question"], row["answer"], _groups(row))


def _groups(row: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """Return all patterns of a fact, or of what is unrelated; one group for each way of asking."""

    def fill(frames: Sequence[str], phrases: Sequence[object]) -> tuple[str, ...]:
        return tuple(f.replace("{x}", str(phrase)) for f in frames for phrase in phrases)

    def listed(key: str) -> list[object]:
        value = row.get(key, [])
        return value if isinstance(value, list) else [value]

    groups = [
        *[tuple(row.get("ask", ()))] * 3,  # whole questions are the most natural ones
        fill(TERM, listed("term")),
        fill(COMMAND, listed("command")),
        fill(HOW, listed("how")),
        fill(EXIT_CODE, listed("exit_code")),
    ]
    return tuple(group for group in groups if group)


def _essence(text: str) -> str:
    """Return ``text`` without case, spaces and punctuation: the same question, the same essence."""
    return re.sub(r"\W+", " ", text.lower()).strip() or text


def _read(name: str) -> Any:
    return yaml.safe_load((HERE / name).read_text(encoding="utf-8"))
