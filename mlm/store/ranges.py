"""Which bytes of a file there are: a set of ranges, each from its start to before its stop."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

Range = tuple[int, int]


class Ranges:
    """A set of bytes, kept as few disjoint ranges in order."""

    def __init__(self, ranges: Iterable[Range] = ()) -> None:
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.total = 0  # bytes
        for start, stop in ranges:
            self.add(start, stop)

    def add(self, start: int, stop: int) -> None:
        """Put the bytes from ``start`` to before ``stop`` in, whether or not some are there."""
        if start >= stop:
            return
        first = bisect_left(self._stops, start)  # the first range that touches this one
        last = bisect_right(self._starts, stop)  # … and the one behind the last that does
        if first < last:
            start = min(start, self._starts[first])
            stop = max(stop, self._stops[last - 1])
        self.total -= sum(self._stops[i] - self._starts[i] for i in range(first, last))
        self.total += stop - start
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def end_from(self, offset: int) -> int:
        """Return where the bytes that are there without a gap from ``offset`` on end."""
        index = bisect_right(self._starts, offset) - 1
        return max(offset, self._stops[index]) if index >= 0 else offset

    def gaps(self, stop: int) -> Iterator[Range]:
        """Yield what is missing before ``stop``, in order."""
        reached = 0
        for start, end in self:
            if start >= stop:
                break
            if start > reached:
                yield reached, start
            reached = end
        if reached < stop:
            yield reached, stop

    def cut(self, stop: int) -> "Ranges":
        """Return the bytes before ``stop``."""
        return Ranges((start, min(end, stop)) for start, end in self if start < stop)

    def __iter__(self) -> Iterator[Range]:
        return iter(zip(self._starts, self._stops, strict=True))
