"""Tools in prompts and in answers, for the templates of the families that have them."""

import json
from typing import Any

import pytest
from fakes.chat_templates import FAMILIES, PLAIN, QWEN3

from mlm.engine.dialect import markers_of, read_dialect
from mlm.engine.messages import AnswerForm
from mlm.engine.template import ChatTemplate
from mlm.engine.tools import say_tools

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city"],
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}


def call(name: str, arguments: str, call_id: str = "call_1") -> dict[str, Any]:
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


ODD_RESULT = "It's 7 °C\n\x1b[2J\"</tool_response>\\u0000"
CONVERSATION: list[dict[str, Any]] = [
    {"role": "user", "content": "What is it like in Oslo?"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [call("weather", '{"city": "Oslo"}'), call("clock", "", "call_2")],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": ODD_RESULT},
    {"role": "tool", "tool_call_id": "call_2", "content": "noon"},
    {"role": "user", "content": "And tomorrow?"},
]


def render(template: str, messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
    said, described = say_tools(messages, tools, read_dialect(template))
    return ChatTemplate(template).render(said, tools=described)


@pytest.mark.parametrize(
    ("family", "calls", "native", "thinks"),
    [
        ("hermes", "tags", True, False),
        ("qwen3", "tags", True, True),
        ("always thinking", "tags", True, True),
        ("llama3", "bare", True, False),
        ("mistral list", "list", True, False),
        ("mistral named", "named", True, False),
        ("plain", "tags", False, False),
        ("channels", "tags", False, False),
    ],
)
def test_a_template_tells_how_its_model_writes_calls(
    family: str, calls: str, native: bool, thinks: bool
):
    dialect = read_dialect(FAMILIES[family])
    assert (dialect.calls, dialect.native, bool(dialect.think_open)) == (calls, native, thinks)


def test_what_comes_before_the_final_channel_are_thoughts():
    dialect = read_dialect(FAMILIES["channels"])
    form = dialect.form_of("…<|end|><|start|>assistant", with_tools=True)
    assert form.channels and form.begins_thinking and form.calls == "tags"
    assert form.think_close == "<|channel|>final<|message|>"
    assert {"<|start|>", "<|channel|>", "<|message|>", "<|end|>"} < set(markers_of(form))
    goes_on = dialect.form_of("…<|start|>assistant<|channel|>final<|message|>", with_tools=False)
    assert goes_on == AnswerForm()


def test_gemma_has_tags_of_its_own_for_thoughts():
    template = "{{ '<|channel>thought\n' + m.reasoning + '\n<channel|>' }}"
    form = read_dialect(template).form_of("…<|turn>model\n", with_tools=False)
    assert form == AnswerForm("<|channel>thought", "<channel|>")
    closed = "…<|turn>model\n<|channel>thought\n<channel|>"
    assert read_dialect(template).form_of(closed, with_tools=False) == AnswerForm()


@pytest.mark.parametrize(
    "other", ["<tool_call>{{ name }}<arg_key>", "<tool_call><function={{ n }}>", "<|python_tag|>"]
)
def test_a_template_with_other_calls_is_not_trusted_with_tools(other: str):
    assert not read_dialect("{% for t in tools %}" + other + '"arguments"{% endfor %}').native


@pytest.mark.parametrize("family", FAMILIES)
def test_tools_calls_and_results_are_in_the_prompt_of_every_family(family: str):
    text = render(FAMILIES[family], CONVERSATION, [WEATHER, CLOCK])
    places = [
        text.index(mark) for mark in ("Oslo?", '"city": "Oslo"}', "7 °C", "noon", "tomorrow?")
    ]
    assert places == sorted(places)
    assert "Tells the weather." in text
    assert '"clock"' in text or "[TOOL_CALLS]clock" in text
    assert '\\"city' not in text, "arguments are an object, not JSON text in JSON"


def test_two_calls_become_two_messages_where_a_template_takes_only_one():
    text = render(FAMILIES["llama3"], CONVERSATION, [WEATHER])
    assert text.count('"parameters": {"city": "Oslo"}') == 1
    assert text.index('"city": "Oslo"}') < text.index("7 °C") < text.index('"name": "clock"')


@pytest.mark.parametrize("given", ["abcdefghi", "call_1", "", "ünicode id"])
def test_ids_become_what_mistral_takes_and_stay_matched(given: str):
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": "", "tool_calls": [call("clock", "{}", given)]},
        {"role": "tool", "tool_call_id": given, "content": "noon"},
    ]
    said, _ = say_tools(messages, [CLOCK], read_dialect(FAMILIES["mistral named"]))
    used = said[1]["tool_calls"][0]["id"]
    assert used == said[2]["tool_call_id"]
    assert len(used) == 9 and used.isascii() and used.isalnum()
    assert (used == given) == (given == "abcdefghi")


def test_a_template_without_tools_gets_them_explained_in_plain_messages():
    system = {"role": "system", "content": "Be brief."}
    said, tools = say_tools([system, *CONVERSATION], [WEATHER], read_dialect(PLAIN))
    assert tools is None
    assert [message["role"] for message in said] == ["system", "user", "assistant", "user"]
    assert said[0]["content"].startswith("Be brief.\n\n# Tools")
    assert json.dumps(WEATHER["function"]["parameters"]) in said[0]["content"]
    assert said[2]["content"].count("<tool_call>") == 2
    assert said[3]["content"].endswith("And tomorrow?")
    assert ODD_RESULT in said[3]["content"]


def test_arguments_that_are_no_object_reach_the_template_as_they_are():
    broken = [
        CONVERSATION[0],
        {"role": "assistant", "content": "", "tool_calls": [call("clock", '{"a": ')]},
    ]
    assert json.dumps('{"a": ') in render(FAMILIES["hermes"], broken, [CLOCK])


@pytest.mark.parametrize(
    ("prompt", "opens", "begins"),
    [
        ("…<|im_start|>assistant\n", "<think>", False),
        ("…<|im_start|>assistant\n<think>\n", "<think>", True),
        ("…<|im_start|>assistant\n<think>\n\n</think>\n\n", "", False),
    ],
)
def test_the_prompt_tells_whether_thoughts_are_open_possible_or_over(
    prompt: str, opens: str, begins: bool
):
    form = read_dialect(QWEN3).form_of(prompt, with_tools=False)
    assert (form.think_open, form.begins_thinking) == (opens, begins)
