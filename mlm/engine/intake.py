"""What a worker takes in before a step: all that is ready.

And where there is nothing to do, the next request, with those that come together with it.
"""

import queue
import time
from collections.abc import Callable
from typing import Any, Protocol

from mlm.engine.image import Image
from mlm.engine.messages import Cancel

# Of requests that are sent at once, each is on its way through the gateway as long as nothing has
# come for less than this.
LULL_S = 0.005


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


def take_in(
    inbox: "queue.SimpleQueue[Any]",
    work: Work,
    desk: Source,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Hand requests and cancels on from the inbox, at least until there is something to do."""
    came_s = last_s = clock()
    while True:
        if work.is_idle:
            item = inbox.get()
            came_s = last_s = clock()
        else:
            patience_s = work.patience_s
            if not desk.n_waiting:
                patience_s = min(patience_s, last_s + LULL_S - came_s)
            try:
                item = inbox.get(timeout=max(0.0, came_s + patience_s - clock()))
            except queue.Empty:
                return
            last_s = clock()
        if isinstance(item, Cancel):
            work.cancel(item.request_id)
        elif not isinstance(item, Image):  # one is encoded now, which its owner sees by itself
            work.submit(item)
