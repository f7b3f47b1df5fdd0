"""What the endpoints work with, made once per server."""

import time
from collections import Counter
from dataclasses import dataclass, field

from mlm.server.answers import Answers
from mlm.server.cache import ResponseCache
from mlm.server.errors import shutting_down
from mlm.server.keys import Keys
from mlm.server.observer import Observer
from mlm.server.pool import Pool
from mlm.server.session import Sessions
from mlm.server.shelf import Shelf
from mlm.server.vitals import Vitals
from mlm.stats.recorder import Recorder


@dataclass(slots=True)
class Services:
    """The parts of a running server."""

    shelf: Shelf
    pool: Pool
    cache: ResponseCache
    recorder: Recorder
    observer: Observer = field(default_factory=Observer)
    keys: Keys = field(default_factory=Keys)
    answers: Answers = field(init=False)
    vitals: Vitals = field(init=False)
    responses: Counter[tuple[str, int]] = field(default_factory=Counter)  # by endpoint and status
    sessions: Sessions = field(init=False)
    started_at: float = field(default_factory=time.time)
    preloaded: bool = False  # what was given on the command line has been loaded, as far as it fits
    draining: bool = False  # no new work is taken

    def __post_init__(self) -> None:
        """Join the parts that work with each other."""
        self.answers = Answers(self.pool, self.cache, self.observer)
        self.vitals = Vitals(self._worker_pids)
        self.sessions = Sessions(self.keys)

    def refuse_when_draining(self) -> None:
        """Raise ApiError 503 while the server is shutting down."""
        if self.draining:
            raise shutting_down()

    def _worker_pids(self) -> list[int]:
        workers = [resident.worker for resident in self.pool.residents]
        return [worker.pid for worker in workers if worker is not None]
