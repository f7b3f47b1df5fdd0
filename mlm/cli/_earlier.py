"""What was said before a question of `mlm run`, and keeping what is answered."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlm.cli._saved import find_session, is_saving, saved_sessions

if TYPE_CHECKING:
    from mlm.cli._question import Question
    from mlm.cli._session import Session
    from mlm.client import Recording
    from mlm.repl.conversation import Conversation
    from mlm.repl.keeper import Keeper

_WAIT_S = 1.0  # for another process that writes


@dataclass(frozen=True, slots=True)
class Talk:
    """The conversation that a question belongs to: an earlier one, or one of its own.

    ``ref`` is the model of an earlier one.
    """

    before: "Conversation"
    ref: str | None
    _keeper: "Keeper | None"  # None: nothing is to be saved
    _refs: dict[str, str]  # what finds a model, by its id

    def messages(
        self, question: "Question", schema: Mapping[str, Any] | None
    ) -> list[dict[str, str]]:
        """Return what is sent as the messages of the chat API.

        The model is told the ``schema``: what holds an answer to it forbids, but does not explain.
        """
        system = question.system or self.before.system
        parts = [system] if system else []
        if schema is not None:
            parts.append(f"Answer in JSON by this JSON schema: {json.dumps(schema)}")
        return self.before.with_system("\n\n".join(parts)).messages(question.prompt)

    @contextmanager
    def keeping(
        self, question: "Question", answer: "Recording", model: str, ref: str
    ) -> Iterator[None]:
        """Save the question, and as much of its answer as the block has got, if it is to be."""
        from mlm.repl.conversation import Turn
        from mlm.store.ref import definite

        try:
            yield
        finally:
            if answer.text and self._keeper is not None:
                stopped = answer.finished is None
                turn = Turn(question.prompt, answer.text, stopped, typed=question.typed)
                said = self.before.with_system(question.system or self.before.system)
                self._refs[model] = definite(ref)
                self._keeper.keep(said.with_turn(turn), model, answer)


@contextmanager
def earlier(
    run: "Session", wanted: str | None, *, go_on: bool, save: bool | None
) -> Iterator[Talk]:
    """Yield what is to be gone on with: the conversation ``wanted``, the last one, or none.

    Raises:
        NotFoundError: there is none that is ``wanted``.
    """
    from mlm.repl.conversation import Conversation

    if wanted is None and not go_on and not is_saving(run, save, is_asked=False):
        yield Talk(Conversation(), None, None, {})  # without SQLite: scripts ask often
        return
    from mlm.repl.keeper import Keeper

    def warn(text: str) -> None:
        run.note(f"warning: {text}")

    refs: dict[str, str] = {}
    with saved_sessions(run, wait_s=_WAIT_S) as sessions:
        before = find_session(run, sessions, wanted, go_on=go_on)
        is_kept = is_saving(run, save, is_asked=before is not None)
        keeper = Keeper(sessions, warn, refs, is_saving=is_kept, is_chat=False)
        said = keeper.go_on(before) if before else Conversation()
        yield Talk(said, before.summary.ref if before else None, keeper, refs)
