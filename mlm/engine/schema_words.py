"""What the keywords of a JSON schema say of each other: merging, implied types. Pure."""

from collections.abc import Mapping
from typing import Any

UNPROMISED = (
    "not", "if", "then", "else", "patternProperties", "propertyNames", "minProperties",
    "maxProperties", "dependentRequired", "dependentSchemas", "unevaluatedProperties",
    "unevaluatedItems", "contains", "minContains", "maxContains", "uniqueItems", "multipleOf",
    "$dynamicRef",
)  # fmt: skip
IMPLIED = {  # the type of a schema that names none
    "object": ("properties", "required", "additionalProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems"),
    "string": ("pattern", "minLength", "maxLength", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
CONSTRAINTS = {
    "type", "enum", "const", "anyOf", "oneOf", "allOf", "$ref", *UNPROMISED,
    *(name for names in IMPLIED.values() for name in names),
}  # fmt: skip

Schema = Mapping[str, Any]


class SchemaError(Exception):
    """A schema that no grammar can be made of. ``where`` is a path such as ``.items.type``."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(reason)
        self.where = where


def imply_type(schema: Schema) -> str | None:
    implied = (kind for kind, names in IMPLIED.items() if any(name in schema for name in names))
    return next(implied, None)


def items_of(schema: Schema, keyword: str, where: str) -> list[Any]:
    members = schema[keyword]
    if not isinstance(members, list) or not members:
        raise SchemaError(f"{where}.{keyword}", "it must be a list that is not empty")
    return members


def merge(left: Any, right: Any, where: str) -> Schema:
    """Return a schema that says what both say."""
    if isinstance(left, bool) or isinstance(right, bool):
        if left is False or right is False:
            raise SchemaError(where, "it allows nothing")
        return dict(right if left is True else left) if left is not right else {}
    if not isinstance(left, Mapping) or not isinstance(right, Mapping):
        raise SchemaError(where, "a schema must be an object, true or false")
    merged = dict(left)
    for key, value in right.items():
        if key not in merged or merged[key] == value or key not in CONSTRAINTS:
            merged[key] = value
        elif key == "properties" and isinstance(value, Mapping):
            both = {k: {"allOf": [merged[key][k], value[k]]} for k in value if k in merged[key]}
            merged[key] = {**merged[key], **value, **both}
        elif key == "required" and isinstance(value, list):
            merged[key] = [*merged[key], *value]
        elif key in ("anyOf", "oneOf", "allOf"):
            merged["allOf"] = [*merged.get("allOf", []), {key: value}]
        else:
            merged[key] = _narrow(key, merged[key], value, where)
    return merged


def _narrow(key: str, left: Any, right: Any, where: str) -> Any:
    """Return what a keyword says that is given twice."""
    numbers = all(type(value) in (int, float) for value in (left, right))
    if numbers and key.lower().startswith(("min", "exclusivemin")):
        return max(left, right)
    if numbers and key.lower().startswith(("max", "exclusivemax")):
        return min(left, right)
    if key in ("type", "enum"):
        lefts, rights = (v if isinstance(v, list) else [v] for v in (left, right))
        if key == "type" and {"number", "integer"} <= {*map(str, lefts), *map(str, rights)}:
            return "integer"
        if both := [value for value in lefts if value in rights]:
            return both if key == "enum" or len(both) > 1 else both[0]
    raise SchemaError(f"{where}.{key}", f"two different '{key}' cannot be combined")
