"""Whether a JSON value is valid by a schema: the keywords that mlm promises, and no others."""

import datetime
import re
import uuid
from typing import Any

_TYPES: dict[str, Any] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None),
    "number": (int, float),
}  # fmt: skip
_FORMATS = {
    "date": datetime.date.fromisoformat,
    "date-time": datetime.datetime.fromisoformat,
    "uuid": uuid.UUID,
}


def faults(value: Any, schema: Any, root: Any = None) -> list[str]:
    """Return what is wrong with ``value``."""
    root = schema if root is None else root
    if isinstance(schema, bool):
        return [] if schema else ["nothing is allowed"]
    found = [f"{key}: {value!r}" for key, check in _CHECKS.items()
             if key in schema and not check(value, schema[key])]  # fmt: skip
    if "$ref" in schema:
        found += faults(value, _resolve(schema["$ref"], root), root)
    for member in schema.get("allOf", []):
        found += faults(value, member, root)
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema and all(faults(value, member, root) for member in schema[keyword]):
            found.append(f"{keyword}: {value!r}")
    if isinstance(value, dict):
        known = schema.get("properties", {})
        for name, member in value.items():
            others = schema.get("additionalProperties", True)
            found += faults(member, known.get(name, others), root)
            found += faults(name, schema.get("propertyNames", True), root)
    if isinstance(value, list):
        fixed = schema.get("prefixItems", [])
        for i, item in enumerate(value):
            member = fixed[i] if i < len(fixed) else schema.get("items", True)
            found += faults(item, member, root)
    return found


def _resolve(ref: str, root: Any) -> Any:
    for step in ref.split("/")[1:]:
        root = root[step.replace("~1", "/").replace("~0", "~")]
    return root


def _is(value: Any, kinds: Any) -> bool:
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if kind == "integer":
            if isinstance(value, int) and not isinstance(value, bool):
                return True
        elif isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool)):
            return True
    return False


def _has_format(value: Any, name: str) -> bool:
    if not isinstance(value, str) or name not in _FORMATS:
        return True
    try:
        _FORMATS[name](value.replace("Z", "+00:00"))
    except ValueError as error:
        return "out of range" in str(error)  # a year 0, a 29th of February: annotations anyway
    return True


def _sized(kind: Any, compare: Any) -> Any:
    return lambda value, bound: not isinstance(value, kind) or compare(len(value), bound)


def _numeric(compare: Any) -> Any:
    return lambda value, bound: not _is(value, "number") or compare(value, bound)


_CHECKS: dict[str, Any] = {
    "type": _is,
    "format": _has_format,
    "enum": lambda value, allowed: any(
        value == one and type(value) is type(one) for one in allowed
    ),
    "const": lambda value, only: value == only,
    "required": lambda value, names: not isinstance(value, dict) or set(names) <= set(value),
    "pattern": lambda value, p: not isinstance(value, str) or re.search(p, value) is not None,
    "minLength": _sized(str, int.__ge__),
    "maxLength": _sized(str, int.__le__),
    "maxProperties": _sized(dict, int.__le__),
    "minItems": _sized(list, int.__ge__),
    "maxItems": _sized(list, int.__le__),
    "minimum": _numeric(lambda a, b: a >= b),
    "maximum": _numeric(lambda a, b: a <= b),
    "exclusiveMinimum": _numeric(lambda a, b: a > b),
    "exclusiveMaximum": _numeric(lambda a, b: a < b),
}
