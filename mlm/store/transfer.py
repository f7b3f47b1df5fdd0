"""Brings the bytes of one file in: resumes, retries, stops at the first sign of a wrong file."""

import time

from mlm.gguf.looks import describe
from mlm.store.hub import Hub
from mlm.store.listener import Listener, Progress
from mlm.store.partial import Partial
from mlm.store.remote import Body, RemoteSource, SpoiledError
from mlm.store.retry import Retry
from mlm.store.space import check_space, writing_to
from mlm.store.wire import TRICKLE_BYTES_PER_S, Interrupted
from mlm.units import KIB, MIB

RETRIES = 6  # in a row without progress
_PROGRESS_BYTES = 256 * KIB  # what an attempt must bring to count as progress
_CHUNK_BYTES = MIB
_SPACE_CHECK_BYTES = 256 * MIB
_MAGIC = b"GGUF"


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
        """Fetch until the partial is complete. Its checksum is the caller's to compare.

        Raises:
            SpoiledError: what comes cannot be the file.
            NetworkError, AuthError, NotFoundError: the hub or the network refuses for good.
            DiskSpaceError: the disk is full.
        """
        retry = Retry(RETRIES, self._hub.timeouts.backoff_s)
        while self._partial.missing:
            before = self._partial.size
            try:
                self._attempt()
            except Interrupted as error:
                if self._partial.size - before >= _PROGRESS_BYTES:
                    retry.progressed()
                self._hub.wait(retry, error)

    def _attempt(self) -> None:
        partial = self._partial
        with self._source.open(partial.size, etag=partial.etag) as body:
            self._agree(body)
            self._receive(body)
        if partial.missing:
            raise Interrupted(f"{body.host} closed the connection early")

    def _agree(self, body: Body) -> None:
        """Make sure that the body continues what the partial holds, or start over with it."""
        partial = self._partial
        if body.total is not None and body.total != partial.expected.size_bytes:
            raise SpoiledError(
                self._source.filename,
                f"it has {body.total} bytes instead of {partial.expected.size_bytes}",
            )
        if body.start != partial.size:
            partial.restart()
        elif partial.size and partial.etag and body.etag != partial.etag:
            partial.restart()
            raise Interrupted(f"{body.host} has replaced the file meanwhile")
        partial.note_etag(body.etag)

    def _receive(self, body: Body) -> None:
        pace, pulse = _Pace(self._limit_rate), _Pulse(self._hub.timeouts.trickle_s, body.host)
        # One byte more than is missing may be read: it shows that the server would send too much.
        while chunk := body.read(min(pace.chunk_bytes, self._partial.missing + 1)):
            self.fetched += len(chunk)
            if len(chunk) > self._partial.missing:
                raise SpoiledError(self._source.filename, "the server sends more than it has")
            self._append(chunk)
            pace.spend(len(chunk))
            if not self._limit_rate:
                pulse.feel(len(chunk))

    def _append(self, chunk: bytes) -> None:
        partial, folder = self._partial, self._partial.path.parent
        if partial.size >= self._next_space_check:
            check_space(folder, partial.missing)
            self._next_space_check = partial.size + _SPACE_CHECK_BYTES
        with writing_to(folder, partial.missing):
            partial.append(chunk)
        if partial.head[:4] != _MAGIC[: len(partial.head)]:
            kind = describe(partial.head)
            raise SpoiledError(self._source.filename, f"it is no GGUF file but {kind}")
        total = partial.expected.size_bytes
        self._listener.progress(Progress(self._source.filename, "downloading", partial.size, total))


class _Pace:
    """Keeps to a rate by sleeping after each chunk."""

    def __init__(self, limit_rate: int | None) -> None:
        self._rate = limit_rate
        self._free_at = time.monotonic()
        quarter_second = limit_rate // 4 if limit_rate else _CHUNK_BYTES
        self.chunk_bytes = max(1, min(_CHUNK_BYTES, quarter_second))

    def spend(self, count: int) -> None:
        if self._rate is None:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + count / self._rate
        time.sleep(self._free_at - now)


class _Pulse:
    """Notices a server that sends just enough to look alive."""

    def __init__(self, window_s: float, host: str) -> None:
        self._window_s = window_s
        self._host = host
        self._since, self._count = time.monotonic(), 0

    def feel(self, count: int) -> None:
        self._count += count
        now = time.monotonic()
        if now - self._since < self._window_s:
            return
        if self._count < TRICKLE_BYTES_PER_S * (now - self._since):
            raise Interrupted(f"{self._host} has nearly stopped sending")
        self._since, self._count = now, 0
