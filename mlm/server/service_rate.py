"""How fast the requests for one model are completed, so that a client can be told when to return.

Only times in which there was something to do count: a model that idles is not slow.
"""

from collections import deque

_REMEMBERED = 32  # requests


class ServiceRate:
    """The last completions of one model. All times are on one monotonic clock, in seconds."""

    def __init__(self) -> None:
        self._intervals: deque[float] = deque(maxlen=_REMEMBERED)
        self._since: float | None = None  # the last completion, or the end of idleness

    def note_begin(self, now: float) -> None:
        """A request has begun."""
        if self._since is None:
            self._since = now

    def note_end(self, now: float, *, others: bool) -> None:
        """A request has ended; ``others`` are still running."""
        if self._since is not None:
            self._intervals.append(now - self._since)
        self._since = now if others else None

    def seconds_for(self, n_requests: int) -> float | None:
        """Return how long so many requests take; None while nothing has been measured."""
        if not self._intervals:
            return None
        return n_requests * sum(self._intervals) / len(self._intervals)
