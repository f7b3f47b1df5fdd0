"""What fits into a model's context: which turns go with a question. Pure arithmetic, in tokens."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

_LONGEST_RESERVE = 2048  # where nobody says how long answers may be
# After turns had to be left out, so much of the room is in use: the next questions then begin as
# this one does, and the server need not read everything again for each of them.
_FULL_AFTER_LEAVING_OUT = 0.6


@dataclass(frozen=True, slots=True)
class TurnSize:
    """How long a turn is, question and answer."""

    tokens: int
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes with a question: all pinned turns, and those after the first ``left_out``."""

    left_out: int
    tokens: int  # of all that is sent, the question included
    room: int  # what there is for it

    @property
    def fits(self) -> bool:
        """Whether the question can be sent; without any unpinned turn, if need be."""
        return self.tokens <= self.room


def choose_reserve(limit: int, max_tokens: int | None) -> int:
    """Return how much of a context is kept for the answer: what it may take, within reason."""
    if max_tokens is not None:
        return min(max_tokens, limit // 2)
    return min(_LONGEST_RESERVE, limit // 4)


def plan_context(turns: Sequence[TurnSize], fixed: int, room: int, left_out: int = 0) -> Plan:
    """Return which ``turns`` go with a question.

    ``fixed`` is what is sent in any case: system prompt, summary, the question itself. The last
    turns are sent, as many as there is ``room`` for; older ones are left out whole. Those that
    were ``left_out`` before stay so, and as long as the others fit none is added to them.
    """
    everything = fixed + sum(turn.tokens for turn in turns)
    saved = [0, *accumulate(0 if turn.pinned else turn.tokens for turn in turns)]
    sizes = [everything - saved[first] for first in range(left_out, len(turns) + 1)]
    if sizes[0] <= room:
        return Plan(left_out, sizes[0], room)
    for most in (room * _FULL_AFTER_LEAVING_OUT, room):
        for first, tokens in enumerate(sizes[:-1], left_out):
            if tokens <= most:
                return Plan(first, tokens, room)
    return Plan(len(turns), sizes[-1], room)
