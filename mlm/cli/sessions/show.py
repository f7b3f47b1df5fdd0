"""``mlm sessions show``: read a conversation again."""

import sys
import time
from typing import TYPE_CHECKING, Any

import typer

from mlm.cli._options import JsonOpt
from mlm.cli._saved import SessionArg
from mlm.cli._session import print_document, print_text, session, stdout

if TYPE_CHECKING:
    from rich.console import RenderableType

    from mlm.sessions.types import Message, Session

EXAMPLES = {
    "mlm sessions show": "The last one",
    "mlm sessions show 3f9a": "A certain one; the beginning of its id is enough",
}


def show(ctx: typer.Context, wanted: SessionArg = None, as_json: JsonOpt = False) -> None:
    """Show a conversation; in a pipe it is Markdown."""
    from mlm.cli._saved import choose_session, describe_session, saved_sessions
    from mlm.sessions.export import to_markdown

    with saved_sessions(session(ctx)) as sessions:
        found = sessions.read(choose_session(sessions, wanted))
    if as_json:
        messages = [_describe(message) for message in found.messages]
        print_document("sessions.show", {**describe_session(found.summary), "messages": messages})
    elif sys.stdout.isatty():
        stdout().print(_render(found))
    else:
        print_text(
            to_markdown(found.summary.title, found.summary.model, found.messages).rstrip("\n")
        )


def _describe(message: "Message") -> dict[str, Any]:
    return {
        "role": message.role,
        "content": message.text,
        "typed": message.typed,
        "thinking": message.thinking,
        "model": message.model,
        "at": message.at,
        "stopped": message.stopped,
        "pinned": message.pinned,
        "figures": dict(message.figures),
        "pictures": [
            {
                "name": picture.name,
                "width": picture.width,
                "height": picture.height,
                "size_bytes": len(picture.data),
            }
            for picture in message.pictures
        ],
    }


def _render(found: "Session") -> "RenderableType":
    from rich.console import Group
    from rich.markdown import Markdown
    from rich.text import Text

    from mlm.cli._columns import one_line

    parts: list[RenderableType] = [Text(one_line(found.summary.title), style="bold")]
    for message in found.messages:
        who = {"system": "system prompt", "user": "you"}.get(message.role) or message.model
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(message.at))
        marks = [mark for mark in ("stopped", "pinned") if getattr(message, mark)]
        heading = " · ".join((one_line(who or found.summary.model), when, *marks))
        parts += [Text(), Text(heading, style="dim")]
        if message.role == "assistant":
            parts.append(Markdown(message.text, hyperlinks=False))
        else:
            parts.append(Text(message.captioned))
    return Group(*parts)
