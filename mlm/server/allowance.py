"""How much of what a key allows has been used."""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from mlm.server.errors import ApiError
from mlm.server.keys_file import Key

_MINUTE_S = 60.0
_SOON_S = 1.0  # nobody knows when a request will end


@dataclass(slots=True)
class _Use:
    """What one key has on its account."""

    active: int = 0
    started_at: deque[float] = field(default_factory=deque)  # requests of the last minute


class Allowances:
    """Counts the requests of each key: never more than its limits, in no minute and at no time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._uses: dict[str, _Use] = {}

    def begin(self, key: Key) -> None:
        """Count a request; `end` has to follow.

        Raises:
            ApiError: 429, and it is not counted.
        """
        use = self._uses.setdefault(key.sha256, _Use())
        if key.concurrent is not None and use.active >= key.concurrent:
            raise _too_many(f"{key.concurrent} requests at once", _SOON_S)
        if key.requests_per_minute is not None:
            self._count_minute(use.started_at, key.requests_per_minute)
        use.active += 1

    def end(self, key: Key) -> None:
        """Count a request that began no longer."""
        self._uses[key.sha256].active -= 1

    def _count_minute(self, started_at: deque[float], limit: int) -> None:
        now = self._clock()
        while started_at and started_at[0] <= now - _MINUTE_S:
            started_at.popleft()
        if len(started_at) >= limit:
            raise _too_many(f"{limit} requests a minute", started_at[-limit] + _MINUTE_S - now)
        started_at.append(now)


def _too_many(allowed: str, retry_after_s: float) -> ApiError:
    message = f"this API key is for {allowed}"
    return ApiError(429, "rate_limit_exceeded", message, retry_after_s=retry_after_s)
