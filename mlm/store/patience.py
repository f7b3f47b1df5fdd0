"""HTTP answers that are waited for so long and no longer, however little by little they come.

A timeout of a socket begins anew with each byte. A server that sends its headers one by one, or
``100 Continue`` for ever, would be waited for without end.
"""

import http.client
import io
import socket
import time
from typing import Any


class PatientResponse(http.client.HTTPResponse):
    """An answer whose head has to be complete within the timeout that the socket has now."""

    def __init__(self, sock: socket.socket, *args: Any, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self._reader = _Reader(sock, self.fp.detach())
        self.fp = io.BufferedReader(self._reader)
        self.wait_at_most(sock.gettimeout() or 0.0)

    def wait_at_most(self, wait_s: float) -> None:
        """Let whatever is read from now on come within ``wait_s`` seconds, all together."""
        self._reader.deadline = time.monotonic() + wait_s


class _Reader(io.RawIOBase):
    """Reads from a socket until a deadline."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self.deadline = 0.0  # of the monotonic clock
        self._sock = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self._sock.settimeout(left_s)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
