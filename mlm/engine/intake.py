"""What a worker takes in before a step: all that is ready.

And where there is nothing to do, the next request, with those that come together with it.
"""

import queue
import time
from collections.abc import Callable
from typing import Any, Protocol

from mlm.engine.image import Image
from mlm.engine.messages import Cancel

# Requests that are sent at once come through the gateway one by one. When none has come for this
# long, all are here: at first; at least; and so many times as long as the last ones were apart.
LULL_S, LEAST_LULL_S, LULL_PER_GAP = 0.005, 0.001, 2.0


class Work(Protocol):
    """What is asked of a `Scheduler` or an `Embedder`."""

    @property
    def is_idle(self) -> bool:
        """Whether a step would do nothing."""

    @property
    def patience_s(self) -> float:
        """How long what waits may go on to do so, for others that come with it."""

    def submit(self, request: Any) -> None:
        """Take a request."""

    def cancel(self, request_id: int) -> None:
        """End a request."""


class Source(Protocol):
    """What is asked of a `Desk`."""

    @property
    def n_waiting(self) -> int:
        """Requests that are not ready yet."""


class Intake:
    """Takes requests and cancels from the inbox, at least until there is something to do.

    It learns how those that are sent at once follow each other here, so that they are waited for
    and who always comes alone is not kept.
    """

    def __init__(
        self,
        inbox: "queue.SimpleQueue[Any]",
        work: Work,
        desk: Source,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inbox, self._work, self._desk, self._clock = inbox, work, desk, clock
        self._lull_s = LULL_S
        self._last_s = 0.0  # when the last one came that was waited for …
        self._until_s = 0.0  # … and until when one more might have been

    def take_in(self) -> None:
        """Hand on what is ready, and wait for what may come with it."""
        work = self._work
        came_s = last_s = self._clock()
        longest_s = patience_s = 0.0
        while True:
            if work.is_idle:
                item = self._inbox.get()
                came_s = last_s = self._clock()
            else:
                patience_s = work.patience_s
                end_s = came_s + patience_s
                if not self._desk.n_waiting:
                    end_s = min(end_s, last_s + self._lull_s)
                try:
                    item = self._inbox.get(timeout=max(0.0, end_s - self._clock()))
                except queue.Empty:
                    break
                now_s = self._clock()
                longest_s, last_s = max(longest_s, now_s - last_s), now_s
            if isinstance(item, Cancel):
                work.cancel(item.request_id)
            elif not isinstance(item, Image):  # one is encoded now, which its owner sees by itself
                self._note_missed(item.received_s)
                work.submit(item)
        if patience_s:
            self._lull_s = max(LEAST_LULL_S, self._lull_s / 2, LULL_PER_GAP * longest_s)
            self._last_s, self._until_s = last_s, came_s + patience_s

    def _note_missed(self, received_s: float) -> None:
        """Learn from a request that came when the others had just been let in without it."""
        if self._last_s < received_s <= self._until_s:
            self._lull_s = max(self._lull_s, LULL_PER_GAP * (received_s - self._last_s))
            self._last_s = received_s
