"""Brings the bytes of one file in: resumes, retries, stops at the first sign of a wrong file."""

import time

from mlm.store.crew import Crew
from mlm.store.growth import Growth
from mlm.store.hub import Hub
from mlm.store.listener import Listener, Phase, Progress
from mlm.store.partial import Partial
from mlm.store.remote import RemoteSource
from mlm.store.retry import Retry
from mlm.store.space import check_space, writing_to
from mlm.store.wire import Interrupted
from mlm.units import KIB, MIB

RETRIES = 6  # in a row without progress
_PROGRESS_BYTES = 256 * KIB  # what an attempt must bring to count as progress
_SPACE_CHECK_BYTES = 256 * MIB
_TICK_S = 0.1  # between two looks at how it goes


class Transfer:
    """One file from one source into one partial.

    ``limit_rate`` is bytes per second, None for as fast as it comes.
    """

    def __init__(
        self,
        hub: Hub,
        source: RemoteSource,
        partial: Partial,
        listener: Listener,
        limit_rate: int | None = None,
    ) -> None:
        self.fetched = 0  # bytes that came over the network, wanted or not
        self._hub = hub
        self._source = source
        self._partial = partial
        self._listener = listener
        self._limit_rate = limit_rate
        self._next_space_check = 0

    def run(self) -> None:
        """Fetch until the partial is complete and hashed. Its checksum is the caller's to compare.

        Raises:
            SpoiledError: what comes cannot be the file.
            NetworkError, AuthError, NotFoundError: the hub or the network refuses for good.
            DiskSpaceError: the disk is full.
        """
        retry = Retry(RETRIES, self._hub.timeouts.backoff_s)
        while True:
            before = self._partial.size
            try:
                self._fetch_missing()
                self._hash_rest()
                return
            except Interrupted as error:
                if self._partial.size - before >= _PROGRESS_BYTES:
                    retry.progressed()
                self._partial.drop_rotten()
                self._hub.wait(retry, error)

    def _fetch_missing(self) -> None:
        while self._partial.missing:
            self._fetch_with(
                Crew(self._source, self._partial, self._limit_rate, self._hub.timeouts.trickle_s)
            )

    def _fetch_with(self, crew: Crew) -> None:
        growth = Growth(time.monotonic())
        self._tell("downloading", 1)
        try:
            crew.hire()
            while not crew.wait(_TICK_S):
                self._look_after(crew, growth)
        finally:
            crew.dismiss()
            self.fetched += crew.fetched
        if failure := crew.failure or crew.interruption:
            raise failure

    def _look_after(self, crew: Crew, growth: Growth) -> None:
        """Do what is due from time to time while bytes arrive."""
        partial = self._partial
        self._tell("downloading", crew.size)
        self._check_rot()
        with writing_to(partial.path.parent, partial.missing):
            if partial.size >= self._next_space_check:
                check_space(partial.path.parent, partial.missing)
                self._next_space_check = partial.size + _SPACE_CHECK_BYTES
            partial.sync()
        if self._limit_rate:
            return
        now = time.monotonic()
        if (interruption := crew.interruption) and crew.size:
            crew.interruption = None
            growth.lose(now, crew.size, interruption.wait_s)
        growth.watch(now, crew.fetched, partial.missing, crew.answer_s)
        crew.resize(growth.wanted)

    def _hash_rest(self) -> None:
        """Wait until the complete file is hashed; show that the hash lags behind, if it does."""
        while not self._partial.wait_hashed(_TICK_S):
            self._check_rot()
            self._tell("checking", 0)
        self._tell("downloading", 0)

    def _check_rot(self) -> None:
        if self._partial.is_rotten:
            raise Interrupted(
                f"{self._source.filename} has changed on this disk since it was fetched in part"
            )

    def _tell(self, phase: Phase, connections: int) -> None:
        partial = self._partial
        total, hashed = partial.expected.size_bytes, partial.hashed
        done = partial.size if phase == "downloading" else hashed
        verified = hashed if phase == "downloading" else None
        self._listener.progress(
            Progress(self._source.filename, phase, done, total, connections, verified)
        )
