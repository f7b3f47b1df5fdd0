"""The schema that an answer has to be valid by: ``--schema``, in any of its three forms."""

import errno
import json
import re
from pathlib import Path
from typing import Any

from mlm import strictjson
from mlm.cli._stdin import read_file
from mlm.errors import NotFoundError, UsageError
from mlm.text import decode

Schema = dict[str, Any]

_MAX_CHARS = 256 * 1024  # the server takes no longer one
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
    if _is_there(path):
        decoded, remark = decode(read_file(path), str(path))
        if remark:  # a name in it would be another one
            raise UsageError(f"{path} is {remark}", remedy="iconv -f latin1 -t utf-8")
        return _parse(decoded, str(path))
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


def _is_there(path: Path) -> bool:
    """Tell whether it is a file or a pipe, or might be one, if only it could be looked at."""
    try:
        return not path.is_dir() and path.stat() is not None
    except OSError as error:
        return error.errno == errno.EACCES
    except ValueError:  # a NUL in it
        return False


def _parse(text: str, source: str) -> Schema:
    if len(text) > _MAX_CHARS:
        raise UsageError(f"{source} is longer than {_MAX_CHARS // 1024} KiB", remedy=_EXAMPLE)
    try:
        schema = strictjson.load(text)
    except ValueError as error:
        raise UsageError(f"{source} {error}", remedy=_EXAMPLE) from error
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
