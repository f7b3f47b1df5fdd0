"""What one answer looks like while it comes: finished lines, and the few that still change."""

import re
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from mlm.client import Delta
from mlm.repl.markdown import MarkdownStream, Part, Prose
from mlm.repl.rendering import Line, render, wrap_words
from mlm.repl.status import Speed
from mlm.repl.thinking import Thought
from mlm.terminal import TerminalFilter

PATIENCE_S = 0.5  # of a wait that need not be explained
DIM = "dim"


# What joins characters into one: terminals do not agree on how wide that is.
_JOINING = re.compile("[\u200d\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")


@dataclass(frozen=True, slots=True)
class Frame:
    """``finished`` lines go to the screen once and for good; the ``live`` ones stand below them."""

    finished: list[Line]
    live: list[Line]


class AnswerView:
    """Takes the deltas of an answer in one thread and draws them in another."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._coming: deque[tuple[float, Delta]] = deque()
        self._arrivals = 0
        self._first = self._last = 0.0  # when the first and the latest delta came
        self._thought = Thought()
        self._text = MarkdownStream()
        self._filter = TerminalFilter()
        self._is_blank = True  # nothing of the answer is on the screen for good

    def feed(self, delta: Delta) -> None:
        """Take the next piece."""
        self._coming.append((self._clock(), delta))

    def draw(self, width: int, height: int, wait: str) -> Frame:
        """Return what there is to draw since the last time; ``live`` has at most ``height`` lines.

        Of a part that is taller the end is shown, and all of it once it is finished. ``wait`` says
        what happens before the first token.
        """
        self._take_in()
        if not self._arrivals:
            waited = self._clock() - self._started
            is_long = waited >= PATIENCE_S
            return Frame([], [[(DIM, f"{wait} … {waited:.0f} s")]] if is_long else [])
        if self._thought.is_going_on:
            return Frame([], [[(DIM, self._thought.so_far(self._clock()))]])
        finished = self._finished(width)
        live = list(render(map(_steady, self._text.rest()), width, is_first=self._is_blank))
        return Frame(finished, live[-height:])

    def end(self, width: int) -> list[Line]:
        """Return all that is not on the screen for good: the answer is over."""
        self._take_in()
        finished = self._finished(width)
        return [*finished, *render(self._text.rest(), width, is_first=self._is_blank)]

    @property
    def speed(self) -> Speed:
        """How fast it comes, counting each delta as a token."""
        if not self._arrivals:
            return Speed()
        span = self._last - self._first
        tps = (self._arrivals - 1) / span if span > 0 else None
        return Speed(tps, self._first - self._started)

    @property
    def tokens(self) -> int:
        """How many deltas came."""
        return self._arrivals

    def _take_in(self) -> None:
        while self._coming:
            at, delta = self._coming.popleft()
            self._first = self._first if self._arrivals else at
            self._last = at
            self._arrivals += 1
            if delta.thinking:
                self._thought.note(at)
            else:
                self._thought.answer()
                self._text.feed(self._filter.feed(delta.text))

    def _finished(self, width: int) -> list[Line]:
        told = self._thought.tell()
        lines: list[Line] = [[(DIM, line)] for line in wrap_words(told, width)] if told else []
        self._is_blank = self._is_blank and not told
        parts = self._text.take()
        lines += render(parts, width, is_first=self._is_blank)
        self._is_blank = self._is_blank and not parts
        return lines


def _steady(part: Part) -> Part:
    """Return ``part`` without what might put the cursor elsewhere than one thinks it is."""
    if isinstance(part, Prose):
        return replace(part, source=_JOINING.sub("", part.source))
    return replace(part, lines=tuple(_JOINING.sub("", line) for line in part.lines))
