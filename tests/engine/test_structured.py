"""A real worker held to schemas: what it writes is valid, and nothing hostile takes it down."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fakes.json_schema import faults
from fakes.real_worker import ask, working

from mlm.engine.messages import Failed, Finished, JsonFormat

TinyModel = Callable[[str], Path]
NODE = {
    "$ref": "#/$defs/string",  # named like a part of JSON, and it refers to itself
    "$defs": {
        "string": {
            "type": "object",
            "properties": {
                "value": {"type": "integer", "minimum": -12, "maximum": 345},
                "next": {"anyOf": [{"$ref": "#/$defs/string"}, {"type": "null"}]},
            },
            "required": ["value", "next"],
        }
    },
}
ODD = ['say "hi"', "back\\slash", "two\nlines", "naïve 😀", "", None, 5, 1.5, True, {"a": [1]}]
SCHEMAS: dict[str, Any] = {
    "any object": {"type": "object"},
    "anything": {},
    "odd values": {"type": "array", "items": {"enum": ODD}, "minItems": 3, "maxItems": 6},
    "odd names": {
        "type": "object",
        "properties": {name: {"type": "boolean"} for name in map(str, ODD)},
        "required": [str(name) for name in ODD[::2]],
    },
    "a list of itself": NODE,
    "optional ones": {
        "type": "object",
        "properties": {name: {"title": name} for name in "abcdef"},
        "required": ["c"],
        "additionalProperties": False,
    },
    "a map": {"type": "object", "additionalProperties": {"type": "integer"}},
    "bounds": {
        "type": "array",
        "prefixItems": [
            {"type": "integer", "exclusiveMinimum": 99, "exclusiveMaximum": 1001},
            {"type": "integer", "maximum": -7},
            {"type": "integer", "minimum": 17},
            {"type": "number", "minimum": 0},
            {"type": ["string", "null"], "minLength": 2, "maxLength": 5},
        ],
        "minItems": 7,
        "maxItems": 7,
        "items": {"type": "integer", "minimum": 0, "maximum": 0},
    },
    "patterns": {
        "type": "array",
        "prefixItems": [
            {"type": "string", "pattern": pattern}
            for pattern in (r"^[a-z]{2,4}-\d+$", r"^(yes|no)?$", r"s", r'^["\\^\]-]+$', r"^[^a-y]$")
        ],
        "minItems": 5,
    },
    "formats": {
        "type": "array",
        "prefixItems": [{"type": "string", "format": f} for f in ("date", "date-time", "uuid")],
        "minItems": 3,
    },
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"]},
            {"properties": {"a": {"type": "integer", "minimum": 3}, "b": {"const": "x"}}},
        ],
        "required": ["b"],
    },
    "neighbours": {
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
        "type": "object",
        "properties": {"a": {"type": "null"}, "b": {"type": "boolean"}},
    },
}  # fmt: skip


# Random models seldom end anything, so what ends strings, lists and objects is made likely, and
# bytes that are no characters impossible.
WRITING = {ord(character) + 228: 4.0 for character in '"]}'} | {
    5 + b: -100.0 for b in range(128, 256)
}
HOSTILE: dict[str, Any] = {
    "a circle of references": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
    "a circle of all": {"$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
    "a circle through any": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]},
    "a remote reference": {"$ref": "https://example.com/schema.json"},
    "a file": {"$ref": "file:///etc/passwd"},
    "nothing there": {"$ref": "#/$defs/none"},
    "a billion items": {"type": "array", "items": {}, "minItems": 10**9},
    "up to a billion items": {"type": "array", "items": {}, "maxItems": 10**9},
    "no schema": {"type": "array", "items": 7},
    "no such type": {"type": "text"},
    "no values": {"enum": []},
    "nothing at all": {"type": "object", "properties": {"a": False}, "required": ["a"]},
    "bounds that cross": {"type": "integer", "minimum": 5, "maximum": 4},
    "deep nesting": json.loads('{"items":' * 70 + "{}" + "}" * 70),
    "wide nesting": {"$defs": {f"d{n}": {"anyOf": [{"$ref": f"#/$defs/d{n + 1}", "minimum": m}
                                                    for m in range(2)]}
                               for n in range(40)} | {"d40": {}}, "$ref": "#/$defs/d0"},
    "too many": {"properties": {f"p{n}": {"enum": [n, str(n)]} for n in range(6000)}},
}  # fmt: skip


def test_whatever_is_written_under_a_schema_is_valid_by_it(tiny_model: TinyModel):
    async def story() -> dict[str, list[Any]]:
        fields = {"temperature": 1.0, "max_tokens": 250, "logit_bias": WRITING}
        async with working(tiny_model("llama"), n_parallel=4, n_ctx=4096) as worker:

            async def under(schema: dict[str, Any], seed: int) -> Any:
                wanted = JsonFormat(schema=schema)
                return await ask(worker, "hello", **fields, seed=seed, json_format=wanted)

            return {
                name: await asyncio.gather(*(under(schema, seed) for seed in range(3)))
                for name, schema in SCHEMAS.items()
            }

    for name, answers in asyncio.run(story()).items():
        finished = 0
        for answer in answers:
            assert isinstance(answer.ending, Finished), (name, answer.ending)
            if answer.ending.reason == "stop":
                assert faults(json.loads(answer.text), SCHEMAS[name]) == [], name
                finished += 1
        assert finished, name


def test_hostile_schemas_are_refused_by_name_and_cost_nobody_else_anything(tiny_model: TinyModel):
    async def story() -> tuple[dict[str, Any], Any]:
        async with working(tiny_model("llama")) as worker:
            other = asyncio.create_task(ask(worker, "hello", max_tokens=400, ignore_eos=True))
            refused = {}
            for name, schema in HOSTILE.items():
                wanted = JsonFormat(schema=schema, field="here")
                answer = await ask(worker, "hello", json_format=wanted, max_tokens=5)
                refused[name] = answer.ending
            return refused, await other

    refused, other = asyncio.run(story())
    for name, ending in refused.items():
        assert isinstance(ending, Failed), name
        assert ending.code == "invalid_request_error", name
        assert ending.param.startswith("here"), (name, ending)
        print(name, ending.param, ending.message)
    assert other.ending.completion_tokens == 400


def test_a_schema_whose_ways_multiply_ends_its_own_request_only(tiny_model: TinyModel):
    """Every level may be one of two lists that differ only at their very end."""
    levels = {
        f"d{n}": {"anyOf": [{"type": "array", "minItems": 1, "maxItems": 1 + m,
                             "items": {"$ref": f"#/$defs/d{n + 1}"}} for m in range(2)]}
        for n in range(40)
    }  # fmt: skip
    schema = {"$ref": "#/$defs/d0", "$defs": {**levels, "d40": {"type": "null"}}}

    async def story() -> tuple[Any, Any]:
        async with working(tiny_model("llama")) as worker:
            lost = await ask(worker, "hello", json_format=JsonFormat(schema=schema))
            return lost.ending, (await ask(worker, "hello", max_tokens=3)).ending

    lost, after = asyncio.run(story())
    assert isinstance(lost, Failed) and lost.code == "invalid_request_error", lost
    assert isinstance(after, Finished)
