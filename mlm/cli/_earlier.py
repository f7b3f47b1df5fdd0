"""What was said before a question of `mlm run`, and keeping what is answered."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlm.cli._saved import SAVING_WAIT_S, find_session, is_saving, saved_sessions

if TYPE_CHECKING:
    from mlm.cli._question import Question
    from mlm.cli._session import Session
    from mlm.client import Client, Recording
    from mlm.client.client import Answer
    from mlm.repl.conversation import Conversation
    from mlm.sessions.store import Sessions
    from mlm.sessions.types import Session as SavedSession


@dataclass(frozen=True, slots=True)
class Talk:
    """The conversation that a question belongs to: one that was saved, or one of its own."""

    run: "Session"
    saved: "SavedSession | None" = None
    sessions: "Sessions | None" = None  # to save in; None: nothing is to be saved

    @property
    def ref(self) -> str | None:
        """The model of what was saved."""
        return self.saved.summary.ref if self.saved else None

    def ask(
        self,
        client: "Client",
        model: str,
        question: "Question",
        schema: Mapping[str, Any] | None,
        params: Mapping[str, Any],
    ) -> "Answer":
        """Ask ``question`` after what was said, and return the answer on its way.

        The model is told the ``schema``: what holds an answer to it forbids, but does not explain.

        Raises:
            UsageError: it cannot be asked with the pictures of the question.
        """
        said = self._said(question)
        if question.pictures or any(turn.pictures for turn in said.turns):
            from mlm.repl.sight import check, show

            sees = client.takes_pictures(model)
            check(question.pictures, sees=sees)
            said, remark = show(said, question.pictures, sees=sees)
            if remark:
                self.run.note(f"note: {remark}")
        parts = [said.system] if said.system else []
        if schema is not None:
            parts.append(f"Answer in JSON by this JSON schema: {json.dumps(schema)}")
        told = said.with_system("\n\n".join(parts))
        messages = told.messages(question.prompt, question.pictures)
        return client.chat(messages, model=model, **params)

    @contextmanager
    def keeping(
        self, question: "Question", answer: "Recording", model: str, ref: str
    ) -> Iterator[None]:
        """Save the question, and as much of its answer as the block has got, if it is to be."""
        if self.sessions is None:
            yield
            return
        from mlm.repl.conversation import Turn
        from mlm.repl.keeper import Keeper
        from mlm.store.ref import definite

        try:
            yield
        finally:
            if answer.text:
                keeper = Keeper(self.sessions, self._warn, {model: definite(ref)}, is_chat=False)
                if self.saved:
                    keeper.go_on(self.saved)
                is_cut = answer.finished is None
                turn = Turn(
                    question.prompt,
                    answer.text,
                    is_cut,
                    typed=question.typed,
                    pictures=question.pictures,
                )
                keeper.keep(self._said(question).with_turn(turn), model, answer)

    def _said(self, question: "Question") -> "Conversation":
        """Return what was said so far, under the system prompt of ``question`` if it has one."""
        from mlm.repl.conversation import Conversation

        if self.saved is None:
            return Conversation(question.system)
        from mlm.repl.keeper import to_conversation

        said = to_conversation(self.saved.messages)
        return said.with_system(question.system or said.system)

    def _warn(self, text: str) -> None:
        self.run.note(f"warning: {text}")


@contextmanager
def earlier(
    run: "Session", wanted: str | None, *, go_on: bool, save: bool | None
) -> Iterator[Talk]:
    """Yield what is to be gone on with: the conversation ``wanted``, the last one, or none.

    Raises:
        NotFoundError: there is none that is ``wanted``.
    """
    if wanted is None and not go_on and not is_saving(run, save, is_asked=False):
        yield Talk(run)  # without SQLite: scripts ask often
        return
    with saved_sessions(run, wait_s=SAVING_WAIT_S) as sessions:
        saved = find_session(run, sessions, wanted, go_on=go_on)
        is_kept = is_saving(run, save, is_asked=saved is not None)
        yield Talk(run, saved, sessions if is_kept else None)
