"""Models in memory: who is loaded, who waits, who goes."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.fake_gateway import GIB
from fakes.pool_house import House, ask, in_house, using

from mlm.engine.spawn import Launch
from mlm.server.errors import ApiError


def test_a_crowd_that_asks_for_a_cold_model_loads_it_once(tmp_path: Path):
    async def story(house: House) -> None:
        alpha = house.model("alpha", load_s=0.05)
        answers = await asyncio.gather(*(ask(house, alpha, "n=2") for _ in range(10)))
        assert set(answers) == {"t0 t1 "}
        assert house.count_loads("alpha") == 1

    in_house(tmp_path, story)


def test_the_least_recently_used_model_makes_room(tmp_path: Path):
    async def story(house: House) -> None:
        a, b, c = (house.model(name) for name in "abc")
        for model in (a, b, a, c):
            await ask(house, model)
        await house.until("stopped", "b")
        states = {r.model.model_id: r.state for r in house.pool.residents}
        assert states == {"a": "ready", "b": "stopped", "c": "ready"}

    in_house(tmp_path, story, max_models=2)


def test_bytes_count_as_well_as_models(tmp_path: Path):
    async def story(house: House) -> None:
        small, large = house.model("small"), house.model("large", size=int(7.5 * GIB))
        await ask(house, small)
        await ask(house, large)
        await house.until("stopped", "small")

    in_house(tmp_path, story, max_models=9)


def test_what_can_never_fit_is_refused_at_once_with_the_arithmetic(tmp_path: Path):
    async def story(house: House) -> None:
        small, huge = house.model("small"), house.model("huge", size=9 * GIB)
        async with using(house, small):
            with pytest.raises(ApiError, match=r"9\.00 GiB of 8\.00 GiB on cpu") as caught:
                await ask(house, huge)
            assert (caught.value.status, caught.value.code) == (503, "does_not_fit")
        assert house.pool.find("small").state == "ready"  # type: ignore[union-attr]
        assert house.count_loads("huge") == 0

    in_house(tmp_path, story)


@pytest.mark.parametrize("first", [None, 10 * GIB])
def test_a_memory_limit_that_changes_while_the_server_runs_is_obeyed(
    tmp_path: Path, first: int | None
):
    limits = {"now": first}

    async def story(house: House) -> None:
        small, large = house.model("small", size=3 * GIB), house.model("large", size=4 * GIB)
        assert await ask(house, small, "n=1") == "t0 "
        assert await ask(house, large, "n=1") == "t0 "  # both fit the 8 GiB that were available
        assert house.count_loads("small") == 1

        limits["now"] = 5 * GIB
        third = house.model("third", size=2 * GIB)
        assert await ask(house, third, "n=1") == "t0 "
        await house.until("stopped", "large")

        limits["now"] = GIB
        with pytest.raises(ApiError) as refused:
            await ask(house, house.model("fourth", size=2 * GIB), "n=1")
        assert "needs 2.00 GiB of" in refused.value.message

    in_house(tmp_path, story, max_models=9, memory_limit=lambda: limits["now"])


def test_a_model_that_is_first_asked_for_after_the_limit_changed_was_planned_for_the_new_one(
    tmp_path: Path,
):
    limits = {"now": 20 * GIB}

    async def story(house: House) -> None:
        limits["now"] = 10 * GIB  # of which the plan found 8 to be available
        assert await ask(house, house.model("large", size=7 * GIB), "n=1") == "t0 "

    in_house(tmp_path, story, memory_limit=lambda: limits["now"])


def test_a_busy_model_is_never_evicted_but_makes_room_when_it_is_done(tmp_path: Path):
    async def story(house: House) -> None:
        a, b = house.model("a"), house.model("b")
        async with using(house, a):
            waiting = asyncio.create_task(ask(house, b, "n=1"))
            for _ in range(20):
                await asyncio.sleep(0)
            assert house.pool.find("a").state == "ready"  # type: ignore[union-attr]
            assert not waiting.done()
        assert await waiting == "t0 "
        assert house.pool.find("a").state == "stopped"  # type: ignore[union-attr]

    in_house(tmp_path, story, max_models=1)


def test_alternating_requests_are_batched_and_nobody_starves(tmp_path: Path):
    async def story(house: House) -> None:
        a, b = house.model("a"), house.model("b")
        asked = [ask(house, model, "n=1") for _ in range(10) for model in (a, b)]
        assert len(await asyncio.gather(*asked)) == 20
        assert house.count_loads("a") == house.count_loads("b") == 1

    in_house(tmp_path, story, max_models=1)


def test_a_model_in_constant_use_gives_way_after_its_present_requests(tmp_path: Path):
    async def story(house: House) -> None:
        a, b = house.model("a"), house.model("b")
        order: list[str] = []

        async def keep_asking() -> None:
            while "b" not in order:
                await ask(house, a, "n=2 pace=0.01")
                order.append("a")

        busy = [asyncio.create_task(keep_asking()) for _ in range(3)]
        await house.until("ready", "a")
        await ask(house, b, "n=1")
        order.append("b")
        await asyncio.gather(*busy)
        assert order.index("b") <= 6

    in_house(tmp_path, story, max_models=1)


def test_a_pinned_model_never_makes_room(tmp_path: Path):
    async def story(house: House) -> None:
        a, b = house.model("a"), house.model("b")
        await house.pool.load(a)
        house.pool.pin(a, pinned=True)
        with pytest.raises(ApiError, match="'b' is one more than 1: pinned is a") as caught:
            await ask(house, b)
        assert (caught.value.status, caught.value.code) == (503, "does_not_fit")
        assert caught.value.remedy == "mlm unpin a"
        house.pool.pin(a, pinned=False)
        assert await ask(house, b, "n=1") == "t0 "

    in_house(tmp_path, story, max_models=1)


def test_a_model_that_nobody_uses_is_unloaded_after_a_time(tmp_path: Path):
    async def story(house: House) -> None:
        a, b = house.model("a"), house.model("b")
        house.pool.pin(b, pinned=True)
        async with using(house, a, b):
            await asyncio.sleep(0.2)  # longer than that, but in use
            assert house.pool.find("a").state == "ready"  # type: ignore[union-attr]
        await house.until("stopped", "a")
        assert house.pool.find("b").state == "ready"  # type: ignore[union-attr]
        assert await ask(house, a, "n=1") == "t0 "

    in_house(tmp_path, story, ttl_s=0.1)


def test_a_busy_or_pinned_model_is_not_unloaded(tmp_path: Path):
    async def story(house: House) -> None:
        a = house.model("a", load_s=0.2)
        loading = asyncio.create_task(house.pool.load(a))
        await house.until("starting", "a")
        with pytest.raises(ApiError, match="is being loaded") as caught:
            await house.pool.unload(a)
        assert caught.value.status == 409
        await loading
        async with using(house, a, a):
            with pytest.raises(ApiError, match="has 2 requests") as caught:
                await house.pool.unload(a)
            assert caught.value.code == "model_busy"
        house.pool.pin(a, pinned=True)
        with pytest.raises(ApiError) as caught:
            await house.pool.unload(a)
        assert (caught.value.status, caught.value.code) == (409, "model_pinned")
        house.pool.pin(a, pinned=False)
        assert (await house.pool.unload(a)).state == "stopped"
        assert (await house.pool.unload(a)).state == "stopped"

    in_house(tmp_path, story)


def test_who_asks_while_a_model_is_being_unloaded_gets_it_loaded_again(tmp_path: Path):
    async def story(house: House) -> None:
        a = house.model("a")
        await house.pool.load(a)
        unloading = asyncio.create_task(house.pool.unload(a))
        await house.until("stopping", "a")
        assert await ask(house, a, "n=1") == "t0 "
        await unloading
        assert house.count_loads("a") == 2

    in_house(tmp_path, story)


def test_a_changed_config_is_taken_up_when_nobody_uses_the_model(tmp_path: Path):
    async def story(house: House) -> None:
        a = house.model("a", slots=1)
        async with using(house, a):
            house.pool.renew(house.model("a", slots=3))
            assert house.pool.find("a").worker.ready.n_parallel == 1  # type: ignore[union-attr]
        await house.until("stopping", "a")
        await house.until("ready", "a")  # without being asked for
        assert house.pool.find("a").worker.ready.n_parallel == 3  # type: ignore[union-attr]

    in_house(tmp_path, story)


def test_a_config_that_needs_no_other_worker_counts_at_once(tmp_path: Path):
    async def story(house: House) -> None:
        a = house.model("a")
        async with using(house, a):
            patient = replace(a, config=replace(a.config, cache_ttl_s=1))
            house.pool.renew(patient)
            assert house.pool.find("a").model is patient  # type: ignore[union-attr]
        assert house.count_loads("a") == 1

    in_house(tmp_path, story)


def test_bytes_that_workers_keep_prefixes_in_count(tmp_path: Path):
    async def story(house: House) -> None:
        a, b = (
            replace(model, config=replace(model.config, prefix_cache=6 * GIB))
            for model in (house.model("a", size=3 * GIB), house.model("b", size=3 * GIB))
        )
        first = house.pool.fitting([a, b])
        assert len(first) == 2
        for model in first:
            await house.pool.load(model)
        kept = {r.model.model_id: r.config.prefix_cache for r in house.pool.residents}
        assert kept == {"a": 2 * GIB, "b": 0}  # of 8 GiB, 3 are for b whenever it comes
        assert sum(sum(r.memory_by_device.values()) for r in house.pool.residents) == 8 * GIB
        assert house.count_loads("a") == 1

    in_house(tmp_path, story)


def test_nobody_is_evicted_for_one_who_has_left(tmp_path: Path):
    async def story(house: House) -> None:
        a, b = house.model("a"), house.model("b")
        async with using(house, a):
            leaver = asyncio.create_task(ask(house, b))
            await asyncio.sleep(0)
            leaver.cancel()
            await asyncio.gather(leaver, return_exceptions=True)
            assert await ask(house, a, "n=1") == "t0 "  # it does not give way any more
        assert await ask(house, a, "n=1") == "t0 "
        assert house.count_loads("a") == 1
        assert house.count_loads("b") == 0
        assert house.pool.find("b").admitted == 0  # type: ignore[union-attr]

    in_house(tmp_path, story, max_models=1)


def test_models_are_loaded_in_the_order_in_which_they_were_asked_for(tmp_path: Path):
    async def story(house: House) -> None:
        busy, large, small = (house.model(n, size=s * GIB) for n, s in SIZES.items())
        async with using(house, busy):
            asked = [asyncio.create_task(ask(house, model)) for model in (large, small)]
            for _ in range(20):
                await asyncio.sleep(0)
            assert house.started() == ["busy"]  # though there is room for the small one
        await asyncio.gather(*asked)
        assert house.started() == ["busy", "large", "small"]

    in_house(tmp_path, story, max_models=9)


SIZES = {"busy": 6, "large": 6, "small": 2}


def test_who_leaves_in_the_moment_of_getting_the_worker_gives_it_back(tmp_path: Path):
    async def story(house: House) -> None:
        leaver = asyncio.create_task(ask(house, house.model("a")))
        house.when_ready = leaver.cancel
        await asyncio.gather(leaver, return_exceptions=True)
        assert leaver.cancelled()
        resident = house.pool.find("a")
        assert resident is not None
        assert (resident.state, resident.active, resident.admitted) == ("ready", 0, 0)

    in_house(tmp_path, story)


def test_who_leaves_during_the_load_leaves_no_trace(tmp_path: Path):
    async def story(house: House) -> None:
        a = house.model("a", load_s=0.1)
        leavers = [asyncio.create_task(ask(house, a)) for _ in range(5)]
        await house.until("starting", "a")
        for leaver in leavers:
            leaver.cancel()
        await asyncio.gather(*leavers, return_exceptions=True)
        await house.until("ready", "a")
        resident = house.pool.find("a")
        assert resident is not None
        assert (resident.active, resident.admitted, resident.waiters) == (0, 0, [])

    in_house(tmp_path, story)


def test_a_dead_worker_is_replaced(tmp_path: Path):
    async def story(house: House) -> None:
        a = house.model("a")
        with pytest.raises(Exception, match="SIGSEGV"):
            await ask(house, a, "die=SIGSEGV")
        assert await ask(house, a, "n=1") == "t0 "
        resident = house.pool.find("a")
        assert resident is not None
        assert (resident.crashes, resident.loads) == (1, 2)

    in_house(tmp_path, story)


def test_a_dead_worker_takes_only_its_own_requests_with_it(tmp_path: Path):
    async def story(house: House) -> None:
        a, b = house.model("a"), house.model("b")
        steady = asyncio.create_task(ask(house, b, "n=10 pace=0.01"))
        victims = [asyncio.create_task(ask(house, a, "n=50 pace=0.05")) for _ in range(3)]
        await house.until("ready", "a")
        with pytest.raises(Exception, match="SIGABRT"):
            await ask(house, a, "die=SIGABRT")
        outcomes = await asyncio.gather(*victims, return_exceptions=True)
        assert all("SIGABRT" in str(outcome) for outcome in outcomes)
        assert len((await steady).split()) == 10
        assert house.pool.find("b").crashes == 0  # type: ignore[union-attr]

    in_house(tmp_path, story)


def test_a_model_that_cannot_be_loaded_says_why_and_then_rests(tmp_path: Path):
    async def story(house: House) -> None:
        broken = house.model("broken", load_error="unknown architecture 'x'")
        with pytest.raises(ApiError, match="unknown architecture 'x'") as first:
            await ask(house, broken)
        assert first.value.status == 503
        with pytest.raises(ApiError, match="unknown architecture 'x'") as second:
            await ask(house, broken)
        assert second.value.retry_after_s is not None
        assert [load.ok for load in house.loads] == [False]

    in_house(tmp_path, story)


def test_a_worker_that_dies_while_loading_is_a_failed_load(tmp_path: Path):
    async def story(house: House) -> None:
        with pytest.raises(ApiError, match="SIGSEGV") as caught:
            await ask(house, house.model("a", dies_loading=True))
        assert caught.value.code == "load_failed"
        assert house.pool.find("a").state == "stopped"  # type: ignore[union-attr]

    in_house(tmp_path, story)


def test_a_command_that_cannot_be_started_is_a_failed_load(tmp_path: Path):
    async def story(house: House) -> None:
        with pytest.raises(ApiError, match="nonexistent") as caught:
            await ask(house, house.model("a"))
        assert (caught.value.status, caught.value.code) == (503, "load_failed")

    in_house(tmp_path, story, launch=Launch(("/nonexistent/python",)))


def test_closing_sends_everybody_away(tmp_path: Path):
    async def story(house: House) -> None:
        a, b = house.model("a"), house.model("b")
        async with using(house, a):
            waiting = asyncio.create_task(ask(house, b))
            await asyncio.sleep(0)
            await house.pool.close(grace_s=1)
            with pytest.raises(ApiError) as caught:
                await waiting
        assert caught.value.code == "shutting_down"
        with pytest.raises(ApiError):
            await ask(house, a)

    in_house(tmp_path, story, max_models=1)


def test_closing_during_a_load_ends_the_worker(tmp_path: Path):
    async def story(house: House) -> None:
        waiting = asyncio.create_task(ask(house, house.model("a", load_s=60)))
        await house.until("starting", "a")
        await house.pool.close(grace_s=0)
        with pytest.raises(ApiError):
            await waiting

    in_house(tmp_path, story)


def test_only_as_many_models_are_preloaded_as_fit_together(tmp_path: Path):
    async def story(house: House) -> None:
        models = [house.model(name, size=3 * GIB) for name in "abcd"]
        assert [model.model_id for model in house.pool.fitting(models)] == ["a", "b"]

    in_house(tmp_path, story, max_models=9)


def test_the_predicted_and_the_real_memory_are_noted_with_each_load(tmp_path: Path):
    async def story(house: House) -> None:
        await ask(house, house.model("a"))
        (load,) = house.loads
        assert (load.model, load.ok) == ("a", True)
        assert (load.predicted_bytes, load.actual_bytes) == (GIB, 1110)

    in_house(tmp_path, story)
