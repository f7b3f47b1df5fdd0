"""uvicorn's HTTP protocol with the limits that it lacks.

Without them a thousand clients that send one byte a minute, or that read nothing of what they
asked for, hold a thousand connections for ever.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mlm.server.crowd import Crowd
from mlm.server.errors import ApiError
from mlm.server.guard import MAX_HEADER_BYTES

_LINGER_S = 2.0  # hanging up on unread bytes would reset the connection under our answer
_HERE = "127.0.0.1"  # who comes through a socket without addresses is on this machine


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a connection may take; in seconds."""

    head_s: float = 10.0  # for the head of a request
    body_s: float = 30.0  # for its body
    stall_s: float = 30.0  # for reading anything of an answer


class LimitedProtocol(HttpToolsProtocol):
    """One connection.

    Unless an answer is being made, there is always a clock running: this class has one for each
    request's head and body, uvicorn has one for the time between requests. While a client is slow
    to read, at most some 64 KiB wait here and as much in the kernel, and again there is a clock.
    """

    _clock: asyncio.TimerHandle | None = None
    _stall_clock: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0
    _address: str | None = None  # counted in the crowd
    _turned_away = False

    def __init__(self, *, limits: Limits, crowd: Crowd, **of_uvicorn: Any) -> None:
        super().__init__(**of_uvicorn)
        self._limits, self._crowd = limits, crowd

    def connection_made(self, transport: Any) -> None:
        """Expect a first request, unless there are too many connections."""
        super().connection_made(transport)
        address = self.client[0] if self.client else _HERE
        if self._crowd.is_mob(len(self.connections)):
            transport.abort()
            return
        try:
            self._crowd.enter(address)
        except ApiError as refusal:
            self._turn_away(refusal)
        else:
            self._address = address
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up."""
        self._stop_clock()
        self._stop_stall_clock()
        if self._address is not None:
            self._crowd.leave(self._address)
            self._address = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come; refuse a head that grows without end."""
        if self._turned_away or self.transport.is_closing():
            return
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEADER_BYTES:
                self._refuse(ApiError(431, "headers_too_large", "the headers are too large"))
        elif self._clock is None and self.timeout_keep_alive_task is None and self._is_idle:
            self._expect_head()  # of the empty lines that may come before a request

    def on_message_begin(self) -> None:
        """Give the head of this request its time."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """Hand the request over, with what ASGI does not know of it, and expect its body."""
        self._in_head, self._head_bytes = False, 0
        self._start_clock(self._limits.body_s, self._give_up_body)
        self.scope["extensions"] = {"mlm": {"target": self.url}}
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect nothing but patience."""
        self._stop_clock()
        super().on_message_complete()

    def pause_writing(self) -> None:
        """Hold back what is written: the client reads too slowly."""
        super().pause_writing()
        self._watch_for_stall()

    def resume_writing(self) -> None:
        """Go on writing."""
        self._stop_stall_clock()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """See to it that the end of the last answer is read, too."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._watch_farewell()

    def timeout_keep_alive_handler(self) -> None:
        """Hang up on a client that asks for nothing more, or has not taken what it asked for."""
        if not self.transport.is_closing() and self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Say as an API says it that this is not HTTP."""
        self._refuse(ApiError(400, "invalid_request_error", "this is not a valid HTTP request"))

    @property
    def _is_idle(self) -> bool:
        """Whether no answer is being made."""
        return self.cycle is None or self.cycle.response_complete

    def _expect_head(self) -> None:
        self._in_head, self._head_bytes = True, 0
        self._start_clock(self._limits.head_s, self._give_up_head)

    def _start_clock(self, limit_s: float, then: Callable[[], None]) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(limit_s, then)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None

    def _give_up_head(self) -> None:
        limit_s = self._limits.head_s
        self._refuse(ApiError(408, "timeout", f"no request within {limit_s:.0f} s"))

    def _give_up_body(self) -> None:
        limit_s = self._limits.body_s
        self._refuse(ApiError(408, "timeout", f"no whole body within {limit_s:.0f} s"))

    def _watch_for_stall(self, seen: int | None = None) -> None:
        """Hang up when a client has taken nothing since the last look; look again otherwise."""
        self._stall_clock = None
        waiting = self.transport.get_write_buffer_size()
        if seen is not None and waiting >= seen:
            self.transport.abort()
        elif waiting:
            self._stall_clock = self.loop.call_later(
                self._limits.stall_s, self._watch_for_stall, waiting
            )

    def _watch_farewell(self) -> None:
        """Have a connection that is closing not wait for ever for what is still to be read."""
        if self._stall_clock is None:
            self._watch_for_stall()

    def _stop_stall_clock(self) -> None:
        if self._stall_clock is not None:
            self._stall_clock.cancel()
            self._stall_clock = None

    def _turn_away(self, refusal: ApiError) -> None:
        self._turned_away = True
        self._write(refusal)
        self.transport.write_eof()
        self._start_clock(_LINGER_S, self.transport.abort)

    def _refuse(self, error: ApiError) -> None:
        """Answer and hang up; if that would be taken for another answer, only hang up."""
        unanswered = not (self._is_idle or self._in_head or self.pipeline)
        if self._is_idle or (unanswered and not self.cycle.response_started):
            self._write(error)
        self.transport.close()
        self._watch_farewell()

    def _write(self, error: ApiError) -> None:
        """Write a whole response that says why this is the end of the connection."""
        phrase = HTTPStatus(error.status).phrase.encode()
        head = b"HTTP/1.1 %d %s\r\n" % (error.status, phrase)
        lines = b"".join(b"%s: %s\r\n" % header for header in error.headers)
        length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(error.body)
        self.transport.write(head + lines + length + error.body)
