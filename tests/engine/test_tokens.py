"""What a worker says of tokens: those of a text, of a chat, and back to bytes."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes.processes import wait_until
from fakes.real_worker import ask, working

from mlm.engine.desk import Desk
from mlm.engine.messages import Failed, Generate, Tokenize, Tokens
from mlm.engine.process import Worker, new_request_id

MESSAGES: Any = [{"role": "user", "content": "What is mlm?"}]
TEXTS = ("", " ", "What is mlm?", "zwölf 🦙\n\n\ttabs", "<|user|>", "a\0b", "x" * 5000)


async def tell(worker: Worker, **fields: Any) -> Any:
    (answer,) = await worker.collect(Tokenize(request_id=new_request_id(), **fields))
    return answer


def with_worker(path: Path, story: Callable[[Worker], Any], **config: Any) -> Any:
    async def run() -> Any:
        async with working(path, **config) as worker:
            return await story(worker)

    return asyncio.run(run())


def test_text_becomes_tokens_and_these_the_same_text(demo_model: Path):
    async def story(worker: Worker) -> None:
        for text in TEXTS:
            there = await tell(worker, text=text, spell=True)
            assert b"".join(there.spellings).decode() == text
            back = await tell(worker, tokens=there.tokens, spell=True)
            assert (back.tokens, back.spellings) == (there.tokens, there.spellings)
        assert (await tell(worker, text="What is mlm?")).spellings == []

    with_worker(demo_model, story)


def test_control_tokens_are_tokens_unless_they_are_not_wished(demo_model: Path):
    async def story(worker: Worker) -> None:
        (one,) = (await tell(worker, text="<|user|>")).tokens
        as_text = (await tell(worker, text="<|user|>", parse_special=False)).tokens
        assert len(as_text) > 1 and one not in as_text

    with_worker(demo_model, story)


def test_what_a_text_begins_with_is_added_on_demand(tiny_model: Callable[[str], Path]):
    async def story(worker: Worker) -> None:
        plain = (await tell(worker, text="hello")).tokens
        special = (await tell(worker, text="hello", add_special=True)).tokens
        assert len(special) > len(plain)
        assert plain == special[1 : 1 + len(plain)]

    with_worker(tiny_model("bert"), story, embedding=True, n_parallel=1, n_ubatch=256)


def test_a_chat_has_the_tokens_that_it_would_be_answered_to(demo_model: Path):
    async def story(worker: Worker) -> None:
        told = await tell(worker, messages=MESSAGES, spell=True)
        answer = await ask(worker, messages=MESSAGES, max_tokens=1)
        assert len(told.tokens) == answer.ending.prompt_tokens  # type: ignore[union-attr]
        assert b"What is mlm?" in b"".join(told.spellings)
        same = await ask(worker, prompt_tokens=told.tokens, max_tokens=8)
        chat = await ask(worker, messages=MESSAGES, max_tokens=8)
        assert same.text == chat.text

    with_worker(demo_model, story)


def test_a_text_longer_than_a_slot_is_counted_all_the_same(demo_model: Path):
    async def story(worker: Worker) -> None:
        told = await tell(worker, text="What is mlm? " * 5000)
        assert len(told.tokens) > 10_000 > worker.ready.n_ctx_slot

    with_worker(demo_model, story)


def test_what_makes_no_sense_is_refused(demo_model: Path, tiny_model: Callable[[str], Path]):
    async def story(worker: Worker) -> None:
        for tokens in ([-1], [10**6], [1, 2, 2**31 - 1]):
            refused = await tell(worker, tokens=tokens, spell=True)
            assert isinstance(refused, Failed) and refused.param == "tokens"
        assert isinstance(await tell(worker, text="still here"), Tokens)

    async def no_chat(worker: Worker) -> None:
        refused = await tell(worker, messages=MESSAGES)
        assert (refused.code, refused.param) == ("invalid_request_error", "messages")

    with_worker(demo_model, story)
    with_worker(tiny_model("bert"), no_chat, embedding=True, n_parallel=1, n_ubatch=256)


@pytest.mark.parametrize("n_asked", [1, 30])
def test_who_leaves_before_the_answer_harms_nobody(demo_model: Path, n_asked: int):
    async def story(worker: Worker) -> None:
        text = "What is mlm? " * 20_000
        asked = [asyncio.create_task(tell(worker, text=text, spell=True)) for _ in range(n_asked)]
        await asyncio.sleep(0)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        assert not worker.busy
        assert (await ask(worker, messages=MESSAGES, max_tokens=4)).text

    with_worker(demo_model, story)


class Letters:
    """A vocabulary of letters."""

    n_tokens = 128

    def tokenize(self, text: str, **_: bool) -> list[int]:
        return list(text.encode())


class TokenDesk(Desk[Generate, Any]):
    """A desk that nobody asks for text."""

    takes = Generate
    misplaced = "not here"

    def _prepare(self, asked: Generate, received_s: float) -> Any:
        raise AssertionError

    def _announce(self, request: Any, asked: Generate) -> None:
        raise AssertionError


def test_who_has_been_answered_waits_no_longer():
    sent: list[Any] = []
    desk = TokenDesk(Letters(), sent.append, sent.append)  # type: ignore[arg-type]
    desk.start()
    desk.receive(Tokenize(request_id=1, text="ab"))
    wait_until(lambda: sent)
    assert (sent, desk.n_waiting) == ([Tokens(1, [97, 98])], 0)
