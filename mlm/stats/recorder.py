"""Remembering requests while a server runs: their sums in memory, each of them on disk."""

import time
from collections import deque
from dataclasses import replace
from functools import partial
from pathlib import Path

from mlm.stats.database import Writer
from mlm.stats.digest import Digest
from mlm.stats.history import SCHEMA, forget_old, insert_load, insert_request
from mlm.stats.tally import Tally
from mlm.stats.types import LoadStats, RequestStats

RECENT_REQUESTS = 50
WINDOW = 1000  # of so many of a model's latest requests there are percentiles
MAX_MODELS, OTHERS = 200, "(others)"  # more than anybody serves are counted together
_EVENTS_BETWEEN_PRUNES = 1000


class Recorder:
    """Takes events in without ever waiting or failing."""

    def __init__(self, path: Path) -> None:
        self._writer = Writer(path, SCHEMA)
        self._n_events = 0
        self._prune()
        self.models: dict[str, Tally] = {}
        self.recent: deque[RequestStats] = deque(maxlen=RECENT_REQUESTS)  # the newest first

    @property
    def dropped(self) -> int:
        """Events that did not reach the disk."""
        return self._writer.dropped

    def note(self, event: RequestStats | LoadStats) -> None:
        """Remember one event; of a request that came to no model, only that it was there."""
        if isinstance(event, LoadStats):
            self._tally(event.model).add_load(event)
            self._writer.submit(partial(insert_load, event=event))
        else:
            gaps = Digest(event.itl_s)
            event = replace(event, itl_s=())  # a long answer has many
            self.recent.appendleft(event)
            if not event.model:
                return
            self._tally(event.model).add(event, gaps)
            self._writer.submit(partial(insert_request, event=event, gaps=gaps.pack()))
        self._n_events += 1
        if self._n_events % _EVENTS_BETWEEN_PRUNES == 0:
            self._prune()

    def close(self) -> None:
        """Write what is still waiting."""
        self._writer.close()

    def _prune(self) -> None:
        self._writer.submit(lambda connection: forget_old(connection, time.time()))

    def _tally(self, model: str) -> Tally:
        if model not in self.models and len(self.models) >= MAX_MODELS:
            model = OTHERS
        if model not in self.models:
            self.models[model] = Tally(WINDOW)
        return self.models[model]
