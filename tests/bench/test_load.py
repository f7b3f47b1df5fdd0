"""A load asks every user's questions, whatever becomes of single answers."""

import threading

import pytest

from mlm.bench.load import DEEP_LIMIT_S, Load, Measured, Run, apply_load, ask_deep, choose_prompts
from mlm.bench.prompts import LONG, MEDIUM, SHORT, STANDARD_PROMPTS
from mlm.client import Client, ContextLengthError
from mlm.errors import NotFoundError


@pytest.fixture
def client(openai_server):
    with Client(openai_server.url) as client:
        yield client


def test_every_user_asks_every_prompt_in_every_round(openai_server, client):
    seen: list[Run] = []
    load = Load(users=3, rounds=2, max_tokens=5)
    measured = apply_load(client, "tiny", STANDARD_PROMPTS, load, on_run=seen.append)
    assert measured.runs == tuple(seen)
    assert {(run.user, run.round, run.prompt) for run in seen} == {
        (user, number, prompt.name)
        for user in range(3)
        for number in range(2)
        for prompt in STANDARD_PROMPTS
    }
    assert openai_server.connections == 3  # one kept connection per user


def test_one_run_tells_what_the_answer_cost(client):
    (run,) = apply_load(client, "tiny", [SHORT], Load(rounds=1)).runs
    assert (run.error, run.counts, run.finish_reason, run.cache) == (None, True, "stop", "bypass")
    assert (run.prompt_tokens, run.cached_tokens, run.completion_tokens) == (40, 8, 2)
    assert run.ttft_ms is not None
    assert run.e2e_ms is not None
    assert 0 < run.ttft_ms <= run.e2e_ms
    assert len(run.itl_ms) == 1


def test_no_question_is_asked_twice_and_no_answer_may_end_early(openai_server, client):
    apply_load(client, "tiny", STANDARD_PROMPTS, Load(users=2, rounds=2, max_tokens=5))
    bodies = [asked.body for asked in openai_server.asked]
    beginnings = {body["messages"][0]["content"][:10] for body in bodies}
    assert len(beginnings) == len(bodies) == 12
    assert all(body["ignore_eos"] and body["cache_prompt"] is False for body in bodies)
    assert all(body["max_tokens"] == 5 and body["temperature"] == 0 for body in bodies)


def test_failed_requests_are_runs_too(openai_server, client):
    openai_server.breaks_off_after("Hel")
    runs = apply_load(client, "tiny", [SHORT], Load(users=2, rounds=2)).runs
    assert [run.error for run in runs] == ["stream_cut"] * 4
    assert not any(run.counts for run in runs)


def test_kept_answers_do_not_count(openai_server, client):
    openai_server.cache = "hit"
    (run,) = apply_load(client, "tiny", [SHORT], Load(rounds=1)).runs
    assert not run.counts


def test_prompts_that_do_not_fit_the_context_are_left_out(openai_server, client):
    openai_server.n_ctx_bytes = 1000
    fitting, skipped = choose_prompts(client, "tiny", STANDARD_PROMPTS)
    assert fitting == [SHORT]
    assert list(skipped) == ["medium", "long"]
    assert "needs 999 tokens" in skipped["long"]
    with pytest.raises(ContextLengthError):
        choose_prompts(client, "tiny", [MEDIUM, LONG])


def test_warming_up_fails_at_once_when_the_model_is_unknown(openai_server, client):
    openai_server.refuses(404, {"error": {"message": "no such model"}})
    with pytest.raises(NotFoundError):
        choose_prompts(client, "tiny", STANDARD_PROMPTS)
    assert len(openai_server.asked) == 1


def test_a_bug_in_a_thread_is_not_swallowed(client):
    class Broken(Client):
        def another(self) -> Client:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        apply_load(Broken(client.base_url), "tiny", [SHORT], Load())


def test_no_thread_outlives_its_load(client):
    before = set(threading.enumerate())
    apply_load(client, "tiny", [SHORT], Load(users=2, rounds=1))
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive()


def test_the_standard_prompts_have_their_standard_lengths():
    words = [len(prompt.text.split()) for prompt in STANDARD_PROMPTS]
    assert words == [27, 229, 869]  # about 30, 250 and 1000 tokens


def test_a_long_context_is_measured_last_where_that_does_not_take_for_ever(openai_server, client):
    measured = apply_load(client, "tiny", [LONG], Load(rounds=1))
    assert ask_deep(client, "tiny", measured, 5)
    *_, long, deep = (ask.body["messages"][0]["content"] for ask in openai_server.asked)
    assert 2.9 < len(deep) / len(long) < 3.1
    slow = Run("long", 0, 0, ttft_ms=DEEP_LIMIT_S * 1000 / 2, cache="bypass")
    stranger = Run("long", 0, 0, ttft_ms=5.0)
    assert not ask_deep(client, "tiny", Measured((slow,), 1.0), 5)
    assert not ask_deep(client, "tiny", Measured((stranger,), 1.0), 5)
    openai_server.breaks_off_after("Hel")
    assert not ask_deep(client, "tiny", measured, 5)
