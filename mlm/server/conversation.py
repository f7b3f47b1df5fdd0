"""OpenAI's chat messages, read field by field."""

from collections.abc import Sequence
from typing import Any

from mlm.pictures import MAX_PICTURES, from_data_uri
from mlm.server.errors import invalid
from mlm.server.fields import wrong_type
from mlm.server.model import ServedModel

MAX_CALLS = 128  # in one message; as many as there may be tools
ROLES = ("system", "developer", "user", "assistant", "tool", "function")
EXTRAS = ("name", "tool_call_id", "reasoning_content")


def read_messages(messages: object) -> list[dict[str, object]]:
    """Return OpenAI's messages with what templates use of them, as `Generate` has them.

    Raises:
        ApiError: 400 with ``param``: a message is not one, or there are too many pictures.
    """
    if not isinstance(messages, list) or not messages:
        raise wrong_type("messages", "a list of at least one message")
    read = [_read_message(message, f"messages[{i}]") for i, message in enumerate(messages)]
    if len(_pictures(read)) > MAX_PICTURES:
        raise invalid(f"'messages' hold more than {MAX_PICTURES} pictures", "messages")
    return read


def refuse_pictures(messages: Sequence[dict[str, object]] | None, model: ServedModel) -> None:
    """Refuse messages with pictures that are for a model without a projector.

    Raises:
        ApiError: 400, with the first picture as its ``param``.
    """
    if model.mmproj is None and (pictures := _pictures(messages or ())):
        raise invalid(
            f"'{model.model_id}' takes no pictures, as no projector (mmproj) lies beside it",
            pictures[0],
            remedy=f"mlm download {model.model_id} (brings the projector where its repository "
            "has one), or a model with 'image' among its input_modalities in /v1/models",
        )


def _pictures(messages: Sequence[dict[str, object]]) -> list[str]:
    """Return where the pictures are, as errors say it."""
    return [
        f"messages[{i}].content[{j}]"
        for i, message in enumerate(messages)
        if isinstance(parts := message["content"], list)
        for j, part in enumerate(parts)
        if part["type"] == "image"
    ]


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
        "content": "" if content is None else _read_content(content, f"{where}.content", role),
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


def _read_content(content: object, where: str, role: str) -> str | list[dict[str, object]]:
    """Return what a message says: text, whose parts are joined by line breaks.

    With pictures it is all its parts, each where it was.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong_type(where, "a string or a list of parts")
    parts = [_read_part(part, f"{where}[{i}]", role) for i, part in enumerate(content)]
    texts = [str(part["text"]) for part in parts if part["type"] == "text"]
    return "\n".join(texts) if len(texts) == len(parts) else parts


def _read_part(part: object, where: str, role: str) -> dict[str, object]:
    kind = part.get("type") if isinstance(part, dict) else None
    if isinstance(part, dict) and kind == "text":
        return {"type": "text", "text": _read_text(part.get("text"), f"{where}.text")}
    if isinstance(part, dict) and kind == "image_url":
        if role != "user":
            raise invalid(f"'{where}': pictures can only be in messages of the user", where)
        return {"type": "image", "data": _read_picture(part.get("image_url"), f"{where}.image_url")}
    raise invalid(f"'{where}': only parts of type 'text' and 'image_url' are available", where)


def _read_picture(image_url: object, where: str) -> bytes:
    """Return a picture. ``detail`` has no effect: the model decides how closely it looks."""
    if not isinstance(image_url, dict):
        raise wrong_type(where, "an object with a 'url'")
    where += ".url"
    try:
        return from_data_uri(_read_text(image_url.get("url"), where))
    except ValueError as error:
        raise invalid(
            f"'{where}': {error}",
            where,
            remedy="send the bytes of the picture in base64; mlm fetches nothing, neither from "
            "the net nor from its own disk",
        ) from None
