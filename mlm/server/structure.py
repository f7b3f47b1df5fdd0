"""What an answer has to look like: OpenAI's response formats, tools and choice of tools.

Whether a schema makes sense is found out by the worker, in its sandbox; here only its size counts.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from mlm.engine.messages import JsonFormat, ToolChoice
from mlm.server.conversation import MAX_CALLS
from mlm.server.errors import invalid
from mlm.server.fields import Fields, wrong_type

MAX_TOOLS = MAX_CALLS  # as OpenAI's API reference has it
MAX_SCHEMA_BYTES = 256 * 1024  # as JSON
MAX_TOOLS_BYTES = 1024**2  # all of them; they have to fit into a prompt, too
NAME_PATTERN = "[a-zA-Z0-9_.-]{1,64}"  # OpenAI's, and dots
_NAME = re.compile(NAME_PATTERN)
_CHOICES = "'none', 'auto', 'required', or an object that names functions"

Tool = dict[str, Any]


def read_response_format(fields: Fields) -> JsonFormat | None:
    """Return the format that ``response_format`` asks for; None for text."""
    given = fields.mapping("response_format")
    kind = given.get("type", "text" if not given else None)
    if kind == "text":
        return None
    if kind == "json_object":
        where = "response_format.schema"  # llama.cpp's
        schema = given.get("schema")
        return _read_format({"type": "object"} if schema is None else schema, where, strict=False)
    if kind != "json_schema":
        raise invalid(
            "'response_format.type' must be text, json_object or json_schema",
            "response_format.type",
        )
    where = "response_format.json_schema"
    described = given.get("json_schema")
    if not isinstance(described, dict):
        raise wrong_type(where, "an object")
    strict = described.get("strict")
    if not isinstance(strict, bool | None):
        raise wrong_type(f"{where}.strict", "true or false")
    return _read_format(described.get("schema", {}), f"{where}.schema", strict=bool(strict))


def read_json_schema(fields: Fields) -> JsonFormat | None:
    """Return the format that llama.cpp's field ``json_schema`` asks for."""
    schema = fields.any("json_schema")
    return None if schema is None else _read_format(schema, "json_schema", strict=False)


def read_tools(fields: Fields) -> list[Tool]:
    """Return the functions that ``tools`` describes."""
    given = fields.any("tools")
    if given is None:
        return []
    if not isinstance(given, list):
        raise wrong_type("tools", "a list of functions")
    if len(given) > MAX_TOOLS:
        raise invalid(f"'tools' holds more than {MAX_TOOLS} functions", "tools")
    tools = [_read_tool(tool, f"tools[{i}]") for i, tool in enumerate(given)]
    names = set()
    for i, name in enumerate(map(name_of, tools)):
        if name in names:
            where = f"tools[{i}].function.name"
            raise invalid(f"'{where}': there are two functions '{name}'", where)
        names.add(name)
    if len(msgspec.json.encode(tools)) > MAX_TOOLS_BYTES:
        raise invalid(f"'tools' is larger than {MAX_TOOLS_BYTES} bytes", "tools")
    return tools


def read_tool_choice(fields: Fields, tools: list[Tool]) -> ToolChoice | None:
    """Return which of ``tools`` may be called; None when none may be."""
    given = fields.any("tool_choice")
    parallel = fields.flag("parallel_tool_calls", default=True)
    choice = _read_choice("auto" if given is None else given)
    if choice is None:
        return None
    if not tools:
        if choice.required or choice.names:
            raise invalid("'tool_choice': there are no 'tools' to choose from", "tool_choice")
        return None
    known = set(map(name_of, tools))
    for name in choice.names or ():
        if name not in known:
            raise invalid(f"'tool_choice': no tool is called '{name[:64]}'", "tool_choice")
    return msgspec.structs.replace(choice, parallel=parallel)


def name_of(tool: Mapping[str, Any]) -> str:
    """Return the name of a tool's function."""
    return str(tool["function"]["name"])


def _read_format(schema: object, where: str, *, strict: bool) -> JsonFormat:
    return JsonFormat(schema=_read_schema(schema, where), strict=strict, field=where)


def _read_schema(schema: object, where: str) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise wrong_type(where, "an object")
    if len(msgspec.json.encode(schema)) > MAX_SCHEMA_BYTES:
        raise invalid(f"'{where}' is larger than {MAX_SCHEMA_BYTES} bytes", where)
    return schema


def _read_tool(tool: object, where: str) -> Tool:
    if not isinstance(tool, dict) or tool.get("type") != "function":
        raise invalid(f"'{where}.type' must be function", f"{where}.type")
    where = f"{where}.function"
    given = tool.get("function")
    if not isinstance(given, dict):
        raise wrong_type(where, "an object")
    name = given.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        what = "must have 1 to 64 letters, digits, dots, dashes and underscores"
        raise invalid(f"'{where}.name' {what}", f"{where}.name")
    function: dict[str, Any] = {"name": name}
    for key, kind, wanted in (("description", str, "a string"), ("strict", bool, "true or false")):
        if given.get(key) is not None:
            if not isinstance(given[key], kind):
                raise wrong_type(f"{where}.{key}", wanted)
            function[key] = given[key]
    if given.get("parameters") is not None:
        function["parameters"] = _read_schema(given["parameters"], f"{where}.parameters")
        if function["parameters"].get("type", "object") != "object":
            where = f"{where}.parameters.type"
            raise invalid(f"'{where}' must be object", where)
    return {"type": "function", "function": function}


def _read_choice(given: object) -> ToolChoice | None:
    match given:
        case "none":
            return None
        case "auto" | "required":
            return ToolChoice(required=given == "required")
        case {"type": "function", "function": {"name": str(name)}}:
            return ToolChoice(required=True, names=[name])
        case {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto" | "required" as mode, "tools": [_, *_] as allowed},
        }:
            names = [_read_allowed(tool) for tool in allowed]
            return ToolChoice(required=mode == "required", names=names)
        case _:
            raise wrong_type("tool_choice", _CHOICES)


def _read_allowed(tool: object) -> str:
    match tool:
        case {"type": "function", "function": {"name": str(name)}} | {
            "type": "function",
            "name": str(name),
        }:
            return name
        case _:
            raise wrong_type("tool_choice", _CHOICES)
