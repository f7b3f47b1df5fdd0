"""JSON schemas in few words."""

from collections.abc import Sequence
from typing import Any

Shape = dict[str, Any]

ANY: Shape = {}
TEXT: Shape = {"type": "string"}
FLAG: Shape = {"type": "boolean"}
COUNT: Shape = {"type": "integer", "minimum": 0}
NUMBER: Shape = {"type": "number"}
MAPPING: Shape = {"type": "object"}


def record(required: dict[str, Shape], optional: dict[str, Shape] | None = None) -> Shape:
    """Return an object with these properties; it may have others, too."""
    shape = {"type": "object", "properties": required | (optional or {})}
    return shape | ({"required": list(required)} if required else {})


def growing(required: dict[str, Shape], optional: dict[str, Shape] | None = None) -> Shape:
    """Return an object to which properties are added now and then."""
    return record(required, optional) | {"additionalProperties": True}


def number(low: float, high: float) -> Shape:
    """Return a number from ``low`` to ``high``."""
    return {"type": "number", "minimum": low, "maximum": high}


def integer(low: int, high: int) -> Shape:
    """Return a whole number from ``low`` to ``high``."""
    return {"type": "integer", "minimum": low, "maximum": high}


def text(shortest: int, longest: int) -> Shape:
    """Return a string with so many characters."""
    return {"type": "string", "minLength": shortest, "maxLength": longest}


def one_of(values: Sequence[Any]) -> Shape:
    """Return one of some values."""
    return {"enum": list(values)}


def several(items: Shape, fewest: int = 0, most: int | None = None) -> Shape:
    """Return an array."""
    bounds = {"minItems": fewest or None, "maxItems": most}
    return {"type": "array", "items": items} | {k: v for k, v in bounds.items() if v is not None}


def either(*shapes: Shape) -> Shape:
    """Return what is valid by any of ``shapes``."""
    return {"anyOf": list(shapes)}


def or_null(shape: Shape) -> Shape:
    """Return the same or ``null``, which means "not given"."""
    if isinstance(shape.get("type"), str):
        return shape | {"type": [shape["type"], "null"]}
    if "enum" in shape:
        return shape | {"enum": [*shape["enum"], None]}
    options = shape["anyOf"] if shape.keys() == {"anyOf"} else [shape]
    return either(*options, {"type": "null"})


def ref(name: str) -> Shape:
    """Return the shape that has a name of its own."""
    return {"$ref": f"#/components/schemas/{name}"}
