"""Checks a value against the published JSON Schema, of which it reads the part that mlm uses.

The schema that editors read and the one that mlm enforces are the same file, so they cannot
disagree. A keyword that is not understood here is an error, not a rule silently skipped.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from mlm.strictyaml import KeyPath

Schema = dict[str, Any]

_NOTES = {"$schema", "title", "description", "$defs"}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as the schema wants it."""

    path: KeyPath
    problem: str
    remedy: str | None = None


def find_violations(value: Any, schema: Schema) -> list[Violation]:
    """Return everything in ``value`` that breaks ``schema``, in the order of the document."""
    return list(_check(value, schema, schema, ()))


def _check(value: Any, schema: Schema, root: Schema, path: KeyPath) -> Iterator[Violation]:
    """Find violations; what is wrong with the value itself is told with its description."""
    for violation in _check_value(value, schema, root, path):
        if violation.path == path and violation.remedy is None and "description" in schema:
            violation = replace(violation, remedy=schema["description"])
        yield violation


def _check_value(value: Any, schema: Schema, root: Schema, path: KeyPath) -> Iterator[Violation]:
    if "$ref" in schema:
        name = schema["$ref"].removeprefix("#/$defs/")
        yield from _check(value, root["$defs"][name], root, path)
        return
    if unknown := set(schema) - _NOTES - _KEYWORDS:
        raise ValueError(f"schema keywords that mlm does not read: {sorted(unknown)}")
    if "type" in schema and not _has_type(value, schema["type"]):
        yield Violation(path, f"must be {_article(schema['type'])}, not {_shown(value)}")
        return
    if "enum" in schema and value not in schema["enum"]:
        yield Violation(path, f"{_shown(value)} is none of {', '.join(schema['enum'])}")
    elif isinstance(value, str):
        yield from _check_text(value, schema, path)
    elif isinstance(value, dict):
        yield from _check_object(value, schema, root, path)
    elif isinstance(value, list):
        yield from _check_list(value, schema, root, path)
    elif isinstance(value, int | float):
        yield from _check_number(value, schema, path)


def _check_text(value: str, schema: Schema, path: KeyPath) -> Iterator[Violation]:
    if len(value) < schema.get("minLength", 0):
        yield Violation(path, "is too short")
    if len(value) > schema.get("maxLength", len(value)):
        yield Violation(path, f"is longer than {schema['maxLength']} characters")
    # As in JavaScript, $ is the end of the text; in Python it may stand before a last newline.
    if "pattern" in schema and (value.endswith("\n") or not re.search(schema["pattern"], value)):
        yield Violation(path, f"{_shown(value)} does not match {schema['pattern']}")


def _check_number(value: float, schema: Schema, path: KeyPath) -> Iterator[Violation]:
    if value < schema.get("minimum", value):
        yield Violation(path, f"{value} is less than {schema['minimum']}")
    if value > schema.get("maximum", value):
        yield Violation(path, f"{value} is more than {schema['maximum']}")


def _check_object(
    value: dict[str, Any], schema: Schema, root: Schema, path: KeyPath
) -> Iterator[Violation]:
    for key in schema.get("required", ()):
        if key not in value:
            yield Violation(path, f"'{key}' is missing")
    known = schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    for key, item in value.items():
        if "propertyNames" in schema:
            yield from _check(key, schema["propertyNames"], root, (*path, key))
        if key in known:
            yield from _check(item, known[key], root, (*path, key))
        elif others is False:
            yield Violation((*path, key), f"unknown field '{key}'{_nearest(key, known)}")
        elif isinstance(others, dict):
            yield from _check(item, others, root, (*path, key))


def _check_list(
    value: list[Any], schema: Schema, root: Schema, path: KeyPath
) -> Iterator[Violation]:
    if len(value) < schema.get("minItems", 0):
        yield Violation(path, "must not be empty")
    if schema.get("uniqueItems") and any(item in value[:n] for n, item in enumerate(value)):
        yield Violation(path, "has the same item twice")
    for n, item in enumerate(value):
        yield from _check(item, schema.get("items", {}), root, (*path, n))


def _has_type(value: Any, name: str) -> bool:
    if isinstance(value, bool):  # to Python a bool is an integer
        return name == "boolean"
    return isinstance(value, _TYPES[name])


def _article(name: str) -> str:
    name = {"object": "mapping", "array": "list", "string": "text"}.get(name, name)
    return name if name == "text" else f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _nearest(key: str, known: dict[str, Any]) -> str:
    from difflib import get_close_matches  # only when something is wrong

    near = get_close_matches(key, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


_KEYWORDS = {
    "type", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum",
    "properties", "required", "additionalProperties", "propertyNames",
    "items", "minItems", "uniqueItems",
}  # fmt: skip
