"""What was thought before an answer, which is folded away while it comes."""

from mlm.errors import NotFoundError
from mlm.repl.chat import Chat
from mlm.repl.commands.command import Command


def _thinking(chat: Chat, _argument: str) -> str:
    for answer in reversed(chat.answers):
        if answer.thinking:
            return answer.thinking.strip()
    raise NotFoundError(
        "no answer of this chat was thought about", remedy="ask a model that thinks"
    )


THINKING = (Command("thinking", "", "show what was thought before the last answer", _thinking),)
