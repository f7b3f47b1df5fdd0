"""Many durations in little memory: how many there were of each length, in classes 2 % apart.

However many there are, they take a few hundred numbers, for the classes between the shortest and
the longest: soon as many as ever. Two digests are added up without loss.
"""

import math
import struct
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, chain

_PER_DOUBLING = 32  # classes; half of one, 1.1 %, is what a percentile may be off
_LEAST_S = 0.001 * 2.0**-20  # shorter ones, of a nanosecond, are all in class 0
_OFFSET = 20 * _PER_DOUBLING  # the class that begins at a millisecond
_MOST_PER_PAIR = 0xFFFF
_HEAD = struct.Struct("<3f")  # sum, least, most


class Digest:
    """How long things took. All times are seconds."""

    __slots__ = ("_counts", "_first", "count", "least_s", "most_s", "total_s")

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self.count = 0
        self.total_s, self.least_s, self.most_s = 0.0, math.inf, 0.0
        self._first, self._counts = 0, array("Q")  # the first class, and how many are in each
        self.extend(seconds)

    def add(self, seconds: float) -> None:
        """Take one in."""
        self.extend((seconds,))

    def extend(self, seconds: Iterable[float]) -> None:
        """Take some in."""
        values = tuple(seconds)
        if not values:
            return
        self.count += len(values)
        self.total_s += sum(values)
        self.least_s = min(self.least_s, *values)
        self.most_s = max(self.most_s, *values)
        log2 = math.log2
        # As in `_class_of`: a call for each gap between tokens is what a gateway can do without.
        numbers = [
            int(log2(value * 1000) * _PER_DOUBLING + _OFFSET) if value > _LEAST_S else 0
            for value in values
        ]
        self._reach(min(numbers), max(numbers))
        counts, first = self._counts, self._first
        for number in numbers:
            counts[number - first] += 1

    def merge(self, other: "Digest") -> None:
        """Take in all of another one."""
        self.count += other.count
        self.total_s += other.total_s
        self.least_s = min(self.least_s, other.least_s)
        self.most_s = max(self.most_s, other.most_s)
        if other._counts:
            self._reach(other._first, other._first + len(other._counts) - 1)
        counts, first = self._counts, self._first
        for number, n in other._pairs():
            counts[number - first] += n

    def percentiles(self, percents: Sequence[float]) -> list[float | None]:
        """Return for each percentage the seconds below which so many lie, within 1.1 %.

        Between two values it is interpolated linearly; of nothing it is None.
        """
        if not self.count:
            return [None for _ in percents]
        numbers, places = self._places()

        def value_at(rank: int) -> float:
            number = numbers[min(bisect_right(places, rank), len(numbers) - 1)]
            middle = _LEAST_S * 2 ** ((number + 0.5) / _PER_DOUBLING)
            return min(max(middle, self.least_s), self.most_s)

        found: list[float | None] = []
        for percent in percents:
            position = (self.count - 1) * percent / 100
            below = value_at(int(position))
            found.append(below + (value_at(int(position) + 1) - below) * (position % 1))
        return found

    def cumulate(self, bounds_s: Sequence[float]) -> list[int]:
        """Return how many are below each bound: exact for a millisecond times a power of two."""
        numbers, places = self._places()
        below = [0, *places]
        return [below[bisect_left(numbers, _class_of(bound))] for bound in bounds_s]

    def pack(self) -> bytes:
        """Return it as bytes: 4 for each class that has any, and 12."""
        pairs = list(self._pairs())
        if self.count > _MOST_PER_PAIR:
            pairs = [
                (number, min(n - start, _MOST_PER_PAIR))
                for number, n in pairs
                for start in range(0, n, _MOST_PER_PAIR)
            ]
        head = _HEAD.pack(self.total_s, self.least_s, self.most_s)
        return head + array("H", chain.from_iterable(pairs)).tobytes()

    @classmethod
    def unpack(cls, packed: bytes) -> "Digest":
        """Return what was packed.

        Raises:
            ValueError: the bytes are something else.
        """
        digest, pairs = cls(), array("H")
        try:
            head = _HEAD.unpack_from(packed)
            pairs.frombytes(packed[_HEAD.size :])
            numbers, counts = pairs[::2], pairs[1::2]
            if numbers:
                digest._reach(min(numbers), max(numbers))
            for number, n in zip(numbers, counts, strict=True):
                digest._counts[number - digest._first] += n
        except struct.error as error:
            raise ValueError("not a digest") from error
        digest.total_s, digest.least_s, digest.most_s = head
        digest.count = sum(digest._counts)
        return digest

    def _pairs(self) -> Iterator[tuple[int, int]]:
        """Yield the classes that have any, in ascending order, each with how many."""
        return ((number, n) for number, n in enumerate(self._counts, self._first) if n)

    def _places(self) -> tuple[list[int], list[int]]:
        """Return the classes that have any, and how many there are up to the end of each."""
        pairs = list(self._pairs())
        return [number for number, _ in pairs], list(accumulate(n for _, n in pairs))

    def _reach(self, least: int, most: int) -> None:
        """Have room for the classes from ``least`` to ``most``."""
        if not self._counts:
            self._first = least
        before, behind = self._first - least, most + 1 - self._first - len(self._counts)
        if before > 0:
            self._first, self._counts = least, _zeros(before) + self._counts
        if behind > 0:
            self._counts.extend(_zeros(behind))


def _zeros(n: int) -> "array[int]":
    return array("Q", bytes(8 * n))


def _class_of(seconds: float) -> int:
    if seconds <= _LEAST_S:
        return 0
    return int(math.log2(seconds * 1000) * _PER_DOUBLING + _OFFSET)
