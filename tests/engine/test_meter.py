"""What a worker knows of its own work, with a llama whose time is known."""

import asyncio
from pathlib import Path

from fakes.fake_llama import DECODE_S, PREFILL_S, FakeLlama, Office
from fakes.real_worker import ask, working

from mlm.engine.messages import STEP_BOUNDS_S, Work
from mlm.engine.meter import Meter


def test_tokens_are_counted_as_computed_in_prefill_or_decode_or_reused():
    office = Office()
    office.submit(1, range(500, 540), "hello")
    office.run()
    office.submit(2, [*range(500, 540), *map(ord, "hello"), 7, 8, 9], "more")
    office.run()
    work = office.scheduler.meter.read()
    assert work.prefill_tokens == 40 + 3
    assert work.decode_tokens == len("hello") + len("more")
    assert work.reused_tokens == 40 + len("hello")
    assert work.admitted == 2


def test_what_is_computed_alone_counts_too():
    office = Office()
    office.submit(1, 40, "hello", deterministic=True)
    office.submit(2, 30, "hello")
    office.run()
    work = office.scheduler.meter.read()
    assert (work.prefill_tokens, work.decode_tokens) == (70, 10)
    assert work.sequences == 2 * sum(work.steps)


def test_time_goes_into_computing_and_idling_and_nowhere_else():
    office = Office()
    began = office.llama.clock()
    office.scheduler.meter.wake()
    office.submit(1, 20, "hello")
    office.run()
    office.scheduler.meter.rest()
    office.llama.clock.now += 5.0
    work = office.scheduler.meter.read()
    assert abs(work.computing_s - (6 * DECODE_S + 20 * PREFILL_S)) < 1e-9
    assert abs(work.step_s + work.idle_s - (office.llama.clock() - began)) < 1e-9
    assert work.idle_s == 5.0
    assert work.choosing_s == 0


def test_choosing_has_a_sum_of_its_own():
    office = Office()
    request = office.submit(1, 8, "abc")
    speak = request.sampler.sample

    def think(context: object, row: int) -> int:
        office.llama.clock.now += 0.25
        return speak(context, row)

    request.sampler.sample = think
    office.run()
    work = office.scheduler.meter.read()
    assert work.choosing_s == 4 * 0.25
    assert work.step_s == work.computing_s + work.choosing_s


def test_batches_tell_how_full_they_are_and_requests_how_long_they_waited():
    office = Office(FakeLlama(n_slots=2))
    for number in range(4):
        office.submit(number, 8, "abc")
    office.run()
    work = office.scheduler.meter.read()
    assert work.sequences == 2 * sum(work.steps)
    waited = sum(office.ending(number).queue_s for number in range(4))
    assert work.queue_s == waited > 0
    assert work.admitted == 4


def test_steps_are_told_apart_by_how_long_they_take():
    meter = Meter()
    for seconds in (0.0, STEP_BOUNDS_S[0], 1.5 * STEP_BOUNDS_S[0], 1e6):
        meter.note_step(seconds, prefill=0, decode=1, sequences=1)
    assert meter.read().steps == [2, 1, *[0] * (len(STEP_BOUNDS_S) - 2), 1]


def test_a_nap_that_is_not_over_counts_already_and_only_once():
    now = [100.0]
    meter = Meter(lambda: now[0])
    now[0] += 3
    assert meter.read().idle_s == 3
    now[0] += 1
    meter.wake()
    now[0] += 10
    assert meter.read().idle_s == 4
    meter.wake()
    assert meter.read().idle_s == 4


def test_a_worker_reports_its_work_with_the_heartbeat(demo_model: Path):
    async def story() -> tuple[int, Work]:
        async with working(demo_model) as worker:
            answers = await asyncio.gather(*(ask(worker, f"hi {i}", max_tokens=9) for i in "abc"))
            computed = sum(answer.ending.completion_tokens - 1 for answer in answers)
            while True:
                sign = worker.last_sign
                if sign and sign.work and sign.work.decode_tokens >= computed:
                    return computed, sign.work
                await asyncio.sleep(0.01)

    computed, work = asyncio.run(story())  # the first token of an answer comes with its prompt
    assert work.decode_tokens == computed
    assert work.admitted == 3 and work.prefill_tokens >= 3
    assert sum(work.steps) >= 8
    assert 0 < work.computing_s + work.choosing_s <= work.step_s
