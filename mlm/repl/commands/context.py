"""What is sent with the next question, and what it costs."""

from collections.abc import Iterator
from typing import get_args

from mlm.errors import UsageError
from mlm.repl.chat import Chat, WhenFull
from mlm.repl.commands.command import Command
from mlm.repl.conversation import Conversation
from mlm.repl.measure import Sizes, measure
from mlm.repl.room import name_turns

_MODES = {
    "drop": "older turns are left out",
    "summarise": "the model sums older turns up",
    "off": "a question that does not fit is refused",
}
_MAX_ROWS = 12  # turns that get a row of their own
_BAR = 30
_WIDTH = 40  # of the beginning of a question

Row = tuple[str, int, str]  # what it is, its tokens, how it begins


def _context(chat: Chat, argument: str) -> str:
    if argument:
        return _choose(chat, argument)
    limit = chat.tokens.limit(chat.model)
    talk = chat.shown(chat.conversation)
    sizes = measure(chat.tokens, chat.model, talk, enough=limit)
    rows = [*_rows(chat, talk, sizes), *_attached(chat)]
    used = sum(tokens for _, tokens, _ in rows)
    width = max(len(name) for name, _, _ in rows)
    lines = [f"{name:<{width}}  {tokens:>7,}  {text}".rstrip() for name, tokens, text in rows]
    lines += ["", *_total(chat, used, limit, sizes.is_exact), *_left_out(chat.conversation, sizes)]
    choices = ", ".join(f"/context {mode}" for mode in _MODES if mode != chat.when_full)
    return "\n".join([*lines, f"When it is full, {_MODES[chat.when_full]} ({choices})."])


def _choose(chat: Chat, mode: str) -> str:
    for known in get_args(WhenFull):
        if mode in (known, known.replace("ise", "ize")):
            chat.when_full = known
            return f"When the context is full, {_MODES[known]}."
    raise UsageError(f"there is no /context {mode[:40]}", remedy=f"/context {'|'.join(_MODES)}")


def _rows(chat: Chat, talk: Conversation, sizes: Sizes) -> Iterator[Row]:
    """Yield what is sent, part by part, in the order in which it is sent."""
    yield "chat template", sizes.template, ""
    if talk.system:
        yield "system prompt", sizes.system, begin(talk.system)
    if talk.summary:
        yield "summary", sizes.summary, begin(talk.summary)
    sent = [
        (number, turn, size.tokens)
        for number, (turn, size) in enumerate(zip(talk.turns, sizes.turns, strict=True), 1)
        if number > talk.left_out or turn.pinned
    ]
    many = sent[:-_MAX_ROWS] if len(sent) > _MAX_ROWS + 1 else []
    for number, turn, tokens in (s for s in many if s[1].pinned):
        yield f"turn {number}, pinned", tokens, begin(turn.typed or turn.question)
    if rest := [s for s in many if not s[1].pinned]:
        yield f"turns {rest[0][0]} to {rest[-1][0]}", sum(s[2] for s in rest), ""
    for number, turn, tokens in sent[len(many) :]:
        name = f"turn {number}, pinned" if turn.pinned else f"turn {number}"
        files = " (with files)" if turn.typed is not None else ""
        pictures = [
            (picture, chat.tokens.count_picture(chat.model, picture).tokens)
            for picture in turn.pictures
        ]
        words = tokens - sum(tokens for _, tokens in pictures)
        yield name, words, begin(turn.typed or turn.question) + files
        for picture, tokens in pictures:
            yield f"{name}, picture", tokens, f"{picture.name}, {picture.size}"


def _attached(chat: Chat) -> Iterator[Row]:
    for file in chat.attached:
        what = file.name
        if file.picture is not None:
            tokens = chat.tokens.count_picture(chat.model, file.picture).tokens
            what = f"{what}, {file.picture.size}"
        else:
            tokens = chat.tokens.count(chat.model, file.fenced).tokens
        yield "attached", tokens, f"{what}, with the next question"


def _total(chat: Chat, used: int, limit: int | None, is_exact: bool) -> Iterator[str]:
    about = "" if is_exact else "about "
    if limit is None:
        yield f"{about}{used:,} tokens; how many there may be, the server does not say yet"
        return
    reserve = chat.reserve(limit, {})
    full = min(_BAR, -(-used * _BAR // limit))
    kept = min(_BAR - full, reserve * _BAR // limit)
    bar = "█" * full + "░" * (_BAR - full - kept) + "▒" * kept
    yield f"{bar}  {about}{used:,} of {limit:,} tokens, {reserve:,} kept for the answer"


def _left_out(talk: Conversation, sizes: Sizes) -> Iterator[str]:
    gone = [
        (number, size.tokens)
        for number, size in enumerate(sizes.turns[: talk.left_out], 1)
        if not size.pinned
    ]
    if gone:
        which = name_turns([number for number, _ in gone])
        tokens = sum(tokens for _, tokens in gone)
        yield f"Not sent: {which}, {tokens:,} tokens; they stay on the screen and in what is saved."


def begin(text: str) -> str:
    """Return the first words of ``text``, on one line."""
    words = " ".join(text.split())
    return words if len(words) <= _WIDTH else f"{words[: _WIDTH - 1]}…"


CONTEXT = (
    Command(
        "context",
        "[MODE]",
        "show what is sent; MODE: what becomes of older turns",
        _context,
        "drop        older turns are left out; pinned ones stay (/pin)\n"
        "summarise   the model sums them up first, which takes as long as an answer\n"
        "off         a question that does not fit is refused",
        tuple(_MODES),
    ),
)
