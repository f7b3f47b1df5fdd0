"""Answers taken apart, in whatever pieces they come."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlm.engine.messages import AnswerForm
from mlm.server.markup import MarkupReader, Part

NAMES = ("f", "g")
TAGS, BARE = AnswerForm(calls="tags"), AnswerForm(calls="bare")
LIST, NAMED = AnswerForm(calls="list"), AnswerForm(calls="named")
MAY_THINK = AnswerForm("<think>", "</think>")
THINKS = AnswerForm("<think>", "</think>", begins_thinking=True)
THINKS_AND_CALLS = AnswerForm("[THINK]", "[/THINK]", calls="named")
CHANNELS = AnswerForm("", "<|channel|>final<|message|>", begins_thinking=True, channels=True)
CALLS_TOO = msgspec.structs.replace(CHANNELS, calls="tags")
TRICKY = '{"a": "}</tool_call>]\\\\\\"{", "b": [{"c": "é😀"}, {}], "name": "g"}'

CASES = [
    (
        "plain text",
        AnswerForm(),
        " <think>a</think> <tool_call> ",
        [("text", " <think>a</think> <tool_call> ")],
    ),
    (
        "thoughts",
        MAY_THINK,
        "\n<think>\nhm </thin\n\n</think>\n\nyes ",
        [("thought", "hm </thin"), ("text", "yes ")],
    ),
    ("no thoughts", MAY_THINK, " yes <think>", [("text", " yes <think>")]),
    ("empty thoughts", MAY_THINK, "<think>\n\n</think>\n\nyes", [("text", "yes")]),
    (
        "thoughts begun in the prompt",
        THINKS,
        "hm\n</think>yes",
        [("thought", "hm"), ("text", "yes")],
    ),
    ("thoughts without end", THINKS, "hm </thi", [("thought", "hm </thi")]),
    (
        "thoughts and a call",
        THINKS_AND_CALLS,
        "[THINK]f[TOOL_CALLS][/THINK][TOOL_CALLS]f[ARGS]{}",
        [("thought", "f[TOOL_CALLS]"), ("call", "f"), ("arguments", "{}")],
    ),
    (
        "text before calls in tags",
        TAGS,
        'Wait.\n<tool_call>\n{"name": "f", "arguments": ' + TRICKY + "}\n</tool_call>\n"
        '<tool_call>{"name":"g","arguments":{}}</tool_call>',
        [
            ("text", "Wait."),
            ("call", "f"),
            ("arguments", TRICKY),
            ("call", "g"),
            ("arguments", "{}"),
        ],
    ),
    (
        "members in another order",
        TAGS,
        '<tool_call>{"arguments": {"x": 1}, "name": "f"}</tool_call>',
        [("call", "f"), ("arguments", '{"x": 1}')],
    ),
    (
        "no arguments",
        TAGS,
        '<tool_call>{"name": "f"}</tool_call>',
        [("call", "f"), ("arguments", "{}")],
    ),
    (
        "tags without a call",
        TAGS,
        "a <tool_call>b</tool_call> c",
        [("text", "a <tool_call>b</tool_call> c")],
    ),
    (
        "a call without its end",
        TAGS,
        '<tool_call>{"name": "f", "argu',
        [("text", '<tool_call>{"name": "f", "argu')],
    ),
    (
        "a call without the end of its tags",
        TAGS,
        '<tool_call>{"name": "f", "arguments": {}}</tool_',
        [("call", "f"), ("arguments", "{}")],
    ),
    (
        "text after a call",
        TAGS,
        '<tool_call>{"name": "f", "arguments": {}}</tool_call> So.',
        [("call", "f"), ("arguments", "{}"), ("text", "So.")],
    ),
    (
        "bare calls",
        BARE,
        '{"name": "f", "parameters": ' + TRICKY + '}; {"name": "g", "parameters": {}}',
        [("call", "f"), ("arguments", TRICKY), ("call", "g"), ("arguments", "{}")],
    ),
    (
        "a bare call with its type",
        BARE,
        '{"type": "function", "name": "f", "parameters": {}}',
        [("call", "f"), ("arguments", "{}")],
    ),
    (
        "a bare call of nobody",
        BARE,
        '{"name": "Bob", "parameters": {}}',
        [("text", '{"name": "Bob", "parameters": {}}')],
    ),
    ("JSON that is no call", BARE, '{"name": 5}', [("text", '{"name": 5}')]),
    (
        "a call after the Python tag",
        BARE,
        'Hm. <|python_tag|>{"name": "f", "parameters": {}}',
        [("text", "Hm."), ("call", "f"), ("arguments", "{}")],
    ),
    (
        "calls in a list",
        LIST,
        '[TOOL_CALLS] [{"name": "f", "arguments": '
        + TRICKY
        + ', "id": "abcdefghi"}, {"name": "g", "arguments": {}}]',
        [("call", "f"), ("arguments", TRICKY), ("call", "g"), ("arguments", "{}")],
    ),
    (
        "calls by name",
        NAMED,
        "[TOOL_CALLS]f[CALL_ID]abcdefghi[ARGS]" + TRICKY + "[TOOL_CALLS]g[ARGS]{}",
        [("call", "f"), ("arguments", TRICKY), ("call", "g"), ("arguments", "{}")],
    ),
    (
        "thoughts in a channel",
        CHANNELS,
        "<|channel|>analysis<|message|>hm <|x|>\n<|end|><|start|>assistant<|channel|>commentary"
        "<|message|>wait<|end|><|start|>assistant<|channel|>final<|message|> yes <|end ",
        [("thought", "hm <|x|>wait"), ("text", "yes <|end ")],
    ),
    (
        "no channel but the final",
        CHANNELS,
        "<|channel|>final<|message|>yes<|end|>",
        [("text", "yes")],
    ),
    (
        "a final channel that announces JSON",
        CHANNELS,
        "<|channel|>final <|constrain|>json<|message|>{}",
        [("text", "{}")],
    ),
    ("channels that are none", CHANNELS, "yes <|channel|>", [("text", "yes <|channel|>")]),
    ("no channels after white space", CHANNELS, " <think>", [("text", " <think>")]),
    ("a head of a message without its end", CHANNELS, "<|channel|>anal", []),
    (
        "calls in messages of their own",
        CHANNELS,
        "<|channel|>analysis<|message|>hm<|end|><|start|>assistant<|channel|>commentary "
        f"to=functions.f <|constrain|>json<|message|>{TRICKY}<|call|><|start|>assistant "
        "to=functions.g<|channel|>commentary json<|message|>{}",
        [
            ("thought", "hm"),
            ("call", "f"),
            ("arguments", TRICKY),
            (
                "text",
                "<|call|><|start|>assistant to=functions.g<|channel|>commentary json<|message|>{}",
            ),
        ],
    ),
    (
        "a call of nobody",
        CHANNELS,
        "<|channel|>commentary to=functions.h json<|message|>{}<|end|><|channel|>final<|message|>a",
        [("thought", "{}"), ("text", "a")],
    ),
    ("a marker and nothing", NAMED, "[TOOL_CALLS]", [("text", "[TOOL_CALLS]")]),
    ("half a marker", NAMED, "so [TOOL_", [("text", "so [TOOL_")]),
]


def read(form: AnswerForm, pieces: list[str], *, cut: bool = False) -> list[tuple[str, str]]:
    """Return the parts of an answer; parts of one kind that follow each other are joined."""
    reader = MarkupReader(form, NAMES)
    parts = [part for piece in pieces for part in reader.push(piece)]
    parts += reader.end(cut=cut)
    text = "".join(pieces)
    for part in parts:
        if part.kind in ("text", "thought"):
            assert text.startswith(part.text, part.start)
    return join(parts)


def join(parts: list[Part]) -> list[tuple[str, str]]:
    joined: list[tuple[str, str]] = []
    for part in parts:
        if joined and joined[-1][0] == part.kind != "call":
            joined[-1] = (part.kind, joined[-1][1] + part.text)
        else:
            joined.append((part.kind, part.text))
    return joined


@pytest.mark.parametrize(
    ("form", "text", "parts"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_an_answer_has_the_same_parts_however_it_is_split(
    form: AnswerForm, text: str, parts: list[tuple[str, str]]
):
    assert read(form, [text]) == parts
    assert read(form, list(text)) == parts
    for first in range(len(text)):
        for second in range(first, len(text), 5):
            assert read(form, [text[:first], text[first:second], text[second:]]) == parts


@pytest.mark.parametrize(
    ("form", "text", "parts"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_what_has_been_given_out_is_never_taken_back(
    form: AnswerForm, text: str, parts: list[tuple[str, str]]
):
    """Whenever the answer is cut, what it has said is the beginning of what it would have said."""
    whole = [(kind, part) for kind, part in parts]
    for size in range(len(text)):
        said = join(MarkupReader(form, NAMES).push(text[:size]))
        for i, (kind, part) in enumerate(said):
            assert kind == whole[i][0]
            assert whole[i][1].startswith(part)


def test_a_call_that_is_cut_before_its_name_is_known_is_not_shown_as_text():
    text = 'Wait. <tool_call>{"name": "f'
    assert read(TAGS, [text], cut=True) == [("text", "Wait.")]
    assert read(TAGS, [text], cut=False)[0] == ("text", text)


FRAGMENTS = [
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "[TOOL_CALLS]",
    "<|channel|>",
    "final",
    "to=functions.f",
    "<|message|>",
    "<|end|>",
    "[ARGS]",
    "[",
    "]",
    "{",
    "}",
    '"name"',
    ": ",
    '"f"',
    ", ",
    '"arguments"',
    '"parameters"',
    "<",
    "a",
    " ",
    "\n",
    "\\",
    '"',
    "<|python_tag|>",
    ";",
    '{"name": "f", "arguments": {',
    "é",
]
FORMS = [TAGS, BARE, LIST, NAMED, MAY_THINK, THINKS, THINKS_AND_CALLS, CHANNELS, CALLS_TOO]


@given(st.sampled_from(FORMS), st.lists(st.sampled_from(FRAGMENTS), max_size=30), st.data())
def test_any_nonsense_is_read_the_same_way_in_any_pieces(form: AnswerForm, words, data):
    text = "".join(words)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert read(form, pieces) == read(form, [text])
    assert read(form, list(text)) == read(form, [text])
