"""Requests that wait for a model or a slot: how many, for how long, and what they are told."""

import asyncio
from pathlib import Path

import pytest
from fakes.pool_house import House, ask, in_house, using

from mlm.server.errors import ApiError
from mlm.server.pool import Lease


def test_a_full_queue_refuses_and_says_when_to_come_again(tmp_path: Path):
    async def story(house: House) -> None:
        a = house.model("a", slots=2)
        async with using(house, a, a, a, a):
            waiting = asyncio.create_task(ask(house, a, "n=1"))
            await asyncio.sleep(0)
            with pytest.raises(ApiError) as caught:
                await ask(house, a)
        assert await waiting == "t0 "
        assert caught.value.status == 429
        assert dict(caught.value.headers)[b"retry-after"] == b"1"
        assert await ask(house, a, "n=1") == "t0 "

    in_house(tmp_path, story, max_queue=3)


def test_a_full_queue_says_how_long_it_takes_by_how_fast_it_went(tmp_path: Path):
    async def story(house: House) -> None:
        a = house.model("a", slots=1)
        resident = await house.pool.load(a)
        for begun, ended in ((0.0, 8.0), (100.0, 112.0)):  # 10 s each, whatever lies between
            resident.rate.note_begin(begun)
            resident.rate.note_end(ended, others=False)
        async with using(house, a, a):
            waiting = [asyncio.create_task(ask(house, a)) for _ in range(3)]
            await asyncio.sleep(0)
            with pytest.raises(ApiError) as caught:
                await ask(house, a)
            for each in waiting:
                each.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        assert caught.value.retry_after_s == 40  # 5 requests, of which one runs

    in_house(tmp_path, story, max_queue=4)


def test_who_has_waited_too_long_for_a_model_is_sent_away_and_told_when_to_return(tmp_path: Path):
    async def story(house: House) -> None:
        a, b = house.model("a"), house.model("b")
        await house.pool.load(a)
        async with using(house, a):
            with pytest.raises(ApiError, match="for the model to be loaded") as caught:
                await ask(house, b)
        assert (caught.value.status, caught.value.code) == (503, "waited_too_long")
        assert caught.value.retry_after_s is not None
        assert house.count_loads("b") == 0
        assert (await house.pool.load(b)).state == "ready"

    in_house(tmp_path, story, max_models=1, max_wait_s=0.2)


def test_who_has_waited_too_long_for_a_slot_is_sent_away(tmp_path: Path):
    async def story(house: House) -> None:
        a = house.model("a", slots=1)
        await house.pool.load(a)
        async with using(house, a, a):  # one that runs, one that is next
            with pytest.raises(ApiError, match="for a free slot") as caught:
                await ask(house, a)
        assert caught.value.code == "waited_too_long"

    in_house(tmp_path, story, max_wait_s=0.1)


def test_a_load_may_take_longer_than_a_request_waits(tmp_path: Path):
    async def story(house: House) -> None:
        a = house.model("a", load_s=0.5)
        loading = asyncio.create_task(house.pool.load(a))
        with pytest.raises(ApiError):
            await ask(house, a)
        assert (await loading).state == "ready"

    in_house(tmp_path, story, max_wait_s=0.1)


def test_when_too_many_wait_for_models_the_server_says_so(tmp_path: Path):
    async def story(house: House) -> None:
        models = [house.model(name, load_s=60) for name in "abc"]
        waiting = [asyncio.create_task(ask(house, model)) for model in models]
        await house.until("starting", "a")
        with pytest.raises(ApiError) as caught:
            await ask(house, models[0])
        assert (caught.value.status, caught.value.code) == (503, "overloaded")
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    in_house(tmp_path, story, max_models=1, max_waiting=3)


def test_the_time_before_a_slot_is_not_counted_as_loading(tmp_path: Path):
    async def story(house: House) -> None:
        a, done = house.model("a", slots=1), asyncio.Event()

        async def occupy() -> Lease:
            async with house.pool.lease(a) as lease:
                await done.wait()
                return lease

        leases = [asyncio.create_task(occupy()) for _ in range(3)]
        await house.until("ready", "a")
        await asyncio.sleep(0.05)
        done.set()
        first, _, third = await asyncio.gather(*leases)
        assert first.load_s > 0
        assert first.queue_s < 0.04 < third.queue_s  # two places were taken
        assert abs(third.load_s - first.load_s) < 0.04

    in_house(tmp_path, story)
