"""What an answer said, and when. Times are seconds."""

import time
from collections.abc import Callable, Iterator

from mlm.client.answer import Delta, Event, Finished


class Recording:
    """Passes the deltas of one answer on, and keeps what came when.

    The clock starts with the first `next`.
    """

    def __init__(
        self, events: Iterator[Event], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._events = events
        self._clock = clock
        self._started: float | None = None
        self._ended: float | None = None
        self._arrivals: list[float] = []
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self.finished: Finished | None = None  # None: still going, or given up half way

    def __iter__(self) -> Iterator[Delta]:
        self._started = self._clock()
        for event in self._events:
            now = self._clock()
            if isinstance(event, Finished):
                self.finished, self._ended = event, now
                continue
            self._arrivals.append(now)
            (self._thoughts if event.thinking else self._texts).append(event.text)
            yield event

    def wait(self) -> None:
        """Take the whole answer in."""
        for _ in self:
            pass

    @property
    def text(self) -> str:
        """The answer so far, without the thinking."""
        return "".join(self._texts)

    @property
    def thinking(self) -> str:
        """What was thought before the answer, so far."""
        return "".join(self._thoughts)

    @property
    def completion_tokens(self) -> int:
        """Tokens of the answer; for servers that do not count them, the number of pieces."""
        usage = self.finished.usage if self.finished else None
        return usage.completion_tokens if usage else len(self._arrivals)

    @property
    def arrivals_s(self) -> tuple[float, ...]:
        """When each piece came, by the clock."""
        return tuple(self._arrivals)

    @property
    def ttft_s(self) -> float | None:
        """Time to the first token; None if there was none."""
        if self._started is None or not self._arrivals:
            return None
        return self._arrivals[0] - self._started

    @property
    def itl_s(self) -> tuple[float, ...]:
        """The gaps between the pieces, as the client saw them."""
        return tuple(
            later - earlier
            for earlier, later in zip(self._arrivals, self._arrivals[1:], strict=False)
        )

    @property
    def e2e_s(self) -> float | None:
        """Time from the question to the end of the answer; None if it did not end."""
        if self._started is None or self._ended is None:
            return None
        return self._ended - self._started

    @property
    def decode_tps(self) -> float | None:
        """Tokens per second after the first one; None where nothing was decoded."""
        if self.finished and self.finished.cache == "hit":
            return None
        span = sum(self.itl_s)
        return (self.completion_tokens - 1) / span if span > 0 else None
