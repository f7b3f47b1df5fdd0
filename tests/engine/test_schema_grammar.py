"""Schemas as grammars: what they allow, what they refuse, and that nothing else comes out."""

import json
import re
from typing import Any

import pytest
from fakes.gbnf_regex import to_regex
from fakes.json_schema import faults
from hypothesis import assume, example, given
from hypothesis import strategies as st

from mlm.engine.gbnf import Grammar, until
from mlm.engine.schema_grammar import schema_rule
from mlm.engine.schema_words import CONSTRAINTS, UNPROMISED, SchemaError


def grammar_of(schema: object, *, strict: bool = False) -> str:
    grammar = Grammar()
    return grammar.text(schema_rule(grammar, schema, strict=strict))


def allows(schema: object, text: str) -> bool:
    return to_regex(grammar_of(schema)).fullmatch(text) is not None


bounds = st.one_of(st.none(), st.integers(-1200, 1200), st.integers(-(10**9), 10**9))


@given(bounds, bounds, st.data())
def test_bounds_of_integers_allow_all_between_and_nothing_else(low, high, data):
    assume(low is None or high is None or low <= high)
    schema = {"type": "integer"}
    schema |= {} if low is None else {"minimum": low}
    schema |= {} if high is None else {"maximum": high}
    regex = to_regex(grammar_of(schema))
    near = [edge + step for edge in (low, high) if edge is not None for step in range(-11, 12)]
    tried = [*near, 0, -1, 9, 10, data.draw(st.integers(-(10**10), 10**10))]
    for number in tried:
        inside = (low is None or number >= low) and (high is None or number <= high)
        assert bool(regex.fullmatch(str(number))) == inside, number
    for text in ("-0", "01", "-01", "1.0", "", "-", "+1", "1e3"):
        assert not regex.fullmatch(text) or text == "-0"


@pytest.mark.parametrize(
    ("bound", "smallest", "largest"),
    [
        ({"exclusiveMinimum": 4, "maximum": 6}, 5, 6),
        ({"minimum": 4.5, "exclusiveMaximum": 7}, 5, 6),
        ({"exclusiveMinimum": 4.5, "exclusiveMaximum": 6.5}, 5, 6),
        ({"minimum": -3, "maximum": -2.5}, -3, -3),
    ],
)
def test_bounds_may_be_exclusive_or_between_whole_numbers(bound: Any, smallest: int, largest: int):
    found = [n for n in range(-20, 20) if allows({"type": "integer", **bound}, str(n))]
    assert (found[0], found[-1], len(found)) == (smallest, largest, largest - smallest + 1)


PATTERNS = [
    r"^[a-z]+$", r"^\d{3}-\d{4}$", r"^(a|bc)*$", "b", "^a", "c$", r"^[^a]$", r"^.{2}$", r"^\w\s?$",
    r"^(?:a|b)+?$", r'^"\\$', r"^\n?$", r"^$", r"^a{0}b$", r"^[\]\-^]+$", r"^é+$",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
@given(text=st.text(alphabet='abcé \n"\\-]^019', max_size=8))
def test_what_a_pattern_allows_matches_it(pattern: str, text: str):
    regex = to_regex(grammar_of({"type": "string", "pattern": pattern}, strict=True))
    if regex.fullmatch(json.dumps(text, ensure_ascii=False)):
        assert re.search(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [(r"^\d{3}-\d{4}$", "123-4567"), ("b", "abc"), (r"^(a|bc)*$", "abca"), (r'^"\\$', '"\\')],
)
def test_what_matches_a_pattern_is_allowed(pattern: str, text: str):
    assert allows({"pattern": pattern}, json.dumps(text))


@pytest.mark.parametrize(
    "pattern",
    [
        "(", "a**", "(?=a)b", r"(a)\1", "(?i)a", "(?i:a)", r"\bA", "^a|b$", "(a?){2,2000}", "(a*)*",
        "a{2001}", "(a+)+" * 400, r"^\p{L}$", "((((a{2000}){2000}){2000}){2000}){2000}" * 20,
        "[\x00-\x1f]\x07",
    ],
    ids=lambda pattern: repr(pattern[:20]),
)  # fmt: skip
def test_patterns_that_no_grammar_can_promise_are_left_out_or_refused(pattern: str):
    schema = {"type": "string", "pattern": pattern}
    try:
        assert allows(schema, '"anything"')
    except SchemaError as error:  # they count too much
        assert "too large" in str(error)
    with pytest.raises(SchemaError):
        grammar_of(schema, strict=True)


@pytest.mark.parametrize("keyword", UNPROMISED)
def test_a_keyword_that_cannot_be_promised_is_refused_only_when_strict(keyword: str):
    schema = {"type": "integer", keyword: {}}
    assert allows(schema, "7")
    with pytest.raises(SchemaError) as refused:
        grammar_of(schema, strict=True)
    assert refused.value.where == f".{keyword}"


def test_properties_come_in_their_order_and_no_others():
    schema = {"properties": {"b": {"type": "null"}, "a": {"type": "null"}}, "required": ["a"]}
    assert allows(schema, '{"b": null, "a": null}')
    assert allows(schema, '{"a":null}')
    assert not allows(schema, '{"a": null, "b": null}')
    assert not allows(schema, '{"b": null}')
    assert not allows(schema, '{"a": null, "c": null}')
    assert not allows(schema, '{"a": null,}')
    assert allows({"properties": {}}, "{ }")


def test_what_openai_calls_nullable_keeps_its_other_keywords():
    schema = {"type": ["string", "null"], "enum": ["a", None, 5]}
    assert [text for text in ('"a"', "null", "5", '"b"') if allows(schema, text)] == ['"a"', "null"]


@pytest.mark.parametrize("text", ['"a\nb"', '"\t"', '"\x00"', '"\\x"', '"\\ud800"', '"a', "'a'"])
def test_strings_that_are_no_json_are_not_allowed(text: str):
    assert not allows({"type": "string"}, text)


@given(st.text(alphabet="</think>a", max_size=24))
def test_a_text_up_to_its_first_end_is_recognised(text: str):
    grammar = Grammar()
    regex_free = until(grammar, "</t>")
    rules = dict(line.split(" ::= ", 1) for line in grammar.text(regex_free).strip().split("\n"))
    state: str | None = regex_free
    for i, character in enumerate(text):
        state = _step(rules, state, character)
        if state is None:
            assert text[: i + 1].endswith("</t>")
            assert text.index("</t>") == i - 3
            return
    assert "</t>" not in text


def _step(rules: dict[str, str], state: str | None, character: str) -> str | None:
    """Return the rule that follows one more character; None at the end."""
    assert state is not None
    for choice in rules[state].split(" | "):
        said, *following = choice.split(" ")
        if re.fullmatch(said.strip('"') if said[0] == '"' else said, character):
            return following[0] if following else None
    raise AssertionError(f"{rules[state]} has no place for {character!r}")


WORDS = ["string", "object", "array", "integer", "number", "#", "#/a", "#/properties/a", "^a$", "("]
odd = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.floats(allow_nan=False)
    | st.sampled_from(WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*sorted(CONSTRAINTS), "a", "$defs"]), inner, max_size=5)
    ),
    max_leaves=25,
)


@example({"minItems": None}, False)
@example({"$ref": []}, False)
@example({"type": {}, "const": None}, False)
@example({"pattern": "[[]"}, False)
@given(odd, st.booleans())
def test_any_nonsense_is_a_grammar_or_a_schema_error(schema: Any, strict: bool):
    try:
        grammar = grammar_of(schema, strict=strict)
    except SchemaError:
        return
    assert grammar.startswith("root ::= ")


def test_the_checks_of_these_tests_find_faults():
    schema = {"type": "object", "properties": {"a": {"enum": [1]}}, "required": ["a"]}
    assert faults({"a": 1}, schema) == []
    assert faults({"a": True}, schema) and faults({}, schema) and faults([], schema)
