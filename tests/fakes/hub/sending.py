"""Puts an answer on the wire, with the faults that concern the wire."""

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

from fakes.hub.fault import Fault

_PIECE = 65536
_TICK_S = 0.02  # between two pieces of a slow server
Wait = Callable[[float | None], object]


class Dropped(Exception):
    """The connection is to be closed now."""


@dataclass
class Answer:
    """One HTTP response. ``offset`` is where its body begins in the file."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    offset: int = 0


def send(
    handler: BaseHTTPRequestHandler,
    answer: Answer,
    fault: Fault | None,
    wait: Wait,
) -> None:
    """Send ``answer`` as ``fault`` has it; ``wait`` waits until the server closes, or so long."""
    fault = fault or Fault()
    if fault.stall_before_headers:
        wait(None)
    if fault.drop_before_headers or fault.stall_before_headers:
        raise _drop(handler, reset=fault.reset)
    body = fault.encode(answer.body)
    _send_head(handler, answer, fault, body)
    if handler.command == "HEAD":
        return
    piece = max(1, int(fault.pace * _TICK_S)) if fault.pace else _PIECE
    for start in range(0, len(body), piece):
        _send_piece(handler, fault, answer.offset + start, body[start : start + piece], wait)
    if fault.chunked:
        handler.wfile.write(b"0\r\n\r\n")
    length = fault.content_length
    if fault.close_delimited or (length is not None and length != len(body)):
        raise _drop(handler, reset=False)


def _send_head(handler: BaseHTTPRequestHandler, answer: Answer, fault: Fault, body: bytes) -> None:
    headers = dict(answer.headers)
    headers["Content-Length"] = str(
        len(body) if fault.content_length is None else fault.content_length
    )
    if fault.chunked:
        headers["Transfer-Encoding"] = "chunked"
    if fault.chunked or fault.close_delimited:
        del headers["Content-Length"]
    if fault.compressed:
        headers["Content-Encoding"] = "gzip"
    headers |= fault.headers
    handler.protocol_version = "HTTP/1.0" if fault.close_delimited else "HTTP/1.1"
    handler.send_response(answer.status)
    for name, value in headers.items():
        if name not in fault.without:
            handler.send_header(name, value)
    handler.end_headers()


def _send_piece(
    handler: BaseHTTPRequestHandler,
    fault: Fault,
    offset: int,
    piece: bytes,
    wait: Wait,
) -> None:
    """Send the part of the file from ``offset`` on, up to where the fault strikes."""
    end = min([offset + len(piece), *(p for p in (fault.drop_at, fault.stall_at) if p is not None)])
    sent = piece[: max(0, end - offset)]
    if sent:
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(sent), sent) if fault.chunked else sent)
        if fault.pace:
            wait(len(sent) / fault.pace)
    if len(sent) < len(piece):
        handler.wfile.flush()
        if fault.stall_at == end:
            wait(None)
        raise _drop(handler, reset=fault.reset)


def _drop(handler: BaseHTTPRequestHandler, *, reset: bool) -> Dropped:
    handler.close_connection = True
    if reset:
        # Closing with unsent data forbidden to linger makes the kernel send RST.
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
    return Dropped()
