"""Log-probabilities over real HTTP, beside the text whose tokens they are of."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from fakes.fake_server import FakeServer
from hypothesis import given
from hypothesis import strategies as st
from openai import OpenAI

from mlm.engine.messages import AnswerForm, ChosenToken, TokenProb
from mlm.server.chat_reply import ChatReply, ChatWriter
from mlm.server.logprobs import TokenCursor, chat_entries, completion_logprobs

THINKS_AND_CALLS = AnswerForm("<think>", "</think>", calls="tags")
ANSWER = '<think>\nhm, é\n</think>\n\nYes.\n<tool_call>{"name": "f", "arguments": {}}</tool_call>'


@pytest.fixture(scope="module")
def client(server: FakeServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def wish(text: str, **how: object) -> Any:
    words = [f"text={quote(text)}", *(f"{name}={value}" for name, value in how.items())]
    return [{"role": "user", "content": " ".join(words)}]


def test_a_chat_tells_each_token_as_openai_does(client: OpenAI):
    answer = client.chat.completions.create(
        model="alpha", messages=wish("né"), logprobs=True, top_logprobs=2
    )
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    n, e = logprobs.content
    assert (n.token, n.bytes, n.logprob) == ("n", [110], -0.25)
    assert (e.token, e.bytes) == ("é", [195, 169])
    assert [(top.token, top.logprob) for top in e.top_logprobs] == [("é", -0.25), ("É", -2.5)]


def test_without_top_logprobs_only_the_chosen_token_is_told(client: OpenAI):
    answer = client.chat.completions.create(model="alpha", messages=wish("n"), logprobs=True)
    logprobs = answer.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    assert [(t.token, t.top_logprobs) for t in logprobs.content] == [("n", [])]


def test_nobody_is_told_who_has_not_asked(server: FakeServer):
    assert server.chat("n=1").json["choices"][0]["logprobs"] is None
    for chunk in server.chat("n=1", stream=True).events:
        assert chunk["choices"][0]["logprobs"] is None


def test_a_stream_tells_the_tokens_of_each_chunk_with_it(client: OpenAI):
    stream = client.chat.completions.create(
        model="alpha", messages=wish("abc"), logprobs=True, top_logprobs=1, stream=True
    )
    told = []
    for chunk in stream:
        (choice,) = chunk.choices
        if choice.delta.content:
            assert choice.logprobs is not None and choice.logprobs.content is not None
            assert "".join(t.token for t in choice.logprobs.content) == choice.delta.content
            told += choice.logprobs.content
        else:
            assert choice.logprobs is None
    assert [token.token for token in told] == ["a", "b", "c"]


def test_a_part_of_a_character_is_spelled_in_bytes(client: OpenAI):
    fields: dict[str, Any] = {"model": "alpha", "prompt": f"text={quote('a')}"}
    chat = client.chat.completions.create(
        model="alpha", messages=wish("a"), logprobs=True, top_logprobs=3
    )
    logprobs = chat.choices[0].logprobs
    assert logprobs is not None and logprobs.content is not None
    half = logprobs.content[0].top_logprobs[2]
    assert (half.token, half.bytes) == ("\\xf0\\x9f", [0xF0, 0x9F])
    completion = client.completions.create(**fields, logprobs=3).choices[0].logprobs
    assert completion is not None and completion.top_logprobs is not None
    assert list(completion.top_logprobs[0]) == ["a", "A", "bytes:\\xf0\\x9f"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_completion_has_four_lists(server: FakeServer, stream: bool):
    body = {"model": "alpha", "prompt": f"text={quote('né!')}", "logprobs": 1, "stream": stream}
    reply = server.ask("POST", "/v1/completions", body)
    choices = [chunk["choices"][0] for chunk in (reply.events if stream else [reply.json])]
    told = [choice["logprobs"] for choice in choices if choice["text"]]
    lists = {name: [x for logprobs in told for x in logprobs[name]] for name in told[0]}
    assert lists == {
        "tokens": ["n", "é", "!"],
        "token_logprobs": [-0.25] * 3,
        "top_logprobs": [{"n": -0.25}, {"é": -0.25}, {"!": -0.25}],
        "text_offset": [0, 1, 2],
    }


def test_with_no_likeliest_tokens_a_completion_still_tells_the_chosen_ones(server: FakeServer):
    body = {"model": "alpha", "prompt": "text=ab", "logprobs": 0}
    (choice,) = server.ask("POST", "/v1/completions", body).json["choices"]
    assert choice["logprobs"]["top_logprobs"] == [{"a": -0.25}, {"b": -0.25}]


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_and_content_have_lists_of_their_own_and_markup_has_none(
    server: FakeServer, stream: bool
):
    tools = [{"type": "function", "function": {"name": "f"}}]
    body = {"model": "alpha", "messages": wish(ANSWER, calls="tags", thoughts=1), "tools": tools,
            "logprobs": True, "stream": stream}  # fmt: skip
    reply = server.ask("POST", "/v1/chat/completions", body)
    choices = [chunk["choices"][0] for chunk in (reply.events if stream else [reply.json])]
    told = {"content": "", "reasoning_content": ""}
    for choice in choices:
        for name in told:
            entries = (choice["logprobs"] or {}).get(name) or []
            told[name] += "".join(entry["token"] for entry in entries)
    assert told == {"content": "Yes.", "reasoning_content": "hm, é"}


def test_a_kept_answer_tells_the_same_and_only_what_it_was_asked_for(server: FakeServer):
    asked = {"logprobs": True, "top_logprobs": 2, "temperature": 0}
    first, again = (server.chat("text=kept", **asked) for _ in range(2))
    assert again.headers["X-Mlm-Cache"] == "hit"
    assert again.json["choices"] == first.json["choices"]
    streamed = server.chat("text=kept", **asked, stream=True)
    assert streamed.headers["X-Mlm-Cache"] == "hit"
    chunks = [chunk["choices"][0] for chunk in streamed.events]
    told = [t for choice in chunks for t in (choice["logprobs"] or {}).get("content", [])]
    assert told == first.json["choices"][0]["logprobs"]["content"]
    for other in ({"temperature": 0}, asked | {"top_logprobs": 1}):
        assert server.chat("text=kept", **other).headers["X-Mlm-Cache"] == "miss"


def test_every_choice_tells_its_own(server: FakeServer):
    reply = server.chat("seeded=1", n=2, seed=91, logprobs=True)
    told = [choice["logprobs"]["content"] for choice in reply.json["choices"]]
    assert [[t["token"] for t in tokens] for tokens in told] == [["91 "], ["92 ", "92 "]]


def token(spelling: bytes, start: int, end: int) -> ChosenToken:
    return ChosenToken(TokenProb(1, spelling, -1.0), [], start, end)


def test_a_token_between_two_parts_belongs_to_the_first_of_them():
    cursor = TokenCursor([token(b"a", 0, 1), token(b"b<", 1, 3), token(b">c", 3, 5)])
    assert [t.chosen.spelling for t in cursor.take(0, 2)] == [b"a", b"b<"]
    assert [t.chosen.spelling for t in cursor.take(4, 5)] == [b">c"]
    assert cursor.take(5, 9) == []


def test_of_two_tokens_that_look_the_same_the_likelier_is_told():
    same = [TokenProb(7, b"a", -0.5), TokenProb(8, b"a", -3.0)]
    told = completion_logprobs([ChosenToken(same[1], same, 0, 1)])
    assert told["top_logprobs"] == [{"a": -0.5}]
    assert told["token_logprobs"] == [-3.0]
    (entry,) = chat_entries([ChosenToken(same[1], same, 0, 1)])
    assert [top["id"] for top in entry["top_logprobs"]] == [7, 8]


WORDS = ["<think>", "</think>", "<tool_call>", "</tool_call>", "{", '"name": "f"', "}", " ", "\n",
         "a", "é", "<"]  # fmt: skip


@given(
    st.sampled_from([AnswerForm(), THINKS_AND_CALLS, AnswerForm("<think>", "</think>")]),
    st.lists(st.sampled_from(WORDS), max_size=20).map("".join),
    st.data(),
)
def test_whatever_an_answer_holds_tokens_stay_with_their_text(
    form: AnswerForm, text: str, data: st.DataObject
):
    """Streamed or whole: what is told of a part covers it, and only markup goes untold."""
    edges = [0, *sorted(data.draw(st.sets(st.integers(1, len(text) or 1)))), len(text)]
    spans = [(a, b) for a, b in pairwise(edges) if a < b <= len(text)]
    tokens = [token(text[a:b].encode(), a, b) for a, b in spans]
    reply = ChatReply("m", ("f",))
    whole = ChatWriter(reply, 0, form, tokens).whole(text, "stop")
    names = ("reasoning_content", "content")
    said, told = "", ""
    for name in names:
        said += whole["message"].get(name) or ""
        told += "".join(entry["token"] for entry in whole["logprobs"].get(name, ()))
    rest = iter(told)
    assert all(character in rest for character in said)  # in this order
    if all(b - a == 1 for a, b in spans):  # then no token is two things at once
        assert told == said
    told_streamed: dict[str, list[Any]] = {name: [] for name in names}
    grown: list[ChosenToken] = []
    writer = ChatWriter(reply, 0, form, grown)
    events = b""
    for one in tokens:
        grown.append(one)
        events += writer.piece(text[one.start : one.end])
    events += writer.closing("stop")
    for line in filter(None, events.split(b"\n\n")):
        (choice,) = msgspec.json.decode(line.removeprefix(b"data: "))["choices"]
        for name, entries in told_streamed.items():
            entries += (choice["logprobs"] or {}).get(name) or []
    for name, entries in told_streamed.items():
        assert entries == (whole["logprobs"].get(name) or [])
