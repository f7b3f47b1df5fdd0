"""The schema that an answer has to be valid by: ``--schema``, in any of its three forms."""

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from mlm.errors import NotFoundError, UsageError

Schema = dict[str, Any]

_MAX_BYTES = 256 * 1024  # the server takes no longer one
_TYPES = {
    "str": "string", "string": "string", "int": "integer", "integer": "integer",
    "float": "number", "number": "number", "bool": "boolean", "boolean": "boolean",
}  # fmt: skip
_FIELD = re.compile(r"([A-Za-z_][\w-]*)(?:[ \t]+([a-z]+)(\[\])?)?[ \t]*(?::[ \t]*(.*\S))?")
_UNCHECKED = ("unevaluatedProperties", "unevaluatedItems", "$dynamicRef")
_EXAMPLE = "--schema 'name, age int, tags str[]', --schema FILE or --schema '{\"type\": …}'"


def read_schema(text: str) -> Schema:
    """Return the schema that ``text`` is, names as a file, or abbreviates.

    The abbreviation is fields, between commas or one a line: ``name``, ``age int``, ``tags str[]``,
    ``about: what is known of them``. In square brackets it means a list of such objects.

    Raises:
        UsageError: it is no schema, or one that no answer can be checked against.
        NotFoundError: there is no such file.
    """
    text = text.strip()
    if text.startswith("{"):
        return _parse(text, "--schema")
    path = Path(text)
    with suppress(OSError):  # a name too long for a file
        if path.is_file():
            return _parse(_read(path), str(path))
    if (schema := _expand(text)) is not None:
        return schema
    if "\n" not in text and (path.suffix or "/" in text):
        raise NotFoundError(f"there is no file {text}", remedy=_EXAMPLE)
    raise UsageError(f"'{text}' is neither a schema nor a file", remedy=_EXAMPLE)


def check_schema(schema: Schema) -> Schema:
    """Return ``schema`` if every word of it can be promised or checked.

    Raises:
        UsageError: it has words of which neither is true.
    """
    for word in _UNCHECKED:
        if f'"{word}"' in json.dumps(schema):
            raise UsageError(f"'{word}' in a schema cannot be checked", remedy="leave it out")
    return schema


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise UsageError(f"{path} is longer than {_MAX_BYTES // 1024} KiB", remedy=_EXAMPLE)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text", remedy=_EXAMPLE) from error


def _parse(text: str, source: str) -> Schema:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{source} is not JSON: {error}", remedy=_EXAMPLE) from error
    if not isinstance(schema, dict):
        raise UsageError(f"{source} is not a JSON object", remedy=_EXAMPLE)
    return check_schema(schema)


def _expand(text: str) -> Schema | None:
    """Return what a short form means; None if it is not one."""
    if text.startswith("[") and text.endswith("]"):
        members = _expand(text[1:-1].strip())
        return None if members is None else {"type": "array", "items": members}
    properties: dict[str, Schema] = {}
    for part in re.split(r"\n" if "\n" in text else ",", text):
        if not (part := part.strip().removesuffix(",")):
            continue
        found = _FIELD.fullmatch(part)
        if found is None or (found[2] and found[2] not in _TYPES) or found[1] in properties:
            return None
        name, kind, is_list, about = found.groups()
        value: Schema = {"type": _TYPES[kind or "str"]}
        if is_list:
            value = {"type": "array", "items": value}
        properties[name] = value | ({"description": about} if about else {})
    if not properties:
        return None
    return {"type": "object", "properties": properties, "required": list(properties)}
