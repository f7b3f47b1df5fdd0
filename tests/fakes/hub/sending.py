"""Puts an answer on the wire, with the faults that concern the wire."""

import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from fakes.hub.body import Body, InMemory, OnDisk, compress
from fakes.hub.fault import Fault

_PIECE = 256 * 1024
_KERNEL_PIECE = 8 * 1024 * 1024  # what one call copies without coming back to Python
_TICK_S = 0.01  # between two pieces of a slow server
Wait = Callable[[float | None], object]


class Dropped(Exception):
    """The connection is to be closed now."""


@dataclass
class Answer:
    """One HTTP response. ``offset`` is where its body begins in the file."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Body = field(default_factory=lambda: InMemory(b""))
    offset: int = 0


@dataclass
class Sender:
    """Sends answers over one connection.

    ``wait`` waits until the server closes, or so many seconds; ``count`` hears of bytes sent.
    """

    handler: BaseHTTPRequestHandler
    wait: Wait
    count: Callable[[int], None]

    def send(self, answer: Answer, fault: Fault) -> None:
        """Send ``answer`` as ``fault`` has it.

        Raises:
            Dropped: this was the last answer of the connection.
        """
        if fault.stall_before_headers:
            self.wait(None)
        while fault.dribble and not self.wait(_TICK_S):
            self.handler.wfile.write(fault.dribble)
        if fault.drop_before_headers or fault.stall_before_headers:
            raise self._drop(reset=fault.reset)
        body = compress(answer.body) if fault.compressed else answer.body
        chunked = fault.chunked or (body.size is None and not fault.close_delimited)
        self._send_head(answer, fault, body, chunked=chunked)
        if self.handler.command == "HEAD":
            return
        ends = [max(0, at - answer.offset) for at in _limits(fault)]
        self._send_body(body, min(ends, default=None), fault, chunked=chunked)
        lied = fault.content_length is not None and fault.content_length != body.size
        if fault.close_delimited or (lied and not fault.stays_open):
            raise self._drop(reset=False)

    def _send_head(self, answer: Answer, fault: Fault, body: Body, *, chunked: bool) -> None:
        headers = dict(answer.headers)
        length = body.size if fault.content_length is None else fault.content_length
        if chunked:
            headers["Transfer-Encoding"] = "chunked"
        elif not fault.close_delimited:
            headers["Content-Length"] = str(length)
        if fault.compressed:
            headers["Content-Encoding"] = "gzip"
        headers |= fault.headers
        handler = self.handler
        handler.protocol_version = "HTTP/1.0" if fault.close_delimited else "HTTP/1.1"
        handler.send_response(answer.status)
        for name, value in headers.items():
            if name not in fault.without:
                handler.send_header(name, value)
        handler.end_headers()

    def _send_body(self, body: Body, limit: int | None, fault: Fault, *, chunked: bool) -> None:
        """Send the body, of which the fault lets ``limit`` bytes through."""
        started, sent = time.monotonic(), 0
        for count in self._transmit(body, limit, fault, chunked=chunked):
            sent += count
            self.count(count)
            if fault.pace:
                self.wait(max(0.0, started + sent / fault.pace - time.monotonic()))
        if limit is not None and (body.size is None or sent < body.size):
            self.handler.wfile.flush()
            if fault.stall_at is not None and fault.stall_at == min(_limits(fault)):
                self.wait(None)
            raise self._drop(reset=fault.reset)
        if chunked:
            self.handler.wfile.write(b"0\r\n\r\n")

    def _transmit(
        self, body: Body, limit: int | None, fault: Fault, *, chunked: bool
    ) -> Iterator[int]:
        """Send piece by piece, yielding the size of each."""
        step = max(1, int(fault.pace * _TICK_S)) if fault.pace else None
        encrypted = isinstance(self.handler.connection, ssl.SSLSocket)
        if isinstance(body, OnDisk) and not encrypted and not chunked:
            until = body.size if limit is None else limit
            descriptor = self.handler.connection.fileno()
            yield from body.send_to(descriptor, step or _KERNEL_PIECE, until)
            return
        left = limit
        for piece in body.pieces(step or _PIECE):
            shown = piece if left is None else piece[:left]
            if shown:
                self._write(shown, chunked=chunked)
                yield len(shown)
            if left is not None and (left := left - len(shown)) <= 0:
                return

    def _write(self, piece: bytes | memoryview, *, chunked: bool) -> None:
        write = self.handler.wfile.write
        write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)

    def _drop(self, *, reset: bool) -> Dropped:
        if reset:
            # Closing with lingering forbidden makes the kernel send RST.
            connection = self.handler.connection
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            connection.close()
        return Dropped()


def _limits(fault: Fault) -> list[int]:
    """Return where in the file the fault strikes, if it does."""
    return [at for at in (fault.drop_at, fault.stall_at) if at is not None]
