"""Saving a chat while it goes on: after each line, what has changed since the last one.

Nothing that happens to the file disturbs the chat. What could not be written is written with the
next answer; who continues a conversation that went on elsewhere gets a copy of their own.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from mlm.client import Recording
from mlm.errors import MlmError
from mlm.repl.attachment import Attachment
from mlm.repl.conversation import Conversation, Turn
from mlm.sessions.store import MovedOnError, Sessions
from mlm.sessions.title import make_title
from mlm.sessions.types import Message, Session, Summary


class Keeper:
    """Writes one chat down. ``refs`` finds models whose id is no REF, as that of a local file.

    ``say`` tells the person what they should know: saving fails, or goes on under another id.
    """

    def __init__(
        self,
        sessions: Sessions,
        say: Callable[[str], None],
        refs: Mapping[str, str] | None = None,
        *,
        is_saving: bool = True,
        is_chat: bool = True,
    ) -> None:
        """``is_chat``: there may be more answers, with which what failed is tried again."""
        self.sessions = sessions
        self.is_saving = is_saving  # or else it only looks what is saved
        self.session: Summary | None = None  # what is being written; None: nothing was said yet
        self._say, self._refs = say, refs or {}
        self._saved: tuple[Message, ...] = ()
        self._is_chat = is_chat
        self._is_failing = False

    def ref_of(self, model: str) -> str:
        """Return what finds a model again: a REF, or the path of a local file."""
        return self._refs.get(model, model)

    def go_on(self, session: Session) -> Conversation:
        """Let what comes follow ``session``; return it as a conversation that can go on."""
        self.session, self._saved = session.summary, session.messages
        return to_conversation(session.messages)

    def begin_anew(self) -> None:
        """Leave what was saved as it is; what comes is another conversation."""
        self.session, self._saved = None, ()

    def messages(self, conversation: Conversation, model: str) -> tuple[Message, ...]:
        """Return what was said, with what was saved of it as it is there: who gave each answer."""
        return to_messages(conversation, model, self._saved)

    def keep(self, conversation: Conversation, model: str, answer: Recording | None = None) -> None:
        """Write what has changed; ``answer`` has the figures of the last one. Failures are said."""
        if not conversation.turns:
            self._take_back()
            return
        messages = to_messages(conversation, model, self._saved, answer)
        is_new = self.session is None or self.session.model != model or messages != self._saved
        if not (self.is_saving and is_new):
            return
        try:
            with _uninterrupted():
                self._write(messages, model)
                self._saved = messages
        except MlmError as error:
            self._tell_of_failure(error)
        else:
            if self._is_failing:
                self._say("Saved again, with all that was said meanwhile.")
            self._is_failing = False

    def _take_back(self) -> None:
        """Delete what was saved of a conversation whose turns were all taken back."""
        known = self.session
        self.begin_anew()
        if self.is_saving and known is not None:
            with suppress(MlmError):  # what others added to it, or a broken file has, stays
                self.sessions.write(known, (), after=0)

    def _write(self, messages: Sequence[Message], model: str) -> None:
        if self.session is None:
            self.session = self._begin(messages, model)
            return
        known = replace(self.session, model=model, ref=self.ref_of(model))
        same = _count_same(self._saved, messages)
        try:
            self.session = self.sessions.write(known, messages[same:], after=same)
        except MovedOnError:
            self.session = self._begin(messages, model, forked_from=known)
            self._say(
                f"{known.id} went on elsewhere, or was removed, and stays as it is;"
                f" all of this conversation is saved as {self.session.id}."
            )

    def _begin(
        self, messages: Sequence[Message], model: str, forked_from: Summary | None = None
    ) -> Summary:
        question = next(m.typed or m.text for m in messages if m.role == "user")
        return self.sessions.begin(
            messages,
            title=forked_from.title if forked_from else make_title(question),
            model=model,
            ref=self.ref_of(model),
            forked_from=forked_from.id if forked_from else None,
        )

    def _tell_of_failure(self, error: MlmError) -> None:
        if not self._is_failing:
            hope = " It is tried again after every answer." if self._is_chat else ""
            self._say(f"Not saved: {error.message}.{hope}")
        self._is_failing = True


def to_messages(
    conversation: Conversation,
    model: str,
    saved: Sequence[Message] = (),
    answer: Recording | None = None,
) -> tuple[Message, ...]:
    """Return what was said, with what was ``saved`` of it as it is there.

    The rest was asked of ``model`` just now; ``answer`` has the figures of its last answer.
    """
    now = time.time()
    system = [Message("system", conversation.system, now)] if conversation.system else []
    said = [*system, *(m for turn in conversation.turns for m in _split(turn, model, now))]
    same = _count_same(saved, said)
    if answer is not None and len(said) > same and said[-1].role == "assistant":
        said[-1] = replace(said[-1], thinking=answer.thinking or None, figures=_figures(answer))
    return (*saved[:same], *said[same:])


def to_conversation(messages: Sequence[Message]) -> Conversation:
    """Return a saved conversation as one that can go on."""
    system = "\n\n".join(message.text for message in messages if message.role == "system")
    turns: list[Turn] = []
    asked: Message | None = None
    for message in messages:
        if message.role == "user":
            asked = message
        elif message.role == "assistant" and asked is not None:
            turns.append(_join(asked, message))
            asked = None
    return Conversation(system or None, tuple(turns))


def _join(asked: Message, answer: Message) -> Turn:
    words = asked.text if asked.typed is None else asked.typed
    attached = [
        Attachment(picture.name, "", picture=picture)
        for picture in asked.pictures
        if f"@{picture.name}" not in words and f'@"{picture.name}"' not in words
    ]
    return Turn(
        asked.text,
        answer.text,
        answer.stopped,
        answer.pinned,
        asked.typed,
        tuple(attached),
        asked.pictures,
    )


def _split(turn: Turn, model: str, now: float) -> tuple[Message, Message]:
    return (
        Message(
            "user",
            turn.question,
            now,
            turn.typed,
            model=model,
            pinned=turn.pinned,
            pictures=turn.pictures,
        ),
        Message(
            "assistant",
            turn.answer,
            now,
            model=model,
            stopped=turn.stopped,
            pinned=turn.pinned,
        ),
    )


def _figures(answer: Recording) -> dict[str, float]:
    """Return what is known of how an answer came. Times are seconds."""
    usage = answer.finished.usage if answer.finished else None
    figures = {
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "cached_tokens": usage.cached_tokens if usage else None,
        "completion_tokens": answer.completion_tokens,
        "ttft_s": answer.ttft_s,
        "e2e_s": answer.e2e_s,
        "decode_tps": answer.decode_tps,
    }
    return {name: value for name, value in figures.items() if value is not None}


def _count_same(saved: Sequence[Message], said: Sequence[Message]) -> int:
    """Return how many messages at the beginning are the ones that were saved."""
    for same, (old, new) in enumerate(zip(saved, said, strict=False)):
        if _what_was_said(old) != _what_was_said(new):
            return same
    return min(len(saved), len(said))


def _what_was_said(message: Message) -> tuple[object, ...]:
    return message.role, message.text, message.stopped, message.pinned, message.pictures


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off: between the file's writing and our knowing of it, it would cost a copy."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    caught: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: caught.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if caught:
        raise KeyboardInterrupt
