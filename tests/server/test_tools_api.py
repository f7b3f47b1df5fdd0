"""Tools, JSON and thoughts over real HTTP, with the client that people use."""

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from fakes.fake_server import FakeServer
from openai import OpenAI

TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("weather", "clock")
]
CALLS = (
    'Let me see.\n<tool_call>\n{"name": "weather", "arguments": {"city": "Tromsø"}}\n</tool_call>\n'
    '<tool_call>\n{"name": "clock", "arguments": {}}\n</tool_call>'
)


@pytest.fixture(scope="module")
def client(server: FakeServer) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def wish(text: str, **how: object) -> Any:
    words = [f"text={quote(text)}", *(f"{name}={value}" for name, value in how.items())]
    return [{"role": "user", "content": " ".join(words)}]


def test_calls_are_answered_as_openai_does(client: OpenAI):
    answer = client.chat.completions.create(
        model="alpha", messages=wish(CALLS, calls="tags"), tools=TOOLS
    )
    choice = answer.choices[0]
    assert choice.finish_reason == "tool_calls"
    assert choice.message.content == "Let me see."
    calls = choice.message.tool_calls or []
    assert [(call.type, call.function.name) for call in calls] == [
        ("function", "weather"),
        ("function", "clock"),
    ]
    assert [json.loads(call.function.arguments) for call in calls] == [{"city": "Tromsø"}, {}]
    assert len({call.id for call in calls}) == 2
    assert all(call.id.startswith("call_") for call in calls)


def test_calls_are_streamed_name_first_then_arguments_and_never_as_text(client: OpenAI):
    stream = client.chat.completions.create(
        model="alpha", messages=wish(CALLS, calls="tags"), tools=TOOLS, stream=True
    )
    content, names, arguments, ids, reasons = "", {}, {}, {}, []
    for chunk in stream:
        (choice,) = chunk.choices
        content += choice.delta.content or ""
        reasons.append(choice.finish_reason)
        for call in choice.delta.tool_calls or []:
            if call.id:
                assert call.index not in names
                ids[call.index], names[call.index] = call.id, call.function.name
                arguments[call.index] = ""
            arguments[call.index] += call.function.arguments
    assert content == "Let me see."
    assert names == {0: "weather", 1: "clock"}
    assert [json.loads(arguments[i]) for i in (0, 1)] == [{"city": "Tromsø"}, {}]
    assert len(set(ids.values())) == 2
    assert reasons[-1] == "tool_calls"
    assert set(reasons[:-1]) == {None}


def test_a_call_without_text_has_no_content(server: FakeServer):
    call = CALLS[CALLS.index("<") :]
    body = {"model": "alpha", "messages": wish(call, calls="tags"), "tools": TOOLS}
    (choice,) = server.ask("POST", "/v1/chat/completions", body).json["choices"]
    assert choice["message"]["content"] is None
    assert len(choice["message"]["tool_calls"]) == 2


def test_without_calls_the_answer_is_an_ordinary_one(server: FakeServer):
    body = {"model": "alpha", "messages": wish("a <tool", calls="tags"), "tools": TOOLS}
    for stream in (False, True):
        reply = server.ask("POST", "/v1/chat/completions", body | {"stream": stream})
        assert reply.text == "a <tool"
        last = reply.events[-1] if stream else reply.json
        assert last["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_is_cut_says_length(server: FakeServer, stream: bool):
    body = {"model": "alpha", "messages": wish(CALLS[12:], calls="tags"), "tools": TOOLS,
            "max_tokens": 20, "stream": stream}  # fmt: skip
    reply = server.ask("POST", "/v1/chat/completions", body)
    last = reply.events[-1] if stream else reply.json
    assert last["choices"][0]["finish_reason"] == "length"
    assert "tool_call" not in reply.text


def test_thoughts_are_apart_from_the_answer(client: OpenAI):
    messages = wish("<think>\nhm\n</think>\n\nYes.", thoughts=1)
    whole = client.chat.completions.create(model="alpha", messages=messages).choices[0].message
    assert whole.content == "Yes."
    assert whole.model_dump()["reasoning_content"] == "hm"
    said = {"content": "", "reasoning_content": ""}
    for chunk in client.chat.completions.create(model="alpha", messages=messages, stream=True):
        delta = chunk.choices[0].delta.model_dump()
        for kind in said:
            said[kind] += delta.get(kind) or ""
    assert said == {"content": "Yes.", "reasoning_content": "hm"}


def test_a_kept_answer_has_its_calls_again(server: FakeServer):
    body = {"model": "alpha", "messages": wish(CALLS + " ", calls="tags"), "tools": TOOLS,
            "temperature": 0}  # fmt: skip
    replies = [server.ask("POST", "/v1/chat/completions", body) for _ in range(2)]
    assert [reply.headers["X-Mlm-Cache"] for reply in replies] == ["miss", "hit"]
    first, again = (reply.json["choices"][0]["message"]["tool_calls"] for reply in replies)
    assert [call["function"] for call in again] == [call["function"] for call in first]


@pytest.mark.parametrize(
    "change",
    [
        {"tools": TOOLS[:1]},
        {"tools": TOOLS[::-1]},
        {"tool_choice": "required"},
        {"parallel_tool_calls": False},
        {"tools": None, "response_format": {"type": "json_object"}},
        {"tools": None, "json_schema": {"properties": {"a": {}, "b": {}}}},
        {"tools": None, "json_schema": {"properties": {"b": {}, "a": {}}}},
        {"chat_template_kwargs": {"enable_thinking": False}},
    ],
    ids=str,
)
def test_another_structure_is_another_question(server: FakeServer, change: dict[str, Any]):
    body = {"model": "alpha", "messages": wish("same"), "tools": TOOLS, "temperature": 0}
    server.ask("POST", "/v1/chat/completions", body)
    assert server.ask("POST", "/v1/chat/completions", body).headers["X-Mlm-Cache"] == "hit"
    other = server.ask("POST", "/v1/chat/completions", body | change)
    assert other.headers["X-Mlm-Cache"] == "miss"


def test_a_huge_schema_is_refused_before_it_reaches_a_worker(server: FakeServer):
    schema = {"type": "object", "description": "x" * 3_000_000}
    reply = server.chat("hi", json_schema=schema)
    assert (reply.status, reply.error["param"]) == (400, "json_schema")
