"""What has been said, changed: asked again, taken back, kept."""

from dataclasses import replace

from mlm.errors import NotFoundError, UsageError
from mlm.repl.chat import Chat
from mlm.repl.commands.command import Command
from mlm.repl.commands.context import begin
from mlm.repl.params import PARAMS, find_param, parse_param
from mlm.repl.question import Question


def _retry(chat: Chat, argument: str) -> Question:
    question = _last_question(chat)
    words = argument.split()
    if len(words) % 2:
        raise UsageError(f"{words[-1]} has no value", remedy="/retry temperature 1.2")
    for name, text in zip(words[::2], words[1::2], strict=True):
        given = {**question.params, name: parse_param(find_param(name), text)}
        question = replace(question, params=given)
    return question


def _edit(chat: Chat, text: str) -> str | Question:
    chat.draft = _last_question(chat)
    if text:
        return chat.read_question(text)
    return "Change the question and send it; the answer takes the place of the last one."


def _last_question(chat: Chat) -> Question:
    """Return what was asked last, answered or not, to be asked again."""
    if chat.unanswered is not None:
        return chat.unanswered
    if not chat.conversation.turns:
        raise UsageError("nothing was asked yet", remedy="ask something first")
    turn = chat.conversation.turns[-1]
    return Question(turn.question, turn.typed, turn.attached, turn.pictures, replaces=True)


def _undo(chat: Chat, argument: str) -> str:
    count = _number(argument or "1", "/undo 2 takes back the last two turns")
    turns = chat.conversation.turns
    if not turns:
        raise UsageError("there is nothing to take back", remedy="/help")
    if count > len(turns):
        raise UsageError(f"there are only {len(turns)} turns", remedy="/clear forgets all of them")
    chat.conversation = chat.conversation.without_last(count)
    chat.unanswered = None
    left = len(turns) - count
    first = turns[left].typed or turns[left].question
    what = "The last turn is" if count == 1 else f"The last {count} turns are"
    rest = {0: "none is", 1: "1 is"}.get(left, f"{left} are")
    return f"{what} taken back, from “{begin(first)}” on; {rest} left."


def _pin(chat: Chat, argument: str) -> str:
    number = _turn_number(chat, argument)
    chat.conversation = chat.conversation.with_pin(number, True)
    return f"Turn {number} is always sent, however full the context is; /unpin {number} ends that."


def _unpin(chat: Chat, argument: str) -> str:
    number = _turn_number(chat, argument)
    if not chat.conversation.turns[number - 1].pinned:
        raise UsageError(f"turn {number} is not pinned", remedy="/context shows which are")
    chat.conversation = chat.conversation.with_pin(number, False)
    return f"Turn {number} is left out like any other when the context is full."


def _turn_number(chat: Chat, argument: str) -> int:
    """Return the number of a turn, the last one's without an argument."""
    count = len(chat.conversation.turns)
    if not count:
        raise UsageError("nothing was said yet", remedy="ask something first")
    number = _number(argument or str(count), "/context shows the numbers of turns")
    if number > count:
        raise NotFoundError(f"there is no turn {number}, only {count}", remedy="/context")
    return number


def _number(text: str, remedy: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and int(text) > 0):
        raise UsageError(f"'{text}' is not a number of turns", remedy=remedy)
    return int(text)


def _clear(chat: Chat, _argument: str) -> str:
    saved = chat.keeper.session if chat.keeper else None
    if chat.keeper is not None:
        chat.keeper.begin_anew()
    chat.conversation = chat.conversation.cleared()
    chat.unanswered, chat.attached = None, ()
    if saved:
        return f"Forgotten; /load {saved.id} brings it back. The system prompt stays."
    return "Forgotten; the system prompt stays."


TURNS = (
    Command(
        "retry",
        "[NAME VALUE]",
        "ask the last question again",
        _retry,
        "/retry temperature 1.2     for this once",
        tuple(PARAMS),
    ),
    Command("edit", "[TEXT]", "change the last question and ask it again", _edit),
    Command("undo", "[N]", "take back the last turn, or the last N", _undo),
    Command("pin", "[N]", "send turn N always, however full the context is", _pin),
    Command("unpin", "[N]", "end that", _unpin),
    Command("clear", "", "forget the conversation", _clear),
)
