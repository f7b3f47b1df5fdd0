"""Who is connected: at most so many, and fewer from any one address elsewhere."""

from collections import Counter

from mlm.server.address import is_loopback
from mlm.server.errors import ApiError

_SOON_S = 2.0
TURNED_AWAY = 4  # times as many are told why they are not taken, which takes each two seconds


class Crowd:
    """Counts connections. This machine's own are limited only together with all others."""

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most, self._most_per_address = most, most_per_address
        self._n = 0
        self._by_address: Counter[str] = Counter()

    def is_mob(self, n_open: int) -> bool:
        """Tell whether ``n_open`` connections are too many even to tell them so."""
        return n_open > self._most * (1 + TURNED_AWAY)

    def enter(self, address: str) -> None:
        """Count one more connection from ``address``.

        Raises:
            ApiError: 503 or 429: there is no room for it, and it is not counted.
        """
        if self._n >= self._most:
            message = f"the server has {self._most} connections already"
            raise ApiError(503, "too_many_connections", message, retry_after_s=_SOON_S)
        same = self._by_address[address]
        if same >= self._most_per_address and not _is_here(address):
            message = f"your address has {same} connections already"
            raise ApiError(429, "too_many_connections", message, retry_after_s=_SOON_S)
        self._n += 1
        self._by_address[address] += 1

    def leave(self, address: str) -> None:
        """Count one less; only for those that have entered."""
        self._n -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


def _is_here(address: str) -> bool:
    return is_loopback(address.removeprefix("::ffff:"))  # an IPv4 address as IPv6 has it
