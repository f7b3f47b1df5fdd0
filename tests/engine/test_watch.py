"""Where the grammar of an answer begins to hold, told token by token."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.engine.constraint import Trigger, build_constraint
from mlm.engine.messages import AnswerForm, CallStyle, ToolChoice
from mlm.engine.watch import Watch

TOOLS: Any = [{"type": "function", "function": {"name": name}} for name in ("get_time", "go")]
THINK = {"think_open": "<think>", "think_close": "</think>"}


def trigger_of(style: CallStyle) -> Trigger:
    constraint = build_constraint(AnswerForm(calls=style), TOOLS, ToolChoice(), None)
    assert constraint is not None and constraint.trigger is not None
    return constraint.trigger


def begins(style: CallStyle, pieces: list[str], **form: Any) -> list[str] | None:
    """Return the pieces from which on the grammar holds."""
    watch = Watch(trigger_of(style), AnswerForm(calls=style, **form))
    for i, piece in enumerate(pieces):
        begun = watch.push(i, piece.encode())
        if begun is not None:
            assert i == len(pieces) - 1, "before the last piece"
            return [pieces[token] for token in begun]
    return None


@pytest.mark.parametrize(
    ("style", "pieces", "begun"),
    [
        ("tags", ["<tool_call>"], 1),
        ("tags", ["Wait", ". <", "tool", "_call", ">\n"], 4),
        ("tags", ["a < b <tool", " x ", "<", "<tool_call>{"], 1),
        ("list", ["So: ", "[TOOL_CALLS]"], 1),
        ("list", ["[TOOL", "_CALLS] ["], 2),
        ("named", ["[TOOL_CALLS]get"], 1),
        ("bare", ['{"', "name", '":', ' "'], 4),
        ("bare", [" ", "\n", "<|python_tag|>", '{"name": "get_'], 1),
        ("bare", ['{"type": "function", ', '"name":"'], 2),
    ],
)
def test_it_holds_from_the_token_on_in_which_a_call_begins(
    style: CallStyle, pieces: list[str], begun: int
):
    assert begins(style, pieces) == pieces[-begun:]


@pytest.mark.parametrize(
    ("style", "pieces"),
    [
        ("tags", ["<tool_call", " x >"]),
        ("tags", ["<tool_call>nonsense", "<tool_call>"]),
        ("tags", ['<tool_call>{"name": "unknown']),
        ("list", ["[TOOL_CALLS]get_time"]),
        ("named", ["[TOOL_CALLS]other"]),
        ("bare", ['{"nam', 'es": "get_time']),
        ("bare", ['So: {"name": "']),
        ("bare", ["{" + " " * 200, '"name": "']),
        ("bare", ['{"name": "unknown']),
        ("bare", ['{\t"name": "']),
    ],
)
def test_an_answer_stays_free_when_no_call_begins_that_the_grammar_knows(
    style: CallStyle, pieces: list[str]
):
    assert begins(style, pieces) is None


def test_calls_in_thoughts_do_not_count():
    thoughts = ["hm <tool_call>", "</thi", "nk>", "\n", "<tool_call>"]
    assert begins("tags", thoughts, **THINK, begins_thinking=True) == ["<tool_call>"]
    assert begins("tags", [" <th", "ink>", *thoughts], **THINK) == ["<tool_call>"]
    assert begins("tags", ["<think>", "<tool_call>"], **THINK) is None
    assert begins("tags", ["No. ", "<tool_call>"], **THINK) == ["<tool_call>"]
    assert begins("bare", ["<think>", 'a</think>\n{"', 'name": "'], **THINK) is not None


@pytest.mark.parametrize("style", ["tags", "list", "named", "bare"])
@given(data=st.data())
def test_what_llama_cpp_is_shown_is_what_its_grammar_allows(style: CallStyle, data: st.DataObject):
    """llama.cpp aborts when the shown text goes on in another way than the grammar allows."""
    trigger = trigger_of(style)
    whole = {
        "tags": '<tool_call>\n{"name": "go", "arguments": {}}',
        "list": '[TOOL_CALLS] [{"name": "go", "arguments": {}}]',
        "named": "[TOOL_CALLS]go[ARGS]{}",
        "bare": '{ "name" : "go", "parameters": {}}',
    }[style]
    odd = data.draw(st.text(alphabet='<[{"go ', max_size=4))
    text = whole[: data.draw(st.integers(0, len(whole)))] + odd
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    watch = Watch(trigger, AnswerForm(calls=style))
    for i, piece in enumerate(pieces):
        if (begun := watch.push(i, piece.encode())) is not None:
            shown = "".join(pieces[token] for token in begun)
            found = re.search(trigger.pattern, shown)
            assert found is not None
            rest = shown[found.end() :]
            assert any(opening.startswith(rest) for opening in trigger.openings)


def test_a_long_answer_is_not_searched_again_and_again():
    watch = Watch(trigger_of("tags"), AnswerForm(calls="tags"))
    for token in range(10_000):
        assert watch.push(token, b" word") is None
    assert len(watch._text) < 200
    assert watch.push(10_000, b"<tool_call>") == [10_000]
