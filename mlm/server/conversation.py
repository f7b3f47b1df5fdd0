"""OpenAI's chat messages, read field by field."""

from typing import Any

from mlm.server.errors import invalid
from mlm.server.fields import wrong_type

MAX_CALLS = 128  # in one message; as many as there may be tools
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
EXTRAS = ("name", "tool_call_id", "reasoning_content")


def read_messages(messages: object) -> list[dict[str, object]]:
    """Return OpenAI's messages with what templates use of them.

    Raises:
        ApiError: 400 with ``param``: a message is not one.
    """
    if not isinstance(messages, list) or not messages:
        raise wrong_type("messages", "a list of at least one message")
    return [_read_message(message, f"messages[{i}]") for i, message in enumerate(messages)]


def _read_message(message: object, where: str) -> dict[str, object]:
    if not isinstance(message, dict):
        raise wrong_type(where, "an object")
    role = message.get("role")
    if role not in ROLES:
        raise invalid(f"'{where}.role' must be one of {', '.join(ROLES)}", f"{where}.role")
    kept = {name: _read_text(message[name], f"{where}.{name}")
            for name in EXTRAS if message.get(name) is not None}  # fmt: skip
    if role == "assistant" and message.get("tool_calls") is not None:
        calls = _read_calls(message["tool_calls"], f"{where}.tool_calls")
        kept |= {"tool_calls": calls} if calls else {}
    content = message.get("content")
    if content is None and not (role == "assistant" and "tool_calls" in kept):
        raise invalid(f"'{where}.content' is missing", f"{where}.content")
    # Templates know "system" only; OpenAI calls the same thing "developer" since its o1 models.
    return {
        "role": "system" if role == "developer" else role,
        "content": "" if content is None else _read_content(content, f"{where}.content"),
        **kept,
    }


def _read_text(value: object, where: str) -> Any:
    if not isinstance(value, str):
        raise wrong_type(where, "a string")
    return value


def _read_calls(calls: object, where: str) -> list[dict[str, object]]:
    """Return the calls that an earlier answer made."""
    if not isinstance(calls, list):
        raise wrong_type(where, "a list of calls")
    if len(calls) > MAX_CALLS:
        raise invalid(f"'{where}' holds more than {MAX_CALLS} calls", where)
    return [_read_call(call, f"{where}[{i}]") for i, call in enumerate(calls)]


def _read_call(call: object, where: str) -> dict[str, object]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(call, dict) or not isinstance(function, dict):
        raise wrong_type(where, "an object with a 'function'")
    arguments = function.get("arguments", "{}")
    if not isinstance(arguments, str | dict):
        raise wrong_type(f"{where}.function.arguments", "JSON in a string")
    name = _read_text(function.get("name"), f"{where}.function.name")
    call_id = _read_text(call.get("id", ""), f"{where}.id")
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    }


def _read_content(content: object, where: str) -> str:
    """Return the text of a message; parts of text are joined by line breaks."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_type(where, "a string or a list of parts")
    texts = []
    for i, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise invalid(f"'{where}[{i}]': only parts of type 'text' are available", where)
        if not isinstance(part.get("text"), str):
            raise wrong_type(f"{where}[{i}].text", "a string")
        texts.append(part["text"])
    return "\n".join(texts)
