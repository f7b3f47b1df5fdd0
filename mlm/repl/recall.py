"""Saved conversations as a person is reminded of them in a chat."""

from collections.abc import Sequence

from mlm.sessions.types import Hit, Message, Session, Summary
from mlm.units import format_ago

_TURNS = 2
QUESTION_LINES, ANSWER_LINES = 3, 12


def describe_session(session: Session) -> tuple[str, str]:
    """Return the title of a conversation, and which one it is."""
    known = session.summary
    ago = format_ago(known.updated_at)
    return _one_line(known.title), f"{known.id} · {known.n_messages} messages · last {ago}"


def latest(session: Session) -> Sequence[Message]:
    """Return the messages of its last turns."""
    said = [message for message in session.messages if message.role != "system"]
    return said[-2 * _TURNS :]


def describe_summary(known: Summary) -> str:
    """Return a conversation in a line."""
    return f"{known.id}  {_one_line(known.title)} · {known.model} · {format_ago(known.updated_at)}"


def describe_hit(hit: Hit) -> str:
    """Return a message that was found in two lines, with what was looked for between asterisks."""
    who = hit.model if hit.role == "assistant" else hit.role
    marked = "".join(f"**{part}**" if i % 2 else part for i, part in enumerate(hit.parts))
    heading = f"{hit.session.id}  {_one_line(hit.session.title)} · {who} · {format_ago(hit.at)}"
    return f"{heading}\n  {_one_line(marked)}"


def shorten(message: Message) -> list[str]:
    """Return the first lines of a message, those of a question marked as such."""
    is_question = message.role == "user"
    most = QUESTION_LINES if is_question else ANSWER_LINES
    kept = first_lines(asked(message) if is_question else message.text.strip(), most)
    return [f"> {line}" if is_question else line for line in kept]


def asked(message: Message) -> str:
    """Return a question as it was typed, after what stands for its pictures."""
    captions = [picture.caption for picture in message.pictures]
    return " ".join([*captions, (message.typed or message.text).strip()])


def first_lines(text: str, most: int) -> list[str]:
    """Return the lines of ``text``; of more than ``most`` the first, and "…" for the others."""
    lines = text.split("\n")
    return lines if len(lines) <= most else [*lines[: most - 1], "…"]


def _one_line(text: str) -> str:
    return " ".join(text.split())
