"""uvicorn's HTTP protocol with the limits that it lacks: time and size of a request's head.

Without them a thousand clients that send one byte a minute hold a thousand connections for ever.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mlm.server.errors import ApiError
from mlm.server.guard import MAX_HEADER_BYTES

HEAD_TIMEOUT_S = 10.0


class LimitedProtocol(HttpToolsProtocol):
    """One connection. The head of each request must come soon, and must be small."""

    _timer: asyncio.TimerHandle | None = None
    _in_head = True
    _head_bytes = 0

    def connection_made(self, transport: Any) -> None:
        """Expect a first request."""
        super().connection_made(transport)
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what has come; refuse a head that grows without end."""
        super().data_received(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEADER_BYTES:
                self._refuse(ApiError(431, "headers_too_large", "the headers are too large"))

    def on_message_begin(self) -> None:
        """Give the head of this request its time."""
        super().on_message_begin()
        self._expect_head()

    def on_headers_complete(self) -> None:
        """Hand the request over, with what ASGI does not know of it."""
        self._stop_timer()
        self._in_head, self._head_bytes = False, 0
        self.scope["extensions"] = {"mlm": {"abort": self.transport.abort, "target": self.url}}
        super().on_headers_complete()

    def _expect_head(self) -> None:
        self._stop_timer()
        self._in_head, self._head_bytes = True, 0
        self._timer = self.loop.call_later(HEAD_TIMEOUT_S, self._give_up)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._refuse(ApiError(408, "timeout", f"no request within {HEAD_TIMEOUT_S:.0f} s"))

    def _refuse(self, error: ApiError) -> None:
        """Answer and hang up; with a response on its way, only hang up."""
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            phrase = {408: b"Request Timeout", 431: b"Request Header Fields Too Large"}
            head = b"HTTP/1.1 %d %s\r\n" % (error.status, phrase[error.status])
            lines = b"".join(b"%s: %s\r\n" % header for header in error.headers)
            length = b"content-length: %d\r\nconnection: close\r\n\r\n" % len(error.body)
            self.transport.write(head + lines + length + error.body)
        self.transport.close()
