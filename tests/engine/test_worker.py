"""A real worker process with real models: what it answers."""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from fakes.real_worker import CONFIG, ask, events_of, request, working
from fakes.tiny_models import CHAT_TEMPLATE, write_tiny_model

from mlm.engine.messages import Accepted, Failed, Finished, TokenOut
from mlm.engine.process import Worker
from mlm.engine.spawn import Launch

TinyModel = Callable[[str], Path]
# Random models have close calls; so that rounding decides none, the cache has 32 bits.
EXACT = {"type_k": "f32", "type_v": "f32", "flash_attn": "off"}
PROMPTS = [f"hello world {number} the system is of you" for number in range(8)]


def test_a_question_is_answered_in_order_accepted_tokens_finished(demo_model: Path):
    async def story():
        async with working(demo_model) as worker:
            assert worker.ready.has_chat_template and worker.ready.n_ctx_slot == 512
            taken = Counter[str]()
            for buffer in worker.ready.buffers:
                taken[buffer.kind] += buffer.n_bytes
            assert taken["weights"] > 1_000_000
            assert min(taken[kind] for kind in ("kv_cache", "compute", "output")) > 0
            return await ask(worker, messages=[{"role": "user", "content": "What is mlm?"}])

    answer = asyncio.run(story())
    assert "model" in answer.text
    assert isinstance(answer.events[0], Accepted)
    assert all(isinstance(event, TokenOut) for event in answer.events[1:-1])
    assert isinstance(answer.ending, Finished) and answer.ending.reason == "stop"
    assert answer.ending.prompt_tokens == answer.events[0].prompt_tokens
    n_tokens = sum(event.n_tokens for event in answer.events[1:-1])
    assert n_tokens <= answer.ending.completion_tokens <= n_tokens + 2


def test_eight_streams_at_once_say_what_each_says_alone(tiny_model: TinyModel):
    async def story():
        async with working(tiny_model("llama"), n_parallel=8, **EXACT) as worker:
            alone = [await ask(worker, p, max_tokens=40, cache_prompt=False) for p in PROMPTS]
            together = await asyncio.gather(
                *(ask(worker, p, max_tokens=40, cache_prompt=False) for p in PROMPTS)
            )
        return [answer.text for answer in alone], [answer.text for answer in together]

    alone, together = asyncio.run(story())
    assert together == alone
    assert len(set(alone)) == 8


def test_the_short_way_to_the_likeliest_token_is_llama_cpps(tiny_model: TinyModel):
    async def story() -> list[list[str]]:
        # Without wishes the short one; with a bias of nothing llama.cpp's; with a minimum both.
        wishes = {}, {"logit_bias": {0: 0.0}}, {"min_tokens": 5}
        async with working(tiny_model("llama"), **EXACT) as worker:
            return [
                [(await ask(worker, prompt, max_tokens=30, **wish)).text for prompt in PROMPTS]
                for wish in wishes
            ]

    short, long, changing = asyncio.run(story())
    assert short == long == changing
    assert len(set(short)) == 8


def test_the_short_way_to_the_likeliest_few_leads_to_the_same_choices(demo_model: Path):
    even = {"max_tokens": 30, "top_k": 3, "top_p": 1.0, "min_p": 0.0, "temperature": 50.0}

    async def story() -> list[list[str]]:
        # With a bias of nothing llama.cpp looks through the whole vocabulary itself.
        wishes = even, even | {"logit_bias": {0: 0.0}}
        async with working(demo_model, **EXACT) as worker:
            return [
                [(await ask(worker, "What", seed=seed, **wish)).text for seed in range(8)]
                for wish in wishes
            ]

    short, long = asyncio.run(story())
    assert short == long
    assert len(set(short)) == 8


def test_experts_that_stay_in_main_memory_change_no_answer(tiny_model: TinyModel, tmp_path: Path):
    async def story(n_cpu_moe: int) -> tuple[str, str]:
        config = msgspec.structs.replace(CONFIG, n_cpu_moe=n_cpu_moe, **EXACT)
        log = tmp_path / f"{n_cpu_moe}.log"
        worker = await Worker.start(tiny_model("qwen3moe"), config, log_path=log)
        try:
            return (await ask(worker, PROMPTS[0], max_tokens=8)).text, log.read_text()
        finally:
            await worker.stop(grace_s=5)

    plain, plain_log = asyncio.run(story(0))
    kept, kept_log = asyncio.run(story(1))
    assert kept == plain != ""
    assert "tensor overrides to CPU" in kept_log  # llama.cpp says so of the first that matches
    assert "tensor overrides" not in plain_log


@pytest.mark.parametrize("kv_unified", [False, True])
def test_streams_flow_while_a_long_prompt_enters(kv_unified: bool, tiny_model: TinyModel):
    async def story():
        async with working(
            tiny_model("llama"), n_ctx=8192, kv_unified=kv_unified, flash_attn="on"
        ) as worker:
            long = ask(worker, "hello world " * 800, max_tokens=5)
            short = [ask(worker, text, max_tokens=200, ignore_eos=True) for text in PROMPTS[:3]]
            return await asyncio.gather(*short, long)

    *short, long = asyncio.run(story())
    assert [answer.ending.completion_tokens for answer in short] == [200] * 3
    assert long.ending.prompt_tokens > 1500 and long.ending.reason in ("stop", "length")


def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(tiny_model: TinyModel):
    async def story():
        async with working(tiny_model("llama")) as worker:
            exact = await ask(worker, "hello world " * 300)
            absurd = await ask(worker, "x" * 5_000_000)
            after = await ask(worker, "hello", max_tokens=3)
        return exact.ending, absurd.ending, after.ending

    exact, absurd, after = asyncio.run(story())
    for failed in (exact, absurd):
        assert isinstance(failed, Failed) and failed.code == "context_length_exceeded"
        assert failed.available == 512 < failed.needed
        assert str(failed.available) in failed.message
    assert isinstance(after, Finished)


def test_the_slot_is_the_limit_of_an_answer(tiny_model: TinyModel):
    async def story():
        async with working(tiny_model("llama"), n_ctx=1024) as worker:
            return await ask(worker, "hello", ignore_eos=True)

    ending = asyncio.run(story()).ending
    assert ending.reason == "length"
    assert ending.prompt_tokens + ending.completion_tokens == 256


def test_closing_the_iterator_cancels_and_the_slot_serves_the_next(tiny_model: TinyModel):
    async def story():
        async with working(tiny_model("llama"), n_parallel=1, n_ctx=8192) as worker:
            stream = events_of(worker, request("hello", ignore_eos=True))
            async for event in stream:
                if isinstance(event, TokenOut):
                    break
            assert worker.busy
            await stream.aclose()
            assert not worker.busy
            return await ask(worker, "hello", max_tokens=5)

    assert asyncio.run(story()).ending.queue_s < 1


def test_the_same_seed_says_the_same_and_another_seed_something_else(tiny_model: TinyModel):
    async def story():
        async with working(tiny_model("llama")) as worker:
            seeds = [7, 7, 8, None, None]
            fields = {"temperature": 1.5, "max_tokens": 30, "ignore_eos": True}
            return [(await ask(worker, "hello", seed=seed, **fields)).text for seed in seeds]

    same, again, other, *random = asyncio.run(story())
    assert same == again
    assert len({same, other, *random}) == 4


def test_sampling_parameters_reach_llama_cpp(tiny_model: TinyModel):
    everything = {
        "temperature": 0.8, "top_k": 20, "top_p": 0.9, "min_p": 0.01, "typical_p": 0.95,
        "repeat_penalty": 1.2, "frequency_penalty": 0.1, "presence_penalty": 0.1,
        "dry_multiplier": 0.8, "xtc_probability": 0.5, "logit_bias": {300: -5.0}, "min_tokens": 9,
        "top_n_sigma": 2.0, "dynatemp_range": 0.4, "dry_sequence_breakers": ("é", "x"),
    }  # fmt: skip

    async def story():
        async with working(tiny_model("llama")) as worker:
            biased = await ask(worker, "hello", logit_bias={ord("a") + 226: 100.0}, max_tokens=3)
            assert len(set(biased.text)) == 1
            once = await ask(worker, "hello", max_tokens=60, ignore_eos=True, repeat_penalty=100)
            assert len(set(once.text.split())) > 1
            for fields in (everything, {"mirostat": 1}, {"mirostat": 2, "temperature": 0.5}):
                answer = await ask(worker, "hello", max_tokens=12, **fields)
                assert isinstance(answer.ending, Finished)
                assert answer.ending.completion_tokens >= fields.get("min_tokens", 1)
            bad = await ask(worker, "hello", top_p=7.0)
            assert bad.ending.code == "invalid_request_error" and "top_p" in bad.ending.message

    asyncio.run(story())


def test_a_forbidden_token_does_not_make_typical_sampling_another_kind(tiny_model: TinyModel):
    one = {"typical_p": 0.01, "top_k": 0, "temperature": 1.0, "max_tokens": 1, "seed": 1}

    async def story():
        async with working(tiny_model("llama")) as worker:
            typical = await ask(worker, "hello", **one)
            banned = await ask(worker, "hello", **one, ignore_eos=True)
            likeliest = await ask(worker, "hello", max_tokens=1, ignore_eos=True)
        return typical.text, banned.text, likeliest.text

    typical, banned, likeliest = asyncio.run(story())
    assert banned == typical != likeliest


def test_min_tokens_delays_the_end_and_ignore_eos_forbids_it(demo_model: Path):
    question = {"messages": [{"role": "user", "content": "What is mlm?"}], "max_tokens": 100}

    async def story():
        async with working(demo_model) as worker:
            plain = (await ask(worker, **question)).ending.completion_tokens
            longer = (await ask(worker, **question, min_tokens=plain + 5)).ending
            endless = (await ask(worker, **question, ignore_eos=True)).ending
        return plain, longer, endless

    plain, longer, endless = asyncio.run(story())
    assert longer.completion_tokens > plain
    assert (endless.reason, endless.completion_tokens) == ("length", 100)


def test_a_grammar_binds_one_answer_and_a_bad_one_harms_nobody(tiny_model: TinyModel):
    async def story():
        async with working(tiny_model("llama")) as worker:
            other = asyncio.create_task(ask(worker, "hello", max_tokens=300, ignore_eos=True))
            bound = [
                await ask(worker, "hello", grammar='root ::= "yes" | "no"', temperature=t, seed=1)
                for t in (0.0, 1.0)
            ]
            bad = [await ask(worker, "hello", grammar=g) for g in ("root ::=(", "(" * 300_000)]
            dead = await ask(worker, "hello", grammar='root ::= "a"', ignore_eos=True)
            return bound, [*bad, dead], await other

    bound, bad, other = asyncio.run(story())
    assert all(answer.text in ("yes", "no") for answer in bound)
    assert [answer.ending.code for answer in bad] == ["invalid_request_error"] * 3
    assert other.ending.completion_tokens == 300


def test_a_grammar_that_never_returns_fails_and_gives_the_worker_up(demo_model: Path):
    async def story():
        worker = await Worker.start(demo_model, CONFIG, launch=Launch(command))
        # Every x may be empty: llama.cpp follows 2000 ways at once, for hours.
        hanging = await ask(worker, "hello", grammar='root ::= x{0,2000} "b"\nx ::= "a"?')
        return hanging, await worker.wait_dead()

    impatient = "from mlm.engine import worker as w; w.HEARTBEAT_S = w.CHOICE_LIMIT_S = 0.2; "
    command = (sys.executable, "-c", impatient + "w.main()")

    hanging, death = asyncio.run(story())
    assert hanging.ending.code == "invalid_request_error"
    assert "another request's grammar" in death.message


def test_a_grammar_with_a_nul_is_refused_and_not_read_up_to_there(tiny_model: TinyModel):
    async def story():
        async with working(tiny_model("llama")) as worker:
            return await ask(worker, "hello", grammar='\0root ::= "yes"')

    assert "NUL" in asyncio.run(story()).ending.message


def test_stop_strings_end_an_answer_before_they_are_sent(demo_model: Path):
    question = {"messages": [{"role": "user", "content": "What is mlm?"}]}

    async def story():
        async with working(demo_model) as worker:
            whole = (await ask(worker, **question)).text
            stop = whole[10:16]
            return whole, stop, await ask(worker, **question, stop=[stop])

    whole, stop, answer = asyncio.run(story())
    assert answer.text == whole[: whole.index(stop)]
    assert answer.ending.reason == "stop"


def test_echo_repeats_the_prompt_before_the_answer(tiny_model: TinyModel):
    async def story():
        async with working(tiny_model("llama")) as worker:
            return await ask(worker, "hello world", max_tokens=4, echo=True)

    assert asyncio.run(story()).text.startswith("hello world")


def test_requests_that_make_no_sense_are_refused(tiny_model: TinyModel, tmp_path: Path):
    async def story():
        async with working(tiny_model("llama")) as worker:
            chat = [{"role": "user", "content": "x"}]
            return [
                await ask(worker),
                await ask(worker, "x", messages=chat),
                await ask(worker, messages=[{"role": "user", "content": [{"type": "image_url"}]}]),
            ]

    codes = [answer.ending.code for answer in asyncio.run(story())]
    assert codes == ["invalid_request_error"] * 3


def test_a_hostile_template_costs_its_request_and_streams_go_on(tmp_path: Path):
    bomb = "{% if bomb %}{{ 'a' * 10**10 }}{% endif %}" + CHAT_TEMPLATE
    path = write_tiny_model(tmp_path / "hostile.gguf", chat_template=bomb)
    chat = [{"role": "user", "content": "hello"}]

    async def story():
        async with working(path) as worker:
            stream = asyncio.create_task(ask(worker, "hello", max_tokens=300, ignore_eos=True))
            failed = await ask(worker, messages=chat, template_args={"bomb": True})
            served = await ask(worker, messages=chat, max_tokens=5)
            return failed.ending, served.ending, await stream

    failed, served, stream = asyncio.run(story())
    assert isinstance(failed, Failed) and failed.code == "template_error"
    assert isinstance(served, Finished)
    assert stream.ending.completion_tokens == 300


def test_a_model_without_a_template_is_talked_to_in_chatml(tmp_path: Path):
    bare = write_tiny_model(tmp_path / "bare.gguf", chat_template=None)
    chat = [{"role": "user", "content": "hello"}]

    async def story():
        async with working(bare) as worker:
            assert not worker.ready.has_chat_template
            return await ask(worker, messages=chat, max_tokens=5)

    assert isinstance(asyncio.run(story()).ending, Finished)
