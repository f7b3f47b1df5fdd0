"""When the tokens of one answer came, in 12 bytes for each: a long answer has thousands."""

from array import array
from itertools import zip_longest

_BURST_S = 0.0001  # no engine makes 10,000 tokens per second for one request


class Arrivals:
    """What was read at once is one arrival, of one token or more. Times are seconds, ascending."""

    __slots__ = ("_at", "_n_tokens")

    def __init__(self) -> None:
        self._at, self._n_tokens = array("d"), array("I")

    def add(self, at: float, n_tokens: int) -> None:
        """Take in that so many tokens have come."""
        self._at.append(at)
        self._n_tokens.append(n_tokens)

    @property
    def first_at(self) -> float | None:
        """When the first token came."""
        return self._at[0] if self._at else None

    @property
    def n_tokens(self) -> int:
        """How many tokens have come."""
        return sum(self._n_tokens)

    def gaps_s(self) -> tuple[float, ...]:
        """Return the seconds between tokens.

        Tokens that were read in one go were made one after the other: they share their gap.
        """
        gaps: list[float] = []
        last_at, pending = self.first_at or 0.0, 0
        arrivals = zip_longest(self._at[1:], self._n_tokens[1:], self._at[2:])
        for at, n_tokens, following_at in arrivals:
            pending += n_tokens
            if following_at is None or following_at - at > _BURST_S:
                gaps += [(at - last_at) / pending] * pending
                last_at, pending = at, 0
        return tuple(gaps)
