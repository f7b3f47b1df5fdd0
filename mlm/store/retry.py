"""When to try again, and how long to wait before."""

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Protocol

RETRIED_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
LONGEST_WAIT_S = 300.0  # a server that asks for more is not waited for
_LONGEST_BACKOFF_S = 30.0
_RATE_LIMIT = re.compile(r"\br=0\b.*?\bt=(\d+)")


class Headers(Protocol):
    """The headers of a response, found by name in any case."""

    def get(self, name: str, /) -> str | None:
        """Return the header's value, None when it was not sent."""
        ...


@dataclass
class Retry:
    """Counts attempts that brought nothing; each waits about twice as long as the one before.

    The waits are jittered, so that many machines which failed together do not return together.
    """

    limit: int
    first_wait_s: float
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random
    failures: int = field(default=0, init=False)

    def progressed(self) -> None:
        """Forget the failures: bytes are arriving."""
        self.failures = 0

    def next_wait(self, asked_s: float | None) -> float | None:
        """Return the seconds to wait before the next attempt, None when it is time to give up.

        ``asked_s`` is what the server asked for; it is obeyed up to `LONGEST_WAIT_S`.
        """
        self.failures += 1
        if self.failures > self.limit or (asked_s is not None and asked_s > LONGEST_WAIT_S):
            return None
        backoff = min(self.first_wait_s * 2.0 ** (self.failures - 1), _LONGEST_BACKOFF_S)
        jittered = backoff * (0.5 + self.random())
        return jittered if asked_s is None else asked_s + jittered / 10


def asked_wait(headers: Headers, now: float) -> float | None:
    """Return for how many seconds a server wants to be left alone, None if it does not say.

    ``Retry-After`` may be seconds or a date; the hub also sends ``RateLimit: "api";r=0;t=N``.
    ``now`` is Unix time.
    """
    value = (headers.get("Retry-After") or "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    if value:
        try:
            return max(0.0, parsedate_to_datetime(value).timestamp() - now)
        except (ValueError, TypeError, OverflowError):
            return None
    match = _RATE_LIMIT.search(headers.get("RateLimit") or "")
    return float(match[1][:9]) if match else None
