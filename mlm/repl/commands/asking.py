"""Who is asked, and how: the model, the system prompt, and how fast answers came."""

from difflib import get_close_matches

from mlm.errors import NotFoundError
from mlm.repl.chat import Chat
from mlm.repl.commands.command import Command
from mlm.repl.figures import summarise


def _model(chat: Chat, name: str) -> str:
    offered = chat.client.models()
    if not name:
        return "\n".join(f"{'*' if model == chat.model else ' '} {model}" for model in offered)
    if name not in offered:
        near = get_close_matches(name, offered, n=3, cutoff=0.4) or offered
        raise NotFoundError(
            f"this server has no model '{name}'", remedy="/model " + " or /model ".join(near)
        )
    chat.model = name
    return f"Now talking with {name}; it knows the conversation so far."


def _system(chat: Chat, text: str) -> str:
    if not text:
        return chat.conversation.system or "There is no system prompt; /system TEXT sets one."
    chat.conversation = chat.conversation.with_system(None if text == "-" else text)
    return "The system prompt is gone." if text == "-" else "The system prompt is set."


def _stats(chat: Chat, _argument: str) -> str:
    return summarise(chat.model, chat.answers)


ASKING = (
    Command("model", "[NAME]", "show the models of this server, or talk with another one", _model),
    Command("system", "[TEXT|-]", "show the system prompt, set it, or remove it with -", _system),
    Command("stats", "", "show tokens and speed so far", _stats),
)
