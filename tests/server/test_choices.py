"""Several answers to one request, whole and streamed, over real HTTP."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_server import FakeServer, Reply, serving
from fakes.processes import wait_until
from openai import OpenAI

Diary = Callable[[], list[str]]
COMPLETIONS = "/v1/completions"


@pytest.fixture(scope="module")
def client(server: FakeServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def complete(server: FakeServer, prompt: Any, **fields: Any) -> Reply:
    return server.ask("POST", COMPLETIONS, {"model": "alpha", "prompt": prompt, **fields})


def is_idle(server: FakeServer) -> bool:
    resident = server.resident()
    return (resident["active"], resident["waiting"]) == (0, 0)


def test_each_choice_has_its_index_and_the_next_seed(client: OpenAI):
    messages: Any = [{"role": "user", "content": "seeded=1 cached=4"}]
    answer = client.chat.completions.create(model="alpha", messages=messages, n=3, seed=11)
    assert [(choice.index, choice.message.content) for choice in answer.choices] == [
        (0, "11 "),
        (1, "12 12 "),
        (2, "13 13 13 "),
    ]
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 1 + 2 + 3
    assert answer.usage.prompt_tokens == 7  # one prompt, however many answers
    assert answer.usage.prompt_tokens_details is not None
    assert answer.usage.prompt_tokens_details.cached_tokens == 4


def test_streamed_choices_come_side_by_side_and_each_says_how_it_ended(client: OpenAI):
    messages: Any = [{"role": "user", "content": "seeded=1 pace=0.01"}]
    stream = client.chat.completions.create(
        model="alpha", messages=messages, n=3, seed=21, stream=True,
        stream_options={"include_usage": True},
    )  # fmt: skip
    texts, reasons, roles = defaultdict(str), {}, []
    *chunks, last = list(stream)
    for chunk in chunks:
        (choice,) = chunk.choices
        assert choice.index not in reasons
        assert "mlm" not in (chunk.model_extra or {})
        texts[choice.index] += choice.delta.content or ""
        roles += [choice.index] if choice.delta.role else []
        if choice.finish_reason:
            reasons[choice.index] = choice.finish_reason
    assert texts == {0: "21 ", 1: "22 22 ", 2: "23 23 23 "}
    assert reasons == dict.fromkeys(range(3), "stop")
    assert roles == [0, 1, 2]
    assert last.usage is not None and last.usage.completion_tokens == 6
    assert (last.model_extra or {})["mlm"]["completion_tokens"] == 6


def test_a_choice_that_has_ended_says_so_while_others_go_on(server: FakeServer):
    stream = server.open_stream("seeded=1 hush_at_seed=22", n=2, seed=21)
    stream.read_until('"finish_reason":"stop"')
    assert stream.body.count(b"finish_reason") == 2 + 1 + 1  # two openings, a text, an end
    assert b'"mlm"' not in stream.body
    stream.leave()
    wait_until(lambda: is_idle(server))


def test_without_usage_the_truth_is_in_the_very_last_chunk(server: FakeServer):
    *chunks, last = server.chat("seeded=1", n=2, seed=31, stream=True).events
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["mlm"]["completion_tokens"] == 1 + 2
    assert all("mlm" not in chunk for chunk in chunks)


def test_several_prompts_are_answered_in_their_order(server: FakeServer):
    reply = complete(server, ["n=1", "n=2", [5, 6, 7]], n=2)
    choices = reply.json["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2, 3, 4, 5]
    one, two, five = "t0 ", "t0 t1 ", "t0 t1 t2 t3 t4 "
    assert [choice["text"] for choice in choices] == [one, one, two, two, five, five]
    assert reply.json["usage"]["prompt_tokens"] == 3 * 7
    assert reply.json["usage"]["completion_tokens"] == 2 * (1 + 2 + 5)


@pytest.mark.parametrize("stream", [False, True])
def test_one_that_fails_ends_them_all(server: FakeServer, diary: Diary, stream: bool):
    wish = "n=1000 pace=0.01 fail_at_seed=42"
    reply = server.chat(wish, n=3, seed=40, stream=stream)
    assert (reply.status, reply.error["code"]) == (500, "engine_error")
    wait_until(lambda: diary().count("cancelled") == 2)
    assert is_idle(server)


def test_a_client_that_leaves_takes_all_its_choices_along(server: FakeServer, diary: Diary):
    stream = server.open_stream("n=1000 pace=0.01", n=3)
    stream.read_until("t1 ")
    stream.leave()
    wait_until(lambda: diary().count("cancelled") == 3)
    wait_until(lambda: is_idle(server))


def test_a_worker_that_dies_ends_a_stream_of_choices_with_an_error(tmp_path: Path):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        reply = server.chat("n=5 die=SIGKILL at=3 pace=0.01", n=2, stream=True)
    assert not reply.done
    assert b"worker_crashed" in reply.body


def test_choices_take_places_in_the_queue(tmp_path: Path):
    with serving(tmp_path, {"alpha": {"config": {"n_parallel": 2}}}, max_queue=1) as server:
        server.wait_for("Loaded")
        stream = server.open_stream("n=1000 pace=0.01", n=2)
        stream.read_until("t0 ")
        crowded = server.chat("n=1", n=2)
        assert (crowded.status, crowded.error["code"]) == (429, "queue_full")
        waiting = server.open_stream("n=1")  # one more can wait, but not two
        assert waiting.response.status == 200
        never = server.chat("n=1", n=4)
        assert (never.status, never.error["param"]) == (400, "n")
        assert "--max-queue" in never.error["remedy"]
        prompts = complete(server, ["n=1"] * 4)
        assert (prompts.status, prompts.error["param"]) == (400, "prompt")
        waiting.leave()
        stream.leave()


def test_a_choice_with_a_seed_is_the_answer_to_that_seed(server: FakeServer, diary: Diary):
    def word(reply: Reply) -> str:
        return reply.headers["X-Mlm-Cache"]

    first = server.chat("seeded=1 known", n=2, seed=51)
    assert word(first) == "miss"
    assert word(server.chat("seeded=1 known", n=2, seed=51)) == "hit"
    assert word(server.chat("seeded=1 known", seed=52)) == "hit"
    partly = server.chat("seeded=1 known", n=2, seed=52)
    assert word(partly) == "miss"  # the second is new
    assert [c["message"]["content"] for c in partly.json["choices"]] == ["52 52 ", "53 53 53 "]
    assert len(diary()) == 3
    streamed = server.chat("seeded=1 known", n=2, seed=51, stream=True)
    assert word(streamed) == "hit"
    assert streamed.events[-1]["mlm"]["completion_tokens"] == 3


def test_greedy_choices_are_all_the_same_and_computed_once(server: FakeServer, diary: Diary):
    reply = server.chat("n=3 greedy", n=4, temperature=0)
    contents = [choice["message"]["content"] for choice in reply.json["choices"]]
    assert contents == ["t0 t1 t2 "] * 4
    assert reply.json["usage"]["completion_tokens"] == 12
    assert diary() == ["request "]


def test_choices_that_may_differ_are_kept_apart_whatever_is_cached(tmp_path: Path):
    config = {"response_cache": "all"}
    models = {"alpha": {"config": config, "diary": str(tmp_path / "diary")}}
    with serving(tmp_path, models) as server:
        server.wait_for("Loaded")
        words = [server.chat("n=1", n=3).headers["X-Mlm-Cache"] for _ in range(2)]
        assert words == ["miss", "hit"]
        assert server.chat("n=1").headers["X-Mlm-Cache"] == "hit"
    asked = [line for line in (tmp_path / "diary").read_text().splitlines() if "request" in line]
    assert len(asked) == 3


def test_calls_of_each_choice_are_its_own(server: FakeServer):
    call = '<tool_call>{"name":"f","arguments":{}}</tool_call>'.replace('"', "%22")
    tools = [{"type": "function", "function": {"name": "f"}}]
    reply = server.chat(f"calls=tags text={call}", n=2, tools=tools, stream=True)
    calls: dict[int, list[Any]] = {0: [], 1: []}
    for chunk in reply.events:
        (choice,) = chunk["choices"]
        calls[choice["index"]] += choice["delta"].get("tool_calls", [])
    assert [call["index"] for call in calls[0] + calls[1] if "id" in call] == [0, 0]
    assert len({json.dumps(call) for call in calls[0] + calls[1] if "id" in call}) == 2


def test_the_statistics_count_one_request_and_all_its_tokens(server: FakeServer):
    def seen() -> tuple[int, int]:
        (model,) = server.stats()["models"]
        return model["requests"], model["completion_tokens"]

    requests, tokens = seen()
    server.chat("seeded=1", n=3, seed=71)
    assert seen() == (requests + 1, tokens + 1 + 2 + 3)
