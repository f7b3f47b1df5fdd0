"""What has been said, changed."""

from mlm.repl.chat import Chat
from mlm.repl.commands.command import Command


def _clear(chat: Chat, _argument: str) -> str:
    chat.conversation = chat.conversation.cleared()
    return "Forgotten; the system prompt stays."


TURNS = (Command("clear", "", "forget the conversation", _clear),)
