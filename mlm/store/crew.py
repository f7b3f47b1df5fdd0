"""The connections that fetch one file side by side, a thread each."""

import threading
import time

from mlm.errors import MlmError
from mlm.gguf.looks import describe
from mlm.store.hasher import PIECE_BYTES, Piece
from mlm.store.partial import Partial
from mlm.store.remote import Body, RemoteSource, SpoiledError
from mlm.store.segments import Segment, Segments
from mlm.store.space import writing_to
from mlm.store.wire import TRICKLE_BYTES_PER_S, Interrupted

_FLUSH_S = 0.25  # what comes slowly is written sooner
_MAGIC = b"GGUF"


class Crew:
    """Fetches what is missing of one partial, with as many connections as it is told.

    ``limit_rate`` is bytes per second for each. Hire them; dismiss them at the end in any case.
    """

    def __init__(
        self, source: RemoteSource, partial: Partial, limit_rate: int | None, trickle_s: float
    ) -> None:
        self.fetched = 0  # bytes that came over the network, wanted or not
        self.wanted = 1  # connections; those that are too many leave after their segment
        self.failure: BaseException | None = None  # for good
        self.interruption: Interrupted | None = None  # the last one; each has cost a connection
        self._answer_s = 0.0
        self._answered: set[threading.Thread] = set()
        self._source = source
        self._partial = partial
        self._limit_rate = limit_rate
        self._trickle_s = trickle_s
        self._segments = Segments(partial.gaps, lambda: partial.hashed)
        self._members: dict[threading.Thread, Body | None] = {}
        self._change = threading.Condition()
        self._dismissed = False

    @property
    def size(self) -> int:
        """Connections at work."""
        return len(self._members)

    @property
    def answer_s(self) -> float | None:
        """How long the last answer took to begin; None while somebody waits for the first one."""
        with self._change:
            return self._answer_s if self._members.keys() <= self._answered else None

    def hire(self) -> None:
        """Start as many connections as are wanted and not there."""
        with self._change:
            missing = self.wanted - len(self._members)
            for _ in range(missing):
                member = threading.Thread(target=self._work, name="fetch", daemon=True)
                self._members[member] = None
                member.start()

    def resize(self, wanted: int) -> None:
        """Become so many: let who fetches all leave something for others, or take it back."""
        if wanted > self.wanted:
            self._segments.share()
        self.wanted = wanted
        if wanted == 1:
            self._segments.rejoin()
        self.hire()

    def wait(self, timeout_s: float) -> bool:
        """Wait until all have left, but not longer than that; whether they have."""
        with self._change:
            return self._change.wait_for(lambda: not self._members, timeout_s)

    def dismiss(self) -> None:
        """End all connections now. Afterwards nobody touches the partial any more."""
        with self._change:
            self._dismissed = True
            receiving = {member: body for member, body in self._members.items() if body}
        for body in receiving.values():
            body.abort()
        for member in receiving:
            member.join()

    def _work(self) -> None:
        try:
            while not self._dismissed and self.failure is None and self.size <= self.wanted:
                segment = self._segments.take(alone=self.wanted == 1)
                if segment is None:
                    return
                try:
                    self._fetch(segment)
                finally:
                    self._segments.give_back(segment)
        except Interrupted as error:
            self.interruption = error
        except BaseException as error:  # whoever waits for us raises it
            self.failure = self.failure or error
        finally:
            with self._change:
                del self._members[threading.current_thread()]
                self._change.notify_all()

    def _fetch(self, segment: Segment) -> None:
        size = self._partial.expected.size_bytes
        with self._open(segment) as body:
            self._receive(body, segment)
            if segment.start == size and body.read_into(memoryview(bytearray(1))):
                raise SpoiledError(self._source.filename, "the server sends more than it has")
        self._set_body(None)

    def _open(self, segment: Segment) -> Body:
        """Return the bytes of ``segment``.

        While others are at work, whatever a server has against one more connection costs just that
        connection.
        """
        is_last = segment.stop == self._partial.expected.size_bytes
        stop = None if is_last else segment.stop
        asked_at = time.monotonic()
        try:
            body = self._source.open(segment.start, stop=stop, etag=self._partial.etag)
            self._answer_s = time.monotonic() - asked_at
            try:
                self._set_body(body)
                self._agree(body, segment)
            except BaseException:
                body.close()
                raise
            return body
        except MlmError as error:
            if self.size > 1 and not isinstance(error, Interrupted):
                raise Interrupted(error.message, remedy=error.remedy) from error
            raise

    def _set_body(self, body: Body | None) -> None:
        """Make known what `dismiss` has to abort; who is dismissed before that gets no farther.

        So nobody touches the partial whom `dismiss` does not wait for.
        """
        with self._change:
            if self._dismissed and body is not None:
                raise Interrupted("the download was stopped")
            self._members[threading.current_thread()] = body
            self._answered.add(threading.current_thread())

    def _agree(self, body: Body, segment: Segment) -> None:
        """Make sure that the body continues what the partial holds, or start over with it."""
        partial = self._partial
        if body.total is not None and body.total != partial.expected.size_bytes:
            raise SpoiledError(
                self._source.filename,
                f"it has {body.total} bytes instead of {partial.expected.size_bytes}",
            )
        changed = partial.size > 0 and partial.etag is not None and body.etag != partial.etag
        if body.start == segment.start and not changed:
            partial.note_etag(body.etag)
            return
        if self.size > 1:
            raise Interrupted(f"{body.host} does not go on with the same file")
        partial.restart()
        if body.start == segment.start:
            raise Interrupted(f"{body.host} has replaced the file meanwhile")
        segment.start, segment.stop = 0, partial.expected.size_bytes
        partial.note_etag(body.etag)

    def _receive(self, body: Body, segment: Segment) -> None:
        """Write what comes until the segment is complete, also what comes before it breaks off."""
        pace, pulse = _Pace(self._limit_rate), _Pulse(self._trickle_s, body.host)
        piece: Piece | None = self._next_piece(segment)
        try:
            while piece is not None:
                room = min(pace.most, PIECE_BYTES - piece.count, segment.stop - piece.stop)
                count = body.read_into(piece.buffer[piece.count : piece.count + room])
                if not count:
                    raise Interrupted(f"{body.host} closed the connection early")
                piece.count += count
                self._count(count)
                pace.spend(count)
                if self._limit_rate is None:  # else the slowness may be our own wish
                    pulse.feel(count)
                is_last = piece.stop >= segment.stop
                if piece.count == PIECE_BYTES or is_last or pulse.is_slow:
                    full, piece = piece, None
                    self._write(full, segment)
                    piece = None if is_last else self._next_piece(segment)
        finally:
            if piece is not None and piece.count:
                self._write(piece, segment)
            elif piece is not None:
                self._partial.give_back(piece)

    def _count(self, count: int) -> None:
        with self._change:
            self.fetched += count

    def _next_piece(self, segment: Segment) -> Piece | None:
        if segment.start >= segment.stop:  # somebody else fetches the end now
            return None
        piece = self._partial.get_piece()
        piece.offset, piece.count = segment.start, 0
        return piece

    def _write(self, piece: Piece, segment: Segment) -> None:
        partial, first, stop = self._partial, piece.offset == 0, piece.stop
        with writing_to(partial.path.parent, partial.missing):
            partial.write(piece)
        segment.start = stop
        if first and (head := partial.read_head())[:4] != _MAGIC[: len(head)]:
            raise SpoiledError(self._source.filename, f"it is no GGUF file but {describe(head)}")


class _Pace:
    """Keeps to a rate by sleeping after each chunk; ``most`` is how much to take at a time."""

    def __init__(self, limit_rate: int | None) -> None:
        self._rate = limit_rate
        self._free_at = time.monotonic()
        self.most = max(1, min(PIECE_BYTES, limit_rate // 4)) if limit_rate else PIECE_BYTES

    def spend(self, count: int) -> None:
        if self._rate is None:
            return
        now = time.monotonic()
        self._free_at = max(self._free_at, now) + count / self._rate
        time.sleep(self._free_at - now)


class _Pulse:
    """Notices a server that sends just enough to look alive, and when bytes come slowly."""

    def __init__(self, window_s: float, host: str) -> None:
        self._window_s = window_s
        self._host = host
        self._since = self._slow_since = time.monotonic()
        self._count = 0

    def feel(self, count: int) -> None:
        """Hear that bytes came.

        Raises:
            Interrupted: in a whole window there were too few.
        """
        self._count += count
        now = time.monotonic()
        if now - self._since < self._window_s:
            return
        if self._count < TRICKLE_BYTES_PER_S * (now - self._since):
            raise Interrupted(f"{self._host} has nearly stopped sending")
        self._since, self._count = now, 0

    @property
    def is_slow(self) -> bool:
        """Whether it is time to write what there is, though it is little."""
        now = time.monotonic()
        if now - self._slow_since < _FLUSH_S:
            return False
        self._slow_since = now
        return True
