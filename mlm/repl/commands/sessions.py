"""Saved conversations: find them, and go on with another."""

from mlm.errors import NotFoundError, UsageError
from mlm.repl.chat import Chat
from mlm.repl.commands.command import Command
from mlm.repl.keeper import Keeper
from mlm.repl.recall import describe_hit, describe_summary
from mlm.sessions.types import Query, Session

_ROWS = 10  # of a list; a screen has more to show than that


def _sessions(chat: Chat, words: str) -> str:
    wanted = words.casefold().split()
    everything = _keeper(chat).sessions.summaries()
    if not everything:
        return "No conversation is saved yet."
    found = [
        known for known in everything if all(word in known.title.casefold() for word in wanted)
    ]
    lines = [describe_summary(known) for known in found[:_ROWS]]
    if len(found) > _ROWS:
        lines.append(f"… and {len(found) - _ROWS} more: mlm sessions list -n 1000, outside")
    return "\n".join(lines) or "No conversation is saved with such a title; /search looks inside."


def _search(chat: Chat, words: str) -> str:
    if not words:
        raise UsageError("nothing is looked for", remedy="/search WORDS")
    found = _keeper(chat).sessions.search(Query(words), limit=_ROWS + 1)
    lines = [describe_hit(hit) for hit in found[:_ROWS]]
    if len(found) > _ROWS:
        lines.append("… and more: one word more finds less, and mlm sessions search -n 100 all")
    return "\n".join(lines) or "Nothing was found."


def _load(chat: Chat, prefix: str) -> Session:
    if not prefix:
        raise UsageError("say which conversation", remedy="/sessions lists them: /load ID")
    keeper = _keeper(chat)
    try:
        session = keeper.sessions.read(keeper.sessions.find(prefix))
    except NotFoundError as error:
        if error.remedy == "mlm sessions list":
            error.remedy = "/sessions lists them"
        raise
    chat.conversation = keeper.go_on(session)
    chat.unanswered, chat.attached = None, ()
    return session


def _keeper(chat: Chat) -> Keeper:
    if chat.keeper is None:
        raise UsageError("there are no saved conversations here", remedy="mlm sessions list")
    return chat.keeper


SESSIONS = (
    Command("sessions", "[WORDS]", "list saved conversations, or those so called", _sessions),
    Command("search", "WORDS", "find what was said in saved conversations", _search),
    Command("load", "ID", "go on with a saved conversation", _load),
)
