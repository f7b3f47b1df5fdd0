"""JSON schemas as grammars: whatever the grammar lets a model write is valid by the schema.

Not the other way round: a grammar may allow less than its schema does. Properties come in the
order of the schema, and none that it does not name where it names any. What no grammar can
promise (`UNPROMISED`) is left to the model, or with ``strict`` refused.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import unquote

from mlm.engine.gbnf import (
    MAX_REPEAT,
    Grammar,
    GrammarTooLarge,
    either,
    integers,
    json_list,
    json_literal,
)
from mlm.engine.pattern_grammar import PatternError, pattern_rule
from mlm.engine.schema_words import (
    CONSTRAINTS,
    IMPLIED,
    UNPROMISED,
    Schema,
    SchemaError,
    imply_type,
    items_of,
    merge,
)

MAX_SCHEMAS = 5_000  # visited, those behind a $ref each time; OpenAI allows as many properties
MAX_DEPTH = 60
_TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")
_BOUNDS = IMPLIED["number"]
_FORMATS = ("date", "time", "date-time", "uuid")


def schema_rule(grammar: Grammar, schema: object, *, strict: bool) -> str:
    """Add the rules for ``schema`` to ``grammar`` and return the name of the first.

    Raises:
        SchemaError: it is not a schema, allows nothing, or asks for too much.
    """
    try:
        return _Translation(grammar, schema, strict).visit(schema, "", ())
    except GrammarTooLarge:
        raise SchemaError("", "it is too large") from None


class _Translation:
    """One schema being turned into rules.

    ``open_refs``: the references followed since the last step into an object or an array; one
    that comes up again would never arrive anywhere.
    """

    def __init__(self, grammar: Grammar, root: object, strict: bool) -> None:
        self._grammar, self._root, self._strict = grammar, root, strict
        self._by_ref: dict[str, str] = {}
        self._n_visited = self._depth = 0
        self._by_type: dict[str, Callable[[Schema, str], str]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "number": self._number,
            "integer": self._integer,
        }

    def visit(self, schema: object, where: str, open_refs: tuple[str, ...] = ()) -> str:
        """Return the name of the rule for a schema."""
        self._n_visited += 1
        self._depth += 1
        if self._n_visited > MAX_SCHEMAS or self._depth > MAX_DEPTH:
            raise SchemaError("", "it is too large or nested too deeply")
        try:
            if schema is False:
                raise SchemaError(where, "it allows nothing")
            if schema is True:
                return self._grammar.json("value")
            if not isinstance(schema, Mapping):
                raise SchemaError(where, "a schema must be an object, true or false")
            return self._combined(schema, where, open_refs)
        finally:
            self._depth -= 1

    def _combined(self, schema: Schema, where: str, open_refs: tuple[str, ...]) -> str:
        """Follow the keywords that refer to other schemas; what remains is a plain one."""
        for keyword in UNPROMISED:
            if keyword in schema:
                self._cannot(f"{where}.{keyword}", f"'{keyword}' cannot be promised")
        if "$ref" in schema:
            return self._reference(schema, where, open_refs)
        if "allOf" in schema:
            return self.visit(self._merge_all(schema, where), where, open_refs)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                return self._alternatives(schema, keyword, where, open_refs)
        if "const" in schema or "enum" in schema:
            return self._values(schema, where)
        return self._typed(schema, where, open_refs)

    def _typed(self, schema: Schema, where: str, open_refs: tuple[str, ...]) -> str:
        kinds = _types_of(schema, where)
        if len(kinds) > 1:
            alternatives = [{**schema, "type": one} for one in kinds]
            return self._either(alternatives, f"{where}.type", open_refs)
        kind = kinds[0] if kinds else imply_type(schema)
        if kind is None:
            return self._grammar.json("value")
        if kind in self._by_type:
            return self._grammar.add(self._by_type[kind](schema, where))
        return self._grammar.json(kind)

    def _reference(self, schema: Schema, where: str, open_refs: tuple[str, ...]) -> str:
        ref = schema["$ref"]
        others = {key: value for key, value in schema.items() if key != "$ref"}
        if not CONSTRAINTS.isdisjoint(others):
            merged = merge(self._resolve(ref, where), others, where)
            return self.visit(merged, where, self._opened(ref, where, open_refs))
        opened = self._opened(ref, where, open_refs)
        target = self._resolve(ref, where)
        if ref not in self._by_ref:
            self._by_ref[ref] = name = self._grammar.reserve()
            self._grammar.define(name, self.visit(target, where, opened))
        return self._by_ref[ref]

    def _opened(self, ref: Any, where: str, open_refs: tuple[str, ...]) -> tuple[str, ...]:
        if ref in open_refs:
            raise SchemaError(f"{where}.$ref", "it refers to itself and to nothing else")
        return (*open_refs, ref)

    def _resolve(self, ref: object, where: str) -> Any:
        """Return what a reference inside this schema points to (RFC 6901)."""
        where = f"{where}.$ref"
        if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
            raise SchemaError(where, "only references inside the schema ('#/...') are followed")
        target: Any = self._root
        for step in ref.split("/")[1:]:
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(target, list) and step.isdecimal() and int(step) < len(target):
                target = target[int(step)]
            elif isinstance(target, Mapping) and step in target:
                target = target[step]
            else:
                raise SchemaError(where, f"there is nothing at {ref[:100]!r}")
        return target

    def _merge_all(self, schema: Schema, where: str) -> Schema:
        """Return a schema that says what all members of ``allOf`` and its neighbours say."""
        merged: Schema = {key: value for key, value in schema.items() if key != "allOf"}
        for member in items_of(schema, "allOf", where):
            seen: set[object] = set()
            while isinstance(member, Mapping) and "$ref" in member:
                ref = member["$ref"]
                if not isinstance(ref, str) or ref in seen:
                    raise SchemaError(f"{where}.allOf", "a reference that leads nowhere")
                seen.add(ref)
                others = {key: value for key, value in member.items() if key != "$ref"}
                member = merge(self._resolve(ref, where), others, where)
            self._n_visited += 1
            if self._n_visited > MAX_SCHEMAS:
                raise SchemaError("", "it is too large")
            merged = merge(merged, member, where)
        return merged

    def _alternatives(
        self, schema: Schema, keyword: str, where: str, open_refs: tuple[str, ...]
    ) -> str:
        others = {key: value for key, value in schema.items() if key != keyword}
        members = items_of(schema, keyword, where)
        if not CONSTRAINTS.isdisjoint(others):
            members = [{"allOf": [others, member]} for member in members]
        return self._either(members, f"{where}.{keyword}", open_refs)

    def _either(self, members: list[Any], where: str, open_refs: tuple[str, ...]) -> str:
        rules = [
            self.visit(member, f"{where}[{i}]", open_refs)
            for i, member in enumerate(members)
            if member is not False
        ]
        if not rules:
            raise SchemaError(where, "it allows nothing")
        return self._grammar.add(either(rules))

    def _values(self, schema: Schema, where: str) -> str:
        values = [schema["const"]] if "const" in schema else items_of(schema, "enum", where)
        kinds = _types_of(schema, where) or _TYPES
        fitting = [value for value in values if any(_is_of_type(value, kind) for kind in kinds)]
        if not fitting:
            raise SchemaError(where, "no value of 'enum' or 'const' is of its 'type'")
        return self._grammar.add(either(map(json_literal, fitting)))

    def _object(self, schema: Schema, where: str) -> str:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        if not isinstance(properties, Mapping):
            raise SchemaError(f"{where}.properties", "it must be an object")
        if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
            raise SchemaError(f"{where}.required", "it must be a list of strings")
        others = schema.get("additionalProperties", True)
        named = dict(properties) | {name: others for name in required if name not in properties}
        space, comma = self._grammar.json("space"), self._grammar.json("comma")
        if not named and others is not False and "properties" not in schema:
            value = self.visit(others, f"{where}.additionalProperties")
            pair = f"{self._grammar.json('string')} {self._grammar.json('colon')} {value}"
            more = self._grammar.add(f"{comma} {pair}")
            return f'"{{" {space} ({pair} {more}* {space})? "}}"'
        # From the last property to the first: what may follow when there is something before …
        rest = first = space
        empty = True  # … and when there is nothing yet
        for name in reversed(named):
            value = self.visit(named[name], f"{where}.properties.{name}")
            pair = f"{json_literal(name)} {self._grammar.json('colon')} {value}"
            pair_rule = self._grammar.add(pair)
            here = f"{pair_rule} {rest}"
            if name in required:
                first, empty = self._grammar.add(here), False
                rest = self._grammar.add(f"{comma} {here}")
            else:
                first = self._grammar.add(f"{here} | {first}" if first != space else here)
                rest = self._grammar.add(f"{comma} {here} | {rest}")
        body = "" if first == space else f"({first})?" if empty else first
        return f'"{{" {space} {body} "}}"'

    def _array(self, schema: Schema, where: str) -> str:
        least, most = self._size(schema, "minItems", "maxItems", where)
        fixed, others = schema.get("prefixItems", []), schema.get("items", True)
        if isinstance(others, list):  # how tuples were written before 2020
            fixed, others = others, schema.get("additionalItems", True)
        if not isinstance(fixed, list):
            raise SchemaError(f"{where}.prefixItems", "it must be a list")
        if not fixed:
            if others is False or most == 0:
                if least:
                    raise SchemaError(where, "it allows nothing")
                return json_list(self._grammar, "", 0, 0)
            item = self.visit(others, f"{where}.items")
            return json_list(self._grammar, item, least, most)
        members = [*fixed, *[others] * (least - len(fixed))][:most]
        items = [self.visit(member, f"{where}.items[{i}]") for i, member in enumerate(members)]
        space = self._grammar.json("space")
        listed = f" {self._grammar.json('comma')} ".join(items)
        return f'"[" {space} {listed} {space} "]"'

    def _string(self, schema: Schema, where: str) -> str:
        pattern, form = schema.get("pattern"), schema.get("format")
        if pattern is not None:
            if "minLength" in schema or "maxLength" in schema:
                self._cannot(f"{where}.pattern", "a pattern and a length cannot both be promised")
            try:
                return pattern_rule(self._grammar, str(pattern))
            except PatternError as error:
                self._cannot(f"{where}.pattern", f"this pattern cannot be promised: {error}")
        elif form in _FORMATS:
            return rf'"\"" {self._grammar.json(form)} "\""'
        least, most = self._size(schema, "minLength", "maxLength", where)
        return rf'"\"" {self._grammar.repeat(self._grammar.json("char"), least, most)} "\""'

    def _integer(self, schema: Schema, where: str) -> str:
        lows = [_whole(schema, "minimum", where, 0), _whole(schema, "exclusiveMinimum", where, 1)]
        highs = [_whole(schema, "maximum", where, 0), _whole(schema, "exclusiveMaximum", where, -1)]
        low = max((bound for bound in lows if bound is not None), default=None)
        high = min((bound for bound in highs if bound is not None), default=None)
        if low is not None and high is not None and low > high:
            raise SchemaError(where, "it allows nothing")
        return either(integers(low, high))

    def _number(self, schema: Schema, where: str) -> str:
        bounds = {name: schema[name] for name in _BOUNDS if name in schema}
        if bounds == {"minimum": 0}:
            return self._grammar.json("positive")
        for name in bounds:
            self._cannot(f"{where}.{name}", f"'{name}' of a number other than a minimum of 0, "
                         "or of an integer, cannot be promised")  # fmt: skip
        return self._grammar.json("number")

    def _size(
        self, schema: Schema, least_name: str, most_name: str, where: str
    ) -> tuple[int, int | None]:
        """Return the bounds of a length."""
        for name in (least_name, most_name):
            if name in schema and (type(schema[name]) is not int or schema[name] < 0):
                raise SchemaError(f"{where}.{name}", "it must be a whole number from 0 on")
        least: int = schema.get(least_name, 0)
        most: int | None = schema.get(most_name)
        if most_name == "maxLength" and most is not None and most > MAX_REPEAT:
            self._cannot(f"{where}.{most_name}", f"more than {MAX_REPEAT} cannot be counted")
            most = None
        for name, bound in ((least_name, least), (most_name, most)):
            if bound is not None and bound > MAX_REPEAT:
                raise SchemaError(f"{where}.{name}", f"more than {MAX_REPEAT} cannot be counted")
        if most is not None and least > most:
            raise SchemaError(where, "it allows nothing")
        return least, most

    def _cannot(self, where: str, reason: str) -> None:
        if self._strict:
            raise SchemaError(where, f"{reason}, which 'strict' asks for")


def _types_of(schema: Schema, where: str) -> list[str]:
    """Return the types that a schema names, if it does."""
    if "type" not in schema:
        return []
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    unknown = [kind for kind in kinds if not isinstance(kind, str) or kind not in _TYPES]
    if unknown or not kinds:
        raise SchemaError(f"{where}.type", f"there is no type {str(unknown)[1:40]}")
    return kinds


def _is_of_type(value: Any, kind: object) -> bool:
    kinds: dict[object, type | tuple[type, ...]] = {
        "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
        "number": (int, float), "integer": int,
    }  # fmt: skip
    if isinstance(value, bool):
        return kind == "boolean"
    return kind in kinds and isinstance(value, kinds[kind])


def _whole(schema: Schema, name: str, where: str, step: int) -> int | None:
    """Return an inclusive bound of whole numbers."""
    bound = schema.get(name)
    if bound is None:
        return None
    if isinstance(bound, bool) or not isinstance(bound, int | float):
        raise SchemaError(f"{where}.{name}", "it must be a number")
    if abs(bound) > 10**15:
        raise SchemaError(f"{where}.{name}", "it is too large")
    if step == 0:
        return int(bound // 1) if name == "maximum" else -int(-bound // 1)
    return (int(-(-bound // 1)) if step < 0 else int(bound // 1)) + step
