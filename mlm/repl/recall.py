"""Saved conversations as a person is reminded of them in a chat."""

from mlm.sessions.types import Hit, Message, Session, Summary
from mlm.units import format_ago

_TURNS = 2
_QUESTION_LINES, _ANSWER_LINES = 3, 12


def remind(session: Session) -> str:
    """Return title and age of a conversation, and its last turns as far as they fit a screen."""
    known = session.summary
    lines = [
        known.title,
        f"{known.id} · {known.n_messages} messages · last {format_ago(known.updated_at)}",
    ]
    said = [message for message in session.messages if message.role != "system"]
    for message in said[-2 * _TURNS :]:
        lines += ["", *_shorten(message)]
    return "\n".join(lines)


def describe_summary(known: Summary) -> str:
    """Return a conversation in a line."""
    return f"{known.id}  {_one_line(known.title)} · {known.model} · {format_ago(known.updated_at)}"


def describe_hit(hit: Hit) -> str:
    """Return a message that was found in two lines, with what was looked for between asterisks."""
    who = hit.model if hit.role == "assistant" else hit.role
    marked = "".join(f"**{part}**" if i % 2 else part for i, part in enumerate(hit.parts))
    heading = f"{hit.session.id}  {_one_line(hit.session.title)} · {who} · {format_ago(hit.at)}"
    return f"{heading}\n  {_one_line(marked)}"


def _shorten(message: Message) -> list[str]:
    is_question = message.role == "user"
    most = _QUESTION_LINES if is_question else _ANSWER_LINES
    lines = message.text.strip().split("\n")
    kept = lines if len(lines) <= most else [*lines[: most - 1], "…"]
    return [f"> {line}" if is_question else line for line in kept]


def _one_line(text: str) -> str:
    return " ".join(text.split())
