"""Requests that share an answer, seen from inside."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from fakes.fake_gateway import FAKE_WORKER, fake_model

from mlm.engine.messages import Generate, SamplingParams
from mlm.engine.spawn import Launch
from mlm.server.answers import Answers, _key
from mlm.server.cache import ResponseCache, Template
from mlm.server.flight import Flight
from mlm.server.model import ServedModel
from mlm.server.observer import Observer
from mlm.server.pool import Pool, PoolOptions

GREEDY = SamplingParams(temperature=0)


def with_answers(folder: Path, story: Callable[[Answers, ServedModel], Awaitable[None]]) -> None:
    """Tell a story with a pool, a cache and a model."""
    (folder / "alpha.fake").write_text(json.dumps({}))

    async def tell() -> None:
        pool = Pool(PoolOptions(launch=Launch(FAKE_WORKER)))
        cache = ResponseCache(folder / "responses.sqlite")
        try:
            async with asyncio.timeout(20):
                await story(Answers(pool, cache, Observer()), fake_model(folder / "alpha.fake"))
        finally:
            await pool.close(grace_s=1)
            await asyncio.to_thread(cache.close)

    asyncio.run(tell())


def question(wish: str) -> Generate:
    return Generate(request_id=0, prompt=wish, sampling=GREEDY)


async def until_over(flight: Flight) -> None:
    with flight.watch() as watcher:
        while not flight.over:
            await watcher.wait()


def test_an_answer_that_everybody_left_is_not_shared_with_the_next_one(tmp_path: Path):
    async def story(answers: Answers, model: ServedModel) -> None:
        asked = question("n=5 pace=0.01")
        first, joined = answers.open(model, asked, use_cache=True)
        assert not joined
        with first.watch():
            await asyncio.sleep(0)  # it begins
        second, joined = answers.open(model, asked, use_cache=True)
        assert not joined
        with second.watch():
            await first.join()  # its end must not take the second one's place away
            third, joined = answers.open(model, asked, use_cache=True)
            assert joined
            assert third is second
            await until_over(second)
        assert "".join(second.pieces) == "t0 t1 t2 t3 t4 "

    with_answers(tmp_path, story)


def test_an_answer_that_everybody_left_before_it_began_leaves_no_trace(tmp_path: Path):
    async def story(answers: Answers, model: ServedModel) -> None:
        flight, _ = answers.open(model, question("n=1"), use_cache=True)
        with flight.watch():
            pass
        await flight.join()
        await asyncio.sleep(0)
        assert answers._in_flight == {}

    with_answers(tmp_path, story)


def test_a_template_that_shows_the_date_has_other_answers_tomorrow(
    monkeypatch: pytest.MonkeyPatch,
):
    keys = {}
    for day in ("2026-03-01", "2026-03-02"):
        monkeypatch.setattr(time, "strftime", lambda _, day=day: day)
        keys[day] = [_key(b"question", Template("ab", uses)) for uses in (False, True)]
    (plain, dated), (plain_tomorrow, dated_tomorrow) = keys.values()
    assert plain == plain_tomorrow
    assert dated != dated_tomorrow


def test_without_the_cache_nothing_is_shared(tmp_path: Path):
    async def story(answers: Answers, model: ServedModel) -> None:
        flights = [answers.open(model, question("n=1"), use_cache=False)[0] for _ in range(2)]
        assert flights[0] is not flights[1]
        await asyncio.gather(*map(until_over, flights))

    with_answers(tmp_path, story)


def test_after_the_answer_is_stored_nothing_is_kept_in_memory(tmp_path: Path):
    async def story(answers: Answers, model: ServedModel) -> None:
        flight, _ = answers.open(model, question("n=1"), use_cache=True)
        await until_over(flight)
        while answers._in_flight:
            await asyncio.sleep(0)
        again, joined = answers.open(model, question("n=1"), use_cache=True)
        assert not joined
        await until_over(again)
        assert again.replayed

    with_answers(tmp_path, story)
