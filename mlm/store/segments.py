"""Who fetches which part of a file: what is missing, handed out in order."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from mlm.store.ranges import Range
from mlm.units import MIB

SEGMENT_BYTES = 16 * MIB  # one request of one connection, where there are several
AHEAD_BYTES = 512 * MIB  # nobody is farther ahead of the hash: it finds that in the page cache
_LEAST_SPLIT_BYTES = 2 * MIB  # a rest that is smaller is not worth another request


@dataclass(eq=False, slots=True)
class Segment:
    """A part that one connection fetches. ``start`` moves on with what has been written."""

    start: int
    stop: int  # may come nearer: somebody else fetches the end
    asked: int = 0  # so far the server was asked to send

    @property
    def missing(self) -> int:
        """Bytes that have yet to come."""
        return self.stop - self.start


class Segments:
    """Hands out the ``gaps`` of a file; ``hashed`` is how far the hash is."""

    def __init__(self, gaps: Callable[[], list[Range]], hashed: Callable[[], int]) -> None:
        self._gaps = gaps
        self._hashed = hashed
        self._taken: list[Segment] = []
        self._lock = threading.Lock()

    def take(self, *, alone: bool) -> Segment | None:
        """Return what to fetch next, None when there is nothing left to do.

        Who is ``alone`` gets all to the next byte that is there. Others get the next piece of
        `SEGMENT_BYTES`, or, when all has been handed out, half of what somebody else has left.
        """
        with self._lock:
            segment = self._next_gap() or self._split()
            if segment is not None:
                if not alone:
                    segment.stop = min(segment.stop, segment.start + SEGMENT_BYTES)
                segment.asked = segment.stop
                self._taken.append(segment)
            return segment

    def give_back(self, segment: Segment) -> None:
        """Hear that nobody fetches ``segment`` any more; what is missing of it is handed out."""
        with self._lock:
            self._taken.remove(segment)

    def share(self) -> None:
        """Leave something for others: who has all gets `SEGMENT_BYTES` from where it is."""
        with self._lock:
            for segment in self._taken:
                segment.stop = min(segment.stop, segment.start + SEGMENT_BYTES)

    def rejoin(self) -> None:
        """Let who is alone go on beyond what it has left for others, who do not come any more."""
        with self._lock:
            if len(self._taken) == 1:
                (segment,) = self._taken
                ends = [stop for start, stop in self._gaps() if start <= segment.start < stop]
                segment.stop = max(segment.stop, min([segment.asked, *ends]))

    def _next_gap(self) -> Segment | None:
        limit = self._hashed() + AHEAD_BYTES
        for start, stop in self._gaps():
            for taken in sorted(self._taken, key=lambda segment: segment.start):
                if taken.start < stop and taken.stop > start:
                    if taken.start > start:
                        stop = taken.start
                        break
                    start = taken.stop
            if start < stop:
                return Segment(start, stop) if start < limit or not self._taken else None
        return None

    def _split(self) -> Segment | None:
        largest = max(self._taken, key=lambda segment: segment.missing, default=None)
        if largest is None or largest.missing < _LEAST_SPLIT_BYTES:
            return None
        middle, stop = largest.start + largest.missing // 2, largest.stop
        largest.stop = middle
        return Segment(middle, stop)
