"""Whether a JSON value is valid by a schema (JSON Schema 2020-12, its validation vocabulary).

The grammar that an answer is held to promises most of it; this also holds an answer to what no
grammar can promise. ``format`` is a remark there, and is none of this file's business.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

_KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "null": type(None), "boolean": bool,
    "number": (int, float), "integer": int,
}  # fmt: skip


def find_fault(value: Any, schema: Any) -> str | None:
    """Return what is wrong with ``value`` by ``schema``, and where; None if it is valid."""
    try:
        return next(_Check(schema).faults(value, schema, "$"), None)
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError,
            re.error) as error:  # fmt: skip
        return f"the schema itself cannot be understood: {error}"


class _Check:
    """One schema; references in it lead to places in ``root``."""

    def __init__(self, root: Any) -> None:
        self._root = root

    def faults(self, value: Any, schema: Any, where: str) -> Iterator[str]:
        """Yield what is wrong with the part of an answer at ``where``."""
        if schema is False:
            yield f"{where} is not allowed"
        if not isinstance(schema, Mapping):
            return
        for word, says in schema.items():
            if word in _RULES and not _RULES[word](value, says):
                yield f"{where} is not what '{word}' asks for: {json.dumps(says)[:200]}"
        yield from self._combined(value, schema, where)
        if isinstance(value, dict):
            yield from self._members(value, schema, where)
        if isinstance(value, list):
            yield from self._items(value, schema, where)

    def _fits(self, value: Any, schema: Any) -> bool:
        return next(self.faults(value, schema, ""), None) is None

    def _combined(self, value: Any, schema: Mapping[str, Any], where: str) -> Iterator[str]:
        if "$ref" in schema:
            yield from self.faults(value, self._resolve(schema["$ref"]), where)
        for part in schema.get("allOf", ()):
            yield from self.faults(value, part, where)
        for word, allowed in (("anyOf", range(1, 10**6)), ("oneOf", range(1, 2))):
            if word in schema:
                n_fitting = sum(self._fits(value, part) for part in schema[word])
                if n_fitting not in allowed:
                    yield f"{where} fits {n_fitting} of the schemas in '{word}'"
        if "not" in schema and self._fits(value, schema["not"]):
            yield f"{where} is what 'not' forbids"
        if "if" in schema:
            branch = "then" if self._fits(value, schema["if"]) else "else"
            yield from self.faults(value, schema.get(branch, True), where)

    def _members(
        self, value: dict[str, Any], schema: Mapping[str, Any], where: str
    ) -> Iterator[str]:
        known, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, member in value.items():
            parts = [known[name]] if name in known else []
            parts += [part for pattern, part in patterns.items() if re.search(pattern, name)]
            for part in parts or [schema.get("additionalProperties", True)]:
                yield from self.faults(member, part, f"{where}.{name}")
            yield from self.faults(name, schema.get("propertyNames", True), f"{where}.{name}")
        for name, needed in schema.get("dependentRequired", {}).items():
            if name in value and not set(needed) <= set(value):
                yield f"{where} has '{name}' without what 'dependentRequired' asks for"
        for name, part in schema.get("dependentSchemas", {}).items():
            if name in value:
                yield from self.faults(value, part, where)

    def _items(self, value: list[Any], schema: Mapping[str, Any], where: str) -> Iterator[str]:
        first, others = schema.get("prefixItems", []), schema.get("items", True)
        if isinstance(others, list):  # how tuples were written before 2020
            first, others = others, schema.get("additionalItems", True)
        for i, item in enumerate(value):
            part = first[i] if i < len(first) else others
            yield from self.faults(item, part, f"{where}[{i}]")
        if "contains" in schema:
            n_found = sum(self._fits(item, schema["contains"]) for item in value)
            least, most = schema.get("minContains", 1), schema.get("maxContains", n_found)
            if not least <= n_found <= most:
                yield f"{where} holds {n_found} items that 'contains' counts"

    def _resolve(self, ref: str) -> Any:
        target = self._root
        for step in ref.split("/")[1:]:  # the server has followed it before
            step = step.replace("~1", "/").replace("~0", "~")
            target = target[int(step)] if isinstance(target, list) else target[step]
        return target


def _is_of(value: Any, kinds: Any) -> bool:
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if isinstance(value, bool):
            fits = kind == "boolean"
        elif kind == "integer" and isinstance(value, float):
            fits = value.is_integer()
        else:
            fits = isinstance(value, _KINDS.get(kind, ()))
        if fits:
            return True
    return False


def _canonical(value: Any) -> str:
    """Return a text that is the same for equal values: 1 is 1.0, but not true."""
    if isinstance(value, list):
        return f"[{','.join(map(_canonical, value))}]"
    if isinstance(value, dict):
        pairs = sorted((name, _canonical(member)) for name, member in value.items())
        return json.dumps(pairs)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value)


def _of_number(holds: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, says: not _is_of(value, "number") or holds(value, says)


def _of_size(kind: str, holds: Callable[[int, int], bool]) -> Callable[[Any, Any], bool]:
    return lambda value, says: not _is_of(value, kind) or holds(len(value), says)


_RULES: dict[str, Callable[[Any, Any], bool]] = {
    "type": _is_of,
    "const": lambda value, says: _canonical(value) == _canonical(says),
    "enum": lambda value, says: _canonical(value) in map(_canonical, says),
    "required": lambda value, says: not isinstance(value, dict) or set(says) <= set(value),
    "pattern": lambda value, says: not isinstance(value, str) or bool(re.search(says, value)),
    "minimum": _of_number(lambda value, says: value >= says),
    "maximum": _of_number(lambda value, says: value <= says),
    "exclusiveMinimum": _of_number(lambda value, says: value > says),
    "exclusiveMaximum": _of_number(lambda value, says: value < says),
    "multipleOf": _of_number(lambda value, says: Fraction(repr(value)) % Fraction(repr(says)) == 0),
    "minLength": _of_size("string", int.__ge__),
    "maxLength": _of_size("string", int.__le__),
    "minItems": _of_size("array", int.__ge__),
    "maxItems": _of_size("array", int.__le__),
    "minProperties": _of_size("object", int.__ge__),
    "maxProperties": _of_size("object", int.__le__),
    "uniqueItems": lambda value, says: (
        not says or not isinstance(value, list) or len(set(map(_canonical, value))) == len(value)
    ),
}
