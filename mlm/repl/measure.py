"""What a question and all that goes with it take of a context, part by part."""

from dataclasses import dataclass

from mlm.repl.context import TurnSize
from mlm.repl.conversation import SUMMARY_QUESTION, Conversation, Turn
from mlm.repl.question import Question
from mlm.repl.tokens import Count, TokenCounter, estimate


@dataclass(frozen=True, slots=True)
class Sizes:
    """Tokens of each part, with what the chat template puts around it."""

    template: int  # once, whatever is said
    system: int
    summary: int
    turns: tuple[TurnSize, ...]  # all of the conversation
    question: int
    is_exact: bool

    @property
    def fixed(self) -> int:
        """What is sent in any case, whichever turns are."""
        return self.template + self.system + self.summary + self.question


def measure(
    tokens: TokenCounter,
    model: str,
    conversation: Conversation,
    question: Question | None = None,
    enough: int | None = None,
) -> Sizes:
    """Return what each part takes.

    The server counts the last turns until they are ``enough`` tokens; older ones are estimated.
    """
    system = tokens.count_system(model, conversation.system) if conversation.system else Count(0)
    asked = tokens.count_question(model, question) if question is not None else Count(0)
    summary = Count(0)
    if conversation.summary:
        summary = tokens.count_turn(model, Turn(SUMMARY_QUESTION, conversation.summary))
    turns: list[TurnSize] = []
    is_exact, sum_of_turns = True, 0
    for turn in reversed(conversation.turns):
        is_counted = enough is None or sum_of_turns <= enough or turn.pinned
        count = tokens.count_turn(model, turn) if is_counted else estimate(turn)
        is_exact &= count.is_exact or not is_counted
        sum_of_turns += count.tokens
        turns.append(TurnSize(count.tokens, turn.pinned))
    return Sizes(
        template=tokens.wrapping(model).once,
        system=system.tokens,
        summary=summary.tokens,
        turns=tuple(reversed(turns)),
        question=asked.tokens,
        is_exact=is_exact and system.is_exact and asked.is_exact and summary.is_exact,
    )
