"""Remembering requests while a server runs: the latest in memory, all of them on disk."""

import time
from collections import deque
from functools import partial
from pathlib import Path

from mlm.stats.database import Writer
from mlm.stats.history import SCHEMA, forget_old, insert
from mlm.stats.types import LoadStats, RequestStats

RECENT_REQUESTS, RECENT_LOADS = 2000, 200


class Recorder:
    """Takes events in without ever waiting or failing."""

    def __init__(self, path: Path) -> None:
        self._writer = Writer(path, SCHEMA)
        self._writer.submit(lambda connection: forget_old(connection, time.time()))
        self.requests: deque[RequestStats] = deque(maxlen=RECENT_REQUESTS)
        self.loads: deque[LoadStats] = deque(maxlen=RECENT_LOADS)

    @property
    def dropped(self) -> int:
        """Events that did not reach the disk."""
        return self._writer.dropped

    def note(self, event: RequestStats | LoadStats) -> None:
        """Remember one event."""
        if isinstance(event, RequestStats):
            self.requests.append(event)
        else:
            self.loads.append(event)
        self._writer.submit(partial(insert, event=event))

    def close(self) -> None:
        """Write what is still waiting."""
        self._writer.close()
