"""What people rely on in llama.cpp's own server, on a real `mlm serve` with small slots."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest
from fakes.mlm_serve import MlmServe, mlm_serve
from fakes.processes import wait_until
from fakes.tiny_models import LETTERS, write_tiny_model

from mlm.client import Client

MODEL, N_CTX_SLOT, N_SLOTS = "letters", 768, 2
TEXT = "hello world the system is of you and the user"
LETTERS_ONLY = {str(token): 100 for token in LETTERS.values()}
ENDLESS = {"ignore_eos": True}
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "light",
        "parameters": {
            "type": "object",
            "properties": {"on": {"type": "boolean"}, "room": {"enum": ["kitchen", "hall"]}},
            "required": ["on", "room"],
            "additionalProperties": False,
        },
    },
}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlmServe]:
    folder = tmp_path_factory.mktemp("scenarios")
    model = write_tiny_model(folder / f"{MODEL}.gguf")
    words = ["--ctx", N_CTX_SLOT, "--parallel", N_SLOTS, "--threads", 1, "--response-cache", "off"]
    with mlm_serve(folder / "home", str(model), *map(str, words)) as server:
        server.wait_for("loaded")
        yield server


@pytest.fixture(scope="module")
def client(served: MlmServe) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=60
    ) as client:
        chat(client, "hello", max_tokens=1)  # by then all its processes are there
        yield client


def chat(client: openai.OpenAI, text: str, **params: Any) -> Any:
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=MODEL, messages=messages, **params)


def go_on(client: openai.OpenAI, text: Any = TEXT, **params: Any) -> Any:
    """Continue a text greedily, in letters."""
    params = {"temperature": 0, "logit_bias": LETTERS_ONLY, "max_tokens": 12, **params}
    return client.completions.create(model=MODEL, prompt=text, **params)


def n_active(served: MlmServe) -> int:
    with Client(served.url) as client:
        (resident,) = client.stats()["resident"]
    return int(resident["active"] + resident["waiting"])


def test_a_stream_says_what_a_single_answer_says_piece_by_piece(client: openai.OpenAI):
    whole = go_on(client)
    chunks = list(go_on(client, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert len({chunk.id for chunk in chunks}) == 1
    assert chunks[-1].choices[0].finish_reason == "length"


def test_the_tokens_that_were_not_computed_again_are_told(client: openai.OpenAI):
    text = " ".join(["you and the system"] * 8)
    asked = [text, text, text + " is hello", text[:-30] + "of the user"]
    usages = [go_on(client, asked_text).usage for asked_text in asked]
    cached = [usage.prompt_tokens_details.cached_tokens for usage in usages]
    n = usages[0].prompt_tokens
    assert cached[1] == n - 1  # the last one's logits are needed
    assert n - 1 <= cached[2] <= n
    assert n // 2 < cached[3] < n - 5
    fresh = go_on(client, text, extra_body={"cache_prompt": False})
    assert fresh.usage.prompt_tokens_details.cached_tokens == 0
    assert fresh.choices[0].text == go_on(client, text).choices[0].text


def test_a_seed_says_the_same_again_and_another_one_something_else(client: openai.OpenAI):
    wild: Any = {"temperature": 2.0, "max_tokens": 30, "extra_body": {"deterministic": True}}
    seeds = [3, 3, 4, 5]
    with ThreadPoolExecutor(4) as clients:  # more at once than there are slots
        answers = list(clients.map(lambda seed: go_on(client, seed=seed, **wild), seeds))
    same, again, *others = [answer.choices[0].text for answer in answers]
    assert same == again
    assert len({same, *others}) == 3


@pytest.mark.parametrize("n_requests", [1, 2, 7])
def test_any_number_of_requests_is_answered_by_two_slots(client: openai.OpenAI, n_requests: int):
    texts = [f"{TEXT} {'and you ' * number}" for number in range(n_requests)]
    alone = [go_on(client, text).choices[0].text for text in texts]
    with ThreadPoolExecutor(n_requests) as clients:
        together = list(clients.map(lambda text: go_on(client, text).choices[0].text, texts))
    assert [len(text) for text in together] == [12] * n_requests
    assert sum(a == b for a, b in zip(alone, together, strict=True)) >= n_requests - 1  # rounding


def test_a_client_that_leaves_gives_its_slot_back(client: openai.OpenAI, served: MlmServe):
    streams = [go_on(client, max_tokens=None, extra_body=ENDLESS, stream=True) for _ in range(5)]
    for stream in streams[:N_SLOTS]:
        next(iter(stream))
    for stream in streams:
        stream.close()
    wait_until(lambda: n_active(served) == 0)
    assert len(go_on(client).choices[0].text) == 12


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_fills_its_slot_ends_with_length(client: openai.OpenAI, stream: bool):
    params: Any = {"max_tokens": 10_000, "extra_body": ENDLESS}
    if stream:
        params |= {"stream": True, "stream_options": {"include_usage": True}}
        *_, last, usage_only = go_on(client, **params)
        reason, usage = last.choices[0].finish_reason, usage_only.usage
    else:
        answer = go_on(client, **params)
        reason, usage = answer.choices[0].finish_reason, answer.usage
    assert reason == "length"
    assert usage.total_tokens == N_CTX_SLOT


@pytest.mark.parametrize("stream", [False, True])
def test_a_prompt_that_is_too_long_is_refused_with_both_numbers(
    client: openai.OpenAI, stream: bool
):
    for ask, field in ((go_on, "prompt"), (chat, "messages")):
        with pytest.raises(openai.BadRequestError, match=str(N_CTX_SLOT)) as caught:
            ask(client, "hello " * 1500, stream=stream)
        assert (caught.value.code, caught.value.param) == ("context_length_exceeded", field)


def test_banned_tokens_do_not_come_and_favoured_ones_do(client: openai.OpenAI):
    plain = go_on(client).choices[0].text
    banned = {str(LETTERS[letter]): -100 for letter in set(plain)}
    assert not set(go_on(client, logit_bias=LETTERS_ONLY | banned).choices[0].text) & set(plain)
    only = go_on(client, logit_bias={str(LETTERS["z"]): 100}, max_tokens=3)
    assert only.choices[0].text == "zzz"


def test_text_ends_before_any_of_its_stop_strings(client: openai.OpenAI):
    plain = go_on(client, max_tokens=40).choices[0].text
    stops = [plain[20:24], plain[9:14], "never"]
    for stream in (False, True):
        answer = go_on(client, max_tokens=40, stop=stops, stream=stream)
        chunks = list(answer) if stream else [answer]
        text = "".join(chunk.choices[0].text for chunk in chunks)
        assert text == plain[: min(plain.index(stop) for stop in stops[:2])]
        assert chunks[-1].choices[0].finish_reason == "stop"


def test_an_answer_keeps_to_a_grammar_or_a_schema(client: openai.OpenAI):
    five = chat(client, TEXT, extra_body={"grammar": 'root ::= "a"{5,5}'})
    assert five.choices[0].message.content == "aaaaa"
    formats: list[tuple[Any, Any]] = [
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": "foo"}}}, "foo"),
        ({"type": "json_object", "schema": {"const": 42}}, 42),
    ]
    for wanted, value in formats:
        answer = chat(client, TEXT, response_format=wanted)
        assert json.loads(answer.choices[0].message.content) == value
        assert answer.choices[0].finish_reason == "stop"


BROKEN_FORMATS: list[Any] = [
    {"grammar": "root ::= this is (not valid GBNF"},
    {"response_format": {"type": "sound"}},
    {"response_format": {"type": "json_object", "schema": 123}},
    {"response_format": {"type": "json_object", "schema": {"type": 123}}},
    {"response_format": {"type": "json_object", "schema": {"type": "hiccup"}}},
    {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "other"}}},
]


@pytest.mark.parametrize("body", BROKEN_FORMATS, ids=lambda body: json.dumps(body)[:50])
def test_a_form_that_makes_no_sense_is_refused_before_anything_is_sent(
    client: openai.OpenAI, body: Any
):
    with pytest.raises(openai.BadRequestError):
        chat(client, TEXT, stream=True, extra_body=body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_that_must_be_called_is_called_with_what_it_takes(
    client: openai.OpenAI, stream: bool
):
    """Whatever a model says that has never seen a tool."""
    params: Any = {"tools": [TOOL], "tool_choice": "required", "parallel_tool_calls": False}
    answer = chat(client, TEXT, temperature=1, seed=9, stream=stream, **params)
    if stream:
        chunks = [chunk.choices[0] for chunk in answer]
        assert not any(chunk.delta.content for chunk in chunks)
        pieces = [call for chunk in chunks for call in chunk.delta.tool_calls or []]
        name, reason = pieces[0].function.name, chunks[-1].finish_reason
        arguments = "".join(piece.function.arguments or "" for piece in pieces)
    else:
        (call,) = answer.choices[0].message.tool_calls
        name, arguments = call.function.name, call.function.arguments
        reason = answer.choices[0].finish_reason
    assert (name, reason) == ("light", "tool_calls")
    given = json.loads(arguments)
    assert given.keys() == {"on", "room"}
    assert isinstance(given["on"], bool) and given["room"] in ("kitchen", "hall")


def test_an_answer_may_be_of_one_token_and_a_prompt_repeated(client: openai.OpenAI):
    (choice,) = go_on(client, max_tokens=1, echo=True).choices
    assert choice.text.startswith(TEXT) and len(choice.text) == len(TEXT) + 1


def test_a_long_prompt_beside_a_stream_stops_neither(client: openai.OpenAI):
    stream = go_on(client, max_tokens=200, extra_body=ENDLESS, stream=True)
    seen: list[str] = []
    reader = threading.Thread(target=lambda: seen.extend(c.choices[0].text for c in stream))
    reader.start()
    long = go_on(client, "hello world " * 110, extra_body={"cache_prompt": False})
    reader.join()
    assert len("".join(seen)) == 200
    assert len(long.choices[0].text) == 12
