"""Messages about tools in the form that a model's chat template takes. Pure.

OpenAI's form is a common denominator that few templates take as it is: arguments are JSON text
there and objects here, ids have another alphabet, some models know one call per message, and many
templates know nothing of tools at all.
"""

import hashlib
import json
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlm.engine.dialect import TAG_CLOSE, TAG_OPEN, Dialect

_ID_CHARS = string.digits + string.ascii_letters
_ID_LENGTH = 9  # Mistral's templates refuse every other id
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}}
# For templates that know no tools, in the words that Hermes and Qwen have been trained on.
_EXPLANATION = """# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within \
<tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""

Message = dict[str, Any]


def say_tools(
    messages: Sequence[Mapping[str, Any]],
    tools: Sequence[Mapping[str, Any]],
    dialect: Dialect,
) -> tuple[list[Message], list[Message] | None]:
    """Return messages and tools for the template of a model with ``dialect``."""
    said = [_with_objects(message) for message in messages]
    described = [_describe(tool) for tool in tools]
    if not dialect.native:
        return _without_tools(said, described), None
    if dialect.calls in ("list", "named"):
        said = [_with_short_ids(message) for message in said]
    if dialect.calls == "bare":
        said = list(_one_call_each(said))
    return said, described or None


def has_tools(messages: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether there are calls or results among the messages."""
    return any(m.get("tool_calls") or m.get("role") == "tool" for m in messages)


def _describe(tool: Mapping[str, Any]) -> Message:
    """Return a tool with all that templates rely on, and nothing else."""
    function = tool["function"]
    described = {
        "name": function["name"],
        "description": function.get("description", ""),
        "parameters": function.get("parameters") or _NO_PARAMETERS,
    }
    return {"type": "function", "function": described}


def _with_objects(message: Mapping[str, Any]) -> Message:
    """Return a message whose calls have objects as arguments, as far as they are objects."""
    calls = message.get("tool_calls")
    if not calls:
        return {name: value for name, value in message.items() if name != "tool_calls"}
    changed = []
    for call in calls:
        function = call["function"]
        arguments = _parse_object(function.get("arguments"))
        changed.append({**call, "function": {"name": function["name"], "arguments": arguments}})
    return {**message, "tool_calls": changed}


def _parse_object(text: Any) -> Any:
    if not isinstance(text, str):
        return text
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def _with_short_ids(message: Message) -> Message:
    changed = dict(message)
    if "tool_calls" in message:
        changed["tool_calls"] = [
            {**call, "id": _short_id(str(call.get("id", "")))} for call in message["tool_calls"]
        ]
    if message.get("role") == "tool":
        changed["tool_call_id"] = _short_id(str(message.get("tool_call_id", "")))
    return changed


def _short_id(given: str) -> str:
    """Return an id as Mistral's templates want it, the same for the same one."""
    if len(given) == _ID_LENGTH and all(character in _ID_CHARS for character in given):
        return given
    digest = hashlib.sha256(given.encode()).digest()
    return "".join(_ID_CHARS[byte % len(_ID_CHARS)] for byte in digest[:_ID_LENGTH])


def _one_call_each(messages: Sequence[Message]) -> Iterator[Message]:
    """Yield messages of which none has two calls, each call with its result behind it."""
    results: dict[str, Message] = {}
    for i, message in enumerate(messages):
        calls = message.get("tool_calls", [])
        if len(calls) > 1:
            following = messages[i + 1 : i + 1 + len(calls)]
            answers = {m.get("tool_call_id"): m for m in following if m.get("role") == "tool"}
            for n, call in enumerate(calls):
                content = message.get("content", "") if n == 0 else ""
                yield {**message, "content": content, "tool_calls": [call]}
                if (call_id := call.get("id")) in answers:
                    results[str(call_id)] = answers[call_id]
                    yield answers[call_id]
        elif results.get(str(message.get("tool_call_id"))) is not message:
            yield message


def _without_tools(messages: Sequence[Message], tools: Sequence[Message]) -> list[Message]:
    """Return the messages as plain chat: tools explained, calls and results written out."""
    plain: list[Message] = []
    for message in messages:
        role, content = message.get("role"), _as_text(message.get("content"))
        if role == "tool":
            role, content = "user", f"<tool_response>\n{content}\n</tool_response>"
        if message.get("tool_calls"):
            content = "\n".join([*([content] if content else []), *_write_calls(message)])
        kept = {k: v for k, v in message.items() if k not in ("tool_calls", "tool_call_id")}
        if plain and role == "user" == plain[-1]["role"]:  # many templates want them to alternate
            plain[-1]["content"] += f"\n{content}"
        else:
            plain.append({**kept, "role": role, "content": content})
    if not tools:
        return plain
    listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    explanation = _EXPLANATION.format(tools=listed)
    if plain and plain[0]["role"] == "system":
        plain[0]["content"] += f"\n\n{explanation}"
        return plain
    return [{"role": "system", "content": explanation}, *plain]


def _write_calls(message: Message) -> list[str]:
    return [
        f"{TAG_OPEN}\n{json.dumps(call['function'], ensure_ascii=False)}\n{TAG_CLOSE}"
        for call in message["tool_calls"]
    ]


def _as_text(content: Any) -> str:
    """Return the text of a message; its parts have been checked by whoever sent it."""
    if isinstance(content, list):
        parts = (part.get("text", "") for part in content if isinstance(part, dict))
        return "\n".join(map(str, parts))
    return "" if content is None else str(content)
