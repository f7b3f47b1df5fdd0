"""What has been said so far. Nothing here changes in place: a failed question leaves no trace."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mlm.pictures import to_content
from mlm.repl.attachment import Attachment
from mlm.sessions.types import Picture, captioned

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
    pictures: tuple[Picture, ...] = ()  # all that were shown with it

    @property
    def unseen(self) -> "Turn":
        """The turn as it is told to who cannot see: its pictures are only named."""
        question = captioned(self.question, self.pictures)
        typed = self.question if self.typed is None else self.typed
        return replace(self, question=question, typed=typed, pictures=())


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

    def showing(self, most: int, most_bytes: int) -> "Conversation":
        """Return the conversation with its last pictures, ``most`` of them, in ``most_bytes``.

        The others are only named: those of a turn together, and of all turns before it.
        """
        turns = list(self.turns)
        for index, turn in reversed(list(enumerate(turns))):
            if turn.pictures and (turn.pinned or index >= self.left_out):
                most -= len(turn.pictures)
                most_bytes -= sum(len(picture.data) for picture in turn.pictures)
                if most < 0 or most_bytes < 0:
                    turns[index] = turn.unseen
        return replace(self, turns=tuple(turns))

    def cleared(self) -> "Conversation":
        """Return the conversation as it began."""
        return Conversation(self.system)

    def messages(
        self, question: str | None = None, pictures: Sequence[Picture] = ()
    ) -> list[dict[str, object]]:
        """Return what is sent of all that was said, and ``question``, as the chat API has it."""
        messages: list[dict[str, object]] = []
        if self.system:
            messages.append({"role": "system", "content": self.system})
        for turn in self.sent:
            messages.append(_asked(turn.question, turn.pictures))
            messages.append({"role": "assistant", "content": turn.answer})
        return [*messages, _asked(question, pictures)] if question is not None else messages


def _asked(question: str, pictures: Sequence[Picture]) -> dict[str, object]:
    content = to_content(question, [picture.data for picture in pictures])
    return {"role": "user", "content": content}
