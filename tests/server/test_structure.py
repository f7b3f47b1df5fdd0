"""Response formats, tools and choices of tools: what is understood, what is refused and named."""

import json
from typing import Any

import pytest

from mlm.engine.messages import JsonFormat, ToolChoice
from mlm.server.errors import ApiError
from mlm.server.schema import read_chat, read_completion

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def chat(**fields: Any):
    messages = [{"role": "user", "content": "hi"}]
    return read_chat({"model": "tiny", "messages": messages} | fields)


def tool(name: str = "f", **function: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **function}}


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ({"type": "text"}, None),
        ({}, None),
        ({"type": "json_object"}, JsonFormat({"type": "object"}, False, "response_format.schema")),
        ({"type": "json_object", "schema": SCHEMA},
         JsonFormat(SCHEMA, False, "response_format.schema")),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}},
         JsonFormat(SCHEMA, True, "response_format.json_schema.schema")),
        ({"type": "json_schema", "json_schema": {"schema": SCHEMA}},
         JsonFormat(SCHEMA, False, "response_format.json_schema.schema")),
    ],
)  # fmt: skip
def test_response_formats_are_understood(given: dict[str, Any], understood: JsonFormat | None):
    request = chat(response_format=given)
    assert request.generate.json_format == understood
    assert request.ignored == ()


def test_both_endpoints_take_the_schema_of_llama_cpp():
    wanted = JsonFormat(SCHEMA, False, "json_schema")
    assert chat(json_schema=SCHEMA).generate.json_format == wanted
    body = {"model": "tiny", "prompt": "hi", "json_schema": SCHEMA}
    assert read_completion(body).generate.json_format == wanted


@pytest.mark.parametrize(
    ("choice", "understood"),
    [
        (None, ToolChoice()),
        ("auto", ToolChoice()),
        ("required", ToolChoice(required=True)),
        (named("g"), ToolChoice(required=True, names=["g"])),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [named("g")]}},
         ToolChoice(names=["g"])),
        ({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [named("g")]}},
         ToolChoice(required=True, names=["g"])),
    ],
)  # fmt: skip
def test_choices_of_tools_are_understood(choice: Any, understood: ToolChoice):
    request = chat(tools=[tool("f"), tool("g")], tool_choice=choice, parallel_tool_calls=True)
    assert request.generate.tool_choice == understood
    assert request.names == {"f", "g"}
    assert request.ignored == ()


def test_calls_one_at_a_time_are_a_matter_of_choice():
    assert not chat(tools=[tool()], parallel_tool_calls=False).generate.tool_choice.parallel


def test_of_a_tool_only_what_is_known_goes_on():
    given = tool(description="d", parameters=SCHEMA, strict=True, evil="x") | {"more": 1}
    kept = tool(description="d", parameters=SCHEMA, strict=True)
    assert chat(tools=[given]).generate.tools == [kept]


WIDE = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(20_000)}}
LONG = {"type": "object", "description": "x" * 250_000}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"response_format": {"type": "yaml"}}, "response_format.type"),
        ({"response_format": {"schema": {}}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": [1]}}},
         "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_schema", "json_schema": {"strict": 1}}},
         "response_format.json_schema.strict"),
        ({"response_format": {"type": "json_object", "schema": WIDE}}, "response_format.schema"),
        ({"json_schema": WIDE}, "json_schema"),
        ({"json_schema": {}, "grammar": 'root ::= "a"'}, "json_schema"),
        ({"json_schema": {}, "response_format": {"type": "json_object"}}, "response_format"),
        ({"grammar": 'root ::= "a"', "response_format": {"type": "json_object"}},
         "response_format"),
        ({"tools": [tool()], "grammar": 'root ::= "a"'}, "grammar"),
        ({"tools": [tool()] * 129}, "tools"),
        ({"tools": [tool(f"f{n}") for n in range(1000)]}, "tools"),
        ({"tools": [tool(f"f{n}", parameters=LONG) for n in range(5)]}, "tools"),
        ({"tools": ["f"]}, "tools[0].type"),
        ({"tools": [{"type": "retrieval"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [tool(), tool("g", parameters=[])]}, "tools[1].function.parameters"),
        ({"tools": [tool(parameters={"type": "string"})]}, "tools[0].function.parameters.type"),
        ({"tools": [tool(parameters=WIDE)]}, "tools[0].function.parameters"),
        ({"tools": [tool(description=5)]}, "tools[0].function.description"),
        ({"tools": [tool(strict="yes")]}, "tools[0].function.strict"),
        ({"tools": [tool(), tool()]}, "tools[1].function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": named("f")}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": named("nobody")}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": {"type": "function"}}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": ["f"]}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": {"type": "allowed_tools", "allowed_tools":
          {"mode": "auto", "tools": []}}}, "tool_choice"),
        ({"tools": [tool()], "tool_choice": {"type": "allowed_tools", "allowed_tools":
          {"mode": "auto", "tools": [7]}}}, "tool_choice"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_and_named(fields: dict[str, Any], param: str):
    with pytest.raises(ApiError) as caught:
        chat(**fields)
    assert (caught.value.status, caught.value.param) == (400, param)
    assert len(caught.value.message) < 300


@pytest.mark.parametrize("name", ["", "a b", "é", "x" * 65, 'a"b', "a\nb", "../x", 5, None, ["f"]])
def test_odd_names_of_functions_are_refused(name: Any):
    with pytest.raises(ApiError) as caught:
        chat(tools=[{"type": "function", "function": {"name": name}}])
    assert caught.value.param == "tools[0].function.name"


def after_a_call(**changes: Any) -> list[dict[str, Any]]:
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}} | changes
    return [{"role": "user", "content": "hi"}, {"role": "assistant", "tool_calls": [call]}]


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        (after_a_call(id=7), "messages[1].tool_calls[0].id"),
        (after_a_call(function=None), "messages[1].tool_calls[0]"),
        (after_a_call(function={}), "messages[1].tool_calls[0].function.name"),
        (after_a_call(function={"name": "f", "arguments": [1]}),
         "messages[1].tool_calls[0].function.arguments"),
        ([{"role": "assistant", "tool_calls": "f"}], "messages[0].tool_calls"),
        ([{"role": "assistant", "tool_calls": [{}] * 129}], "messages[0].tool_calls"),
        ([{"role": "assistant", "content": None, "tool_calls": []}], "messages[0].content"),
        ([{"role": "tool", "content": None}], "messages[0].content"),
        ([{"role": "tool", "content": "x", "tool_call_id": 5}], "messages[0].tool_call_id"),
        ([{"role": "assistant", "content": "x", "reasoning_content": 5}],
         "messages[0].reasoning_content"),
    ],
)  # fmt: skip
def test_crooked_calls_and_results_are_refused_with_their_place(messages: Any, param: str):
    with pytest.raises(ApiError) as caught:
        chat(messages=messages)
    assert caught.value.param == param


def test_results_with_any_characters_are_passed_on_unchanged():
    content = '\x1b[31m"quoted"\\n</tool_response><|im_end|>\u2028{{ 7 * 7 }}'
    result = {"role": "tool", "tool_call_id": "1", "content": content}
    request = chat(messages=[*after_a_call(), result])
    assert request.generate.messages is not None
    assert request.generate.messages[-1]["content"] == content
    assert json.dumps(request.generate.messages)
