"""One answer taken down as raw bytes and times, to be read when there is time for it.

Whoever measures a server on the machine that it runs on must cost little: while answers come,
their bytes are only kept. Events and errors are found in them afterwards, by the same code that
otherwise reads them as they come.
"""

import io
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from http.client import HTTPConnection, HTTPResponse
from time import perf_counter
from typing import Any, cast

from mlm.client.answer import Event
from mlm.client.recording import Recording
from mlm.client.refusal import BROKEN, StreamCutError, read_refusal, unreachable
from mlm.client.response import read_response

_BLOCK_BYTES = 16 * 1024
_LAST_EVENT = b"\ndata: [DONE]"  # no JSON holds a line break, so this is never a text
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError)


class Tape:
    """A question, and all that came back. Made by `Client.tape_chat`; used by one thread.

    A failure does not raise before the tape is played.
    """

    def __init__(
        self,
        connection: HTTPConnection,
        base_url: str,
        path: str,
        content: bytes,
        headers: Mapping[str, str],
    ) -> None:
        """Prepare to send ``content``; ``headers`` should ask to close the connection."""
        self._connection = connection
        self._base_url = base_url
        self._path, self._content, self._headers = path, content, dict(headers)
        self._blocks: list[tuple[float, bytes]] = []
        self._failure: Exception | None = None
        self.asked_s = 0.0  # by `time.perf_counter`, as all times here
        self.n_events = 0  # about as many tokens have come
        self.is_over = False
        self._was_left = False

    def connect(self) -> None:
        """Connect, so that this does not count as time of the answer."""
        try:
            self._connection.connect()
        except BROKEN as error:
            self._end(error)

    def ask(self) -> None:
        """Send the question; from now on `fileno` is readable when there is something new."""
        if self.is_over:
            return
        self.asked_s = perf_counter()
        try:
            self._connection.request("POST", self._path, self._content, self._headers)
            self._connection.sock.setblocking(False)
        except BROKEN as error:
            self._end(error)

    def fileno(self) -> int:
        """Return the number of the socket, for a selector."""
        return int(self._connection.sock.fileno())

    def listen(self, now_s: float) -> None:
        """Keep what has come by now, without waiting; sets `is_over` at the end."""
        try:
            while self._take_block(now_s):
                pass
        except _NOTHING_YET:
            pass
        except OSError as error:
            self._end(error)

    def leave(self) -> None:
        """Hang up. What has come until now is then the whole tape, and no failure."""
        if not self.is_over:
            self._was_left = True
            self._end()

    def give_up(self) -> None:
        """Hang up on a server that has been silent for too long."""
        self._end(TimeoutError())

    def play(self) -> Recording:
        """Return the answer, still to be taken in, as if it came now; times are of then."""
        replay = _Replay(self.asked_s, self._blocks, self._failure)
        return Recording(self._read(replay), clock=replay.clock)

    def _take_block(self, now_s: float) -> bool:
        """Keep what one call gives; return whether a selector does not know of the rest."""
        socket = self._connection.sock
        block = socket.recv(_BLOCK_BYTES)
        if block:
            self._blocks.append((now_s, block))
            self.n_events += block.count(b"data:")
        if not block or _LAST_EVENT in block:
            self._end()
            return False
        return isinstance(socket, ssl.SSLSocket) and socket.pending() > 0

    def _end(self, failure: Exception | None = None) -> None:
        self.is_over, self._failure = True, failure
        self._connection.close()

    def _read(self, replay: "_Replay") -> Iterator[Event]:
        try:
            response = HTTPResponse(cast(Any, replay))
            response.begin()
            if not 200 <= response.status < 300:
                raise read_refusal(response)
            yield from read_response(response)
        except StreamCutError:
            if not self._was_left:
                raise
        except BROKEN as error:
            if not self._was_left:
                raise unreachable(self._base_url, error) from error


class _Replay(io.RawIOBase):
    """Gives the blocks out one by one, as a socket did, and ends as it ended."""

    def __init__(
        self, started_s: float, blocks: Sequence[tuple[float, bytes]], failure: Exception | None
    ) -> None:
        self._now_s = started_s
        self._coming = iter(blocks)
        self._rest = b""
        self._failure = failure
        self.clock: Callable[[], float] = lambda: self._now_s

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._now_s, self._rest = next(self._coming, (self._now_s, b""))
        if not self._rest and self._failure is not None:
            raise self._failure
        n = min(len(buffer), len(self._rest))
        buffer[:n], self._rest = self._rest[:n], self._rest[n:]
        return n

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return itself as `http.client` wants it; nothing is read before it is needed."""
        return io.BufferedReader(self, _BLOCK_BYTES)
