"""What has been said so far. Nothing here changes in place: a failed question leaves no trace."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlm.repl.attachment import Attachment

SUMMARY_QUESTION = "Sum up our conversation so far."


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer, which may have been stopped or cut off half way."""

    question: str  # as it was sent, with the files that it names
    answer: str
    stopped: bool = False
    pinned: bool = False  # is sent however full the context is
    typed: str | None = None  # the question as it was typed, where that is not what was sent
    attached: tuple[Attachment, ...] = ()  # files that went with it and are not named in it


@dataclass(frozen=True, slots=True)
class Conversation:
    """All that was said, and how much of it the model is reminded of with every question."""

    system: str | None = None
    turns: tuple[Turn, ...] = ()
    left_out: int = 0  # so many of the first turns are not sent any more, unless they are pinned
    summary: str | None = None  # the model's own, of the turns that are left out

    @property
    def sent(self) -> tuple[Turn, ...]:
        """The turns that go with the next question, a summary of the others first."""
        pinned = [turn for turn in self.turns[: self.left_out] if turn.pinned]
        summary = [Turn(SUMMARY_QUESTION, self.summary)] if self.summary else []
        return (*summary, *pinned, *self.turns[self.left_out :])

    def with_turn(self, turn: Turn) -> "Conversation":
        """Return the conversation after ``turn``."""
        return replace(self, turns=(*self.turns, turn))

    def with_system(self, system: str | None) -> "Conversation":
        """Return the same turns under another system prompt; None for no prompt."""
        return replace(self, system=system)

    def without_last(self, count: int = 1) -> "Conversation":
        """Return the conversation as it was ``count`` turns ago."""
        turns = self.turns[: max(len(self.turns) - count, 0)]
        if len(turns) < self.left_out:  # what is left could be sent again
            return Conversation(self.system, turns)
        return replace(self, turns=turns)

    def with_pin(self, number: int, pinned: bool) -> "Conversation":
        """Return the conversation with turn ``number`` (from 1) pinned or not."""
        turn = replace(self.turns[number - 1], pinned=pinned)
        return replace(self, turns=(*self.turns[: number - 1], turn, *self.turns[number:]))

    def leaving_out(self, left_out: int, summary: str | None = None) -> "Conversation":
        """Return the conversation of which so many first turns are not sent."""
        return replace(self, left_out=left_out, summary=summary)

    def cleared(self) -> "Conversation":
        """Return the conversation as it began."""
        return Conversation(self.system)

    def messages(self, question: str | None = None) -> list[dict[str, str]]:
        """Return what is sent of all that was said, and ``question``, as the chat API has it."""
        asked = [{"role": "user", "content": question}] if question is not None else []
        return [*_to_messages(self.system, self.sent), *asked]


def _to_messages(system: str | None, turns: Sequence[Turn]) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": system}] if system else []
    for turn in turns:
        messages.append({"role": "user", "content": turn.question})
        messages.append({"role": "assistant", "content": turn.answer})
    return messages
