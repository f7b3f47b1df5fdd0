"""Clients that leave whenever they like cost the others nothing, however many there are."""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes.real_worker import CONFIG, ask, events_of, request
from fakes.tiny_models import LETTERS, WORDS
from msgspec.structs import replace

from mlm.engine.messages import Accepted, Alive, Failed, Finished, FromWorker, TokenOut
from mlm.engine.process import Worker

# So that rounding decides nothing, the cache has 32 bits.
EXACT = replace(CONFIG, n_ctx=4 * 4096, n_ubatch=32, type_k="f32", type_v="f32", flash_attn="off")
N_CLIENTS = 12  # at once, for four slots
LETTERS_ONLY = {"logit_bias": dict.fromkeys(LETTERS.values(), 100.0), "ignore_eos": True}


class WatchedWorker(Worker):
    """A worker whose heartbeats can be waited for."""

    async def count_requests(self) -> tuple[int, int]:
        """Return how many requests it says to have in slots, and how many to have waiting."""
        self._beat: asyncio.Future[Alive] = asyncio.get_running_loop().create_future()
        beat = await self._beat
        return beat.n_active, beat.n_waiting

    def _receive(self, message: FromWorker) -> None:
        super()._receive(message)
        if isinstance(message, Alive) and hasattr(self, "_beat") and not self._beat.done():
            self._beat.set_result(message)


class Crowd:
    """Clients with random questions and little patience; the same ones every time."""

    def __init__(self, worker: Worker, seed: int) -> None:
        self._worker = worker
        self._random = random.Random(seed)
        self.beginning = self._text(60)
        self.n_left = 0  # clients that left before the end
        self.answers: list[tuple[dict[str, Any], str]] = []  # of those that stayed

    async def come(self, n_aborts: int) -> None:
        """Let clients come and go until so many have left too early."""

        async def client() -> None:
            while self.n_left < n_aborts:
                await self._ask_and_perhaps_leave()

        await asyncio.gather(*(client() for _ in range(N_CLIENTS)))

    def _text(self, n_words: int) -> str:
        return " ".join(self._random.choices(WORDS, k=n_words))

    def _question(self) -> dict[str, Any]:
        kind = self._random.randrange(5)
        if kind == 0:  # a beginning that nobody has yet, for whoever comes next too
            self.beginning = self._text(60)
        if kind < 3:
            return {"prompt": f"{self.beginning} {self._text(3)}", **LETTERS_ONLY}
        if kind == 3:
            return {"prompt": self._text(2), "grammar": "root ::= [a-z]{1,40}"}
        return {"messages": [{"role": "user", "content": self._text(40)}], **LETTERS_ONLY}

    async def _ask_and_perhaps_leave(self) -> None:
        question = self._question()
        moment = self._random.choice(["sent", "soon", "accepted", "tokens", "end"])
        if moment == "end":  # the others ask for thousands of tokens: a lost cancel shows
            question["max_tokens"] = self._random.randint(1, 12)
        asking = asyncio.create_task(self._read(question, moment))
        if moment in ("sent", "soon"):
            await asyncio.sleep(self._random.uniform(0, 0.03) if moment == "soon" else 0)
            asking.cancel()
        await asyncio.wait([asking])
        if asking.cancelled() or not asking.result():
            self.n_left += 1

    async def _read(self, question: dict[str, Any], moment: str) -> bool:
        """Read an answer until the client has enough of it; whether that was its end."""
        text, limit = "", self._random.randint(1, 6)
        stream = events_of(self._worker, request(**question))
        try:
            async for event in stream:
                assert not isinstance(event, Failed), event
                text += event.text if isinstance(event, TokenOut) else ""
                if isinstance(event, Finished):
                    self.answers.append((question, text))
                    return True
                if (moment == "accepted" and isinstance(event, Accepted)) or (
                    moment == "tokens" and len(text) >= limit
                ):
                    return False
        finally:
            await stream.aclose()
        raise AssertionError("an answer without an end")


@pytest.mark.parametrize(
    ("kind", "n_aborts"),
    [
        ("llama", 150),
        pytest.param("llama", 2000, marks=pytest.mark.slow),
        pytest.param("granitehybrid", 2000, marks=pytest.mark.slow),
    ],
)
def test_after_any_number_of_aborts_every_slot_is_there_and_right(
    kind: str, n_aborts: int, tiny_model: Callable[[str], Path]
):
    async def story() -> None:
        worker = await WatchedWorker.start(tiny_model(kind), EXACT)
        try:
            crowd = Crowd(worker, seed=n_aborts)
            await crowd.come(n_aborts // 5)
            process = psutil.Process(worker.pid)
            before = process.memory_info().rss
            await crowd.come(n_aborts)
            assert await worker.count_requests() == (0, 0)
            assert process.memory_info().rss < before + 8 * 1024**2
            await check_slots(worker)
            answers = random.Random(1).sample(crowd.answers, k=min(len(crowd.answers), 40))
            for question, text in answers:
                alone = await ask(worker, **question, cache_prompt=False)
                assert alone.text == text
        finally:
            await worker.stop(grace_s=5)

    asyncio.run(story())


async def check_slots(worker: Worker) -> None:
    """Make sure that each slot can be used: all answers are under way before one has ended."""
    started = asyncio.Barrier(EXACT.n_parallel)

    async def talk(prompt: str) -> None:
        stream = events_of(worker, request(prompt, max_tokens=400, **LETTERS_ONLY))
        async for event in stream:
            assert not isinstance(event, Finished | Failed), "it ended before all had begun"
            if isinstance(event, TokenOut):
                break
        await started.wait()
        await stream.aclose()

    async with asyncio.timeout(30):
        await asyncio.gather(*(talk(f"hello {n}") for n in range(EXACT.n_parallel)))
