"""Conversations as files for others: a page to read, or the body of a request."""

import json
from collections.abc import Sequence

from mlm.pictures import to_content
from mlm.sessions.types import Message

_HEADINGS = {"system": "System", "user": "Question", "assistant": "Answer"}


def to_markdown(title: str, model: str, messages: Sequence[Message]) -> str:
    """Return a page to read; each answer says who gave it where that was not ``model``.

    Pictures are named on it: inside it they would bury what was said.
    """
    parts = [f"# {title}", f"*A conversation with {model}*"]
    for message in messages:
        heading = _HEADINGS[message.role]
        if message.role == "assistant" and message.model not in (None, model):
            heading += f" by {message.model}"
        parts += [f"## {heading}", message.captioned + (" *(stopped)*" if message.stopped else "")]
    return "\n\n".join(parts) + "\n"


def to_json(model: str, messages: Sequence[Message]) -> str:
    """Return a body that ``/v1/chat/completions`` takes, with the pictures in it."""
    said = [
        {
            "role": message.role,
            "content": to_content(message.text, [picture.data for picture in message.pictures]),
        }
        for message in messages
    ]
    return json.dumps({"model": model, "messages": said}, indent=2, ensure_ascii=False) + "\n"
