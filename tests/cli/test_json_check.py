"""What no grammar can promise of an answer is checked: JSON Schema's validation words."""

import pytest
from fakes.json_schema import faults
from hypothesis import given, settings
from hypothesis import strategies as st

from mlm.cli._json_check import find_fault

# A schema, a value that is valid by it, and one that is not.
CASES = {
    "false": (False, None, 1),
    "type": ({"type": ["integer", "null"]}, None, "1"),
    "a whole float is an integer": ({"type": "integer"}, 2.0, 2.5),
    "true is no number": ({"type": "number"}, 1, True),
    "const": ({"const": [1, {"a": 2}]}, [1.0, {"a": 2}], [True, {"a": 2}]),
    "enum": ({"enum": [1, "a"]}, "a", True),
    "minimum": ({"minimum": 2}, 2, 1.9),
    "maximum": ({"maximum": 2}, 2, 3),
    "exclusiveMinimum": ({"exclusiveMinimum": 2}, 2.1, 2),
    "exclusiveMaximum": ({"exclusiveMaximum": 2}, 1, 2),
    "multipleOf": ({"multipleOf": 0.1}, 0.3, 0.35),
    "pattern": ({"pattern": "^a+$"}, "aa", "ab"),
    "minLength": ({"minLength": 2}, "żó", "ż"),
    "maxLength": ({"maxLength": 1}, "😀", "ab"),
    "items": ({"items": {"type": "string"}}, ["a"], ["a", 1]),
    "prefixItems": ({"prefixItems": [{"type": "null"}], "items": False}, [None], [None, 1]),
    "tuples of old": ({"items": [{"type": "null"}], "additionalItems": False}, [None], [None, 1]),
    "minItems": ({"minItems": 1}, [1], []),
    "maxItems": ({"maxItems": 1}, [1], [1, 2]),
    "uniqueItems": ({"uniqueItems": True}, [1, True, "1"], [1, 1.0]),
    "contains": ({"contains": {"const": 1}}, [0, 1], [0]),
    "minContains": ({"contains": {"const": 1}, "minContains": 2}, [1, 1], [1]),
    "maxContains": ({"contains": {"const": 1}, "maxContains": 1}, [1], [1, 1]),
    "required": ({"required": ["a"]}, {"a": None}, {}),
    "properties": ({"properties": {"a": {"type": "null"}}}, {"b": 1}, {"a": 1}),
    "additionalProperties": (
        {"properties": {"a": True}, "additionalProperties": False},
        {"a": 1},
        {"b": 1},
    ),
    "patternProperties": (
        {"patternProperties": {"^a": {"type": "null"}}, "additionalProperties": False},
        {"ab": None},
        {"b": None},
    ),
    "propertyNames": ({"propertyNames": {"maxLength": 1}}, {"a": 1}, {"ab": 1}),
    "minProperties": ({"minProperties": 1}, {"a": 1}, {}),
    "maxProperties": ({"maxProperties": 0}, {}, {"a": 1}),
    "dependentRequired": ({"dependentRequired": {"a": ["b"]}}, {"b": 1}, {"a": 1}),
    "dependentSchemas": ({"dependentSchemas": {"a": {"required": ["b"]}}}, {}, {"a": 1}),
    "allOf": ({"allOf": [{"minimum": 1}, {"maximum": 2}]}, 1, 3),
    "anyOf": ({"anyOf": [{"type": "null"}, {"minimum": 1}]}, None, 0),
    "oneOf": ({"oneOf": [{"minimum": 1}, {"minimum": 2}]}, 1, 2),
    "not": ({"not": {"type": "null"}}, 1, None),
    "if and then": ({"if": {"minimum": 5}, "then": {"maximum": 6}}, 4, 7),
    "if and else": ({"if": {"minimum": 5}, "else": {"const": 0}}, 0, 1),
    "$ref": ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "null"}}}, None, 1),
    "a tree": (
        {"items": {"$ref": "#"}, "maxItems": 2, "type": "array"},
        [[[]], []],
        [[[1]], []],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("schema", "good", "bad"), CASES.values(), ids=CASES.keys())
def test_valid_values_pass_and_others_do_not(schema: object, good: object, bad: object):
    if schema is not False:
        assert find_fault(good, schema) is None
    fault = find_fault(bad, schema)
    assert fault is not None and fault.startswith("$")


def test_a_fault_says_where_it_is():
    schema = {"properties": {"people": {"items": {"properties": {"age": {"maximum": 130}}}}}}
    fault = find_fault({"people": [{"age": 7}, {"age": 200}]}, schema)
    assert fault == "$.people[1].age is not what 'maximum' asks for: 130"


@pytest.mark.parametrize(
    "schema",
    [{"pattern": "("}, {"minimum": "1"}, {"multipleOf": 0}, {"$ref": "#/gone"}, {"enum": 1}],
)
def test_a_schema_that_is_none_is_to_blame_itself(schema: object):
    values = ["text", 1]
    assert any("itself" in (find_fault(value, schema) or "") for value in values)


_LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab"])
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner),
)
_SCHEMAS = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", "integer", "null", "boolean"]),
            "minimum": st.integers(-2, 2),
            "maxLength": st.integers(0, 2),
            "minItems": st.integers(0, 2),
            "required": st.lists(st.sampled_from("ab"), unique=True),
            "const": _LEAVES.filter(lambda value: not isinstance(value, bool | int)),
        },
    ),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from("ab"), inner),
            "items": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "allOf": st.lists(inner, min_size=1, max_size=2),
        },
    ),
)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(_VALUES, _SCHEMAS)
def test_it_agrees_with_the_tests_own_judge(value: object, schema: object):
    assert (find_fault(value, schema) is None) == (faults(value, schema) == [])
