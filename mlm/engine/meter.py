"""What a worker has done so far, counted while it works; always on.

The thread that computes writes, the one that sends the heartbeat reads. There is no lock: every
figure is written in one go and only ever grows, so a reader is at worst a step behind in some.
"""

import time
from bisect import bisect_left
from collections.abc import Callable

from mlm.engine.messages import STEP_BOUNDS_S, Work


class Meter:
    """The sums of one worker since its model was loaded. Times are seconds on ``clock``."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._idle: tuple[float, float | None] = (0.0, clock())  # seconds; and idle since when
        self._clock = clock
        self._steps = [0] * (len(STEP_BOUNDS_S) + 1)
        self._step_s = self._computing_s = self._choosing_s = self._queue_s = 0.0
        self._sequences = self._prefill_tokens = self._decode_tokens = 0
        self._admitted = self._reused_tokens = 0

    def rest(self) -> None:
        """There is nothing to do from now on …"""
        self._idle = (self._idle[0], self._clock())

    def wake(self) -> None:
        """… until now."""
        seconds, since = self._idle
        if since is not None:
            self._idle = (seconds + self._clock() - since, None)

    def note_admission(self, queue_s: float, reused_tokens: int) -> None:
        """A request has waited ``queue_s`` and need not compute ``reused_tokens`` of its prompt."""
        self._admitted += 1
        self._queue_s += queue_s
        self._reused_tokens += reused_tokens

    def note_computing(self, seconds: float) -> None:
        """A batch took llama.cpp so long."""
        self._computing_s += seconds

    def note_choosing(self, seconds: float) -> None:
        """Choosing one token took so long."""
        self._choosing_s += seconds

    def note_step(self, seconds: float, prefill: int, decode: int, sequences: int) -> None:
        """A step of ``seconds`` in all has computed so many tokens of so many sequences."""
        self._step_s += seconds
        self._prefill_tokens += prefill
        self._decode_tokens += decode
        self._sequences += sequences
        self._steps[bisect_left(STEP_BOUNDS_S, seconds)] += 1

    def read(self) -> Work:
        """Return the sums as they are now. Any thread may ask."""
        now = self._clock()  # before the next line, or a nap that ends between them counts double
        idle_s, since = self._idle
        return Work(
            steps=list(self._steps),
            step_s=self._step_s,
            computing_s=self._computing_s,
            choosing_s=self._choosing_s,
            idle_s=idle_s if since is None else idle_s + max(now - since, 0.0),
            sequences=self._sequences,
            prefill_tokens=self._prefill_tokens,
            decode_tokens=self._decode_tokens,
            reused_tokens=self._reused_tokens,
            admitted=self._admitted,
            queue_s=self._queue_s,
        )
