"""One request and its response, as ASGI has them: the body in, the answer out, and who has left.

How long a connection may take over all that is for `mlm.server.protocol` to say.
"""

import asyncio
import time
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
    MutableMapping,
)
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from mlm.server.errors import ApiError
from mlm.server.flight import Watcher

MAX_BODY_BYTES = 8 * 1024**2
_PATIENT_BYTES = 8 * MAX_BODY_BYTES
PING_S = 15.0  # proxies close streams that are silent for 30 to 60 s

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]
T = TypeVar("T")


class ClientGone(Exception):
    """The client has left; there is nobody to answer."""


async def read_body(receive: Receive) -> bytes:
    """Return the whole body.

    Raises:
        ApiError: 413.
        ClientGone: the client left before the end.
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        size += len(message.get("body", b""))
        if size <= MAX_BODY_BYTES:
            chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
        # Hanging up on a client that still sends would reset the connection under our
        # answer, so what is moderately too much is read to its end.
        if size > (_PATIENT_BYTES if more else MAX_BODY_BYTES):
            raise ApiError(413, "body_too_large", f"the body is over {MAX_BODY_BYTES} bytes")
        if not more:
            return b"".join(chunks)


async def send_whole(send: Send, status: int, body: bytes, headers: Headers) -> None:
    """Send a complete response."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


async def send_in_pieces(send: Send, pieces: Iterator[bytes], headers: Headers) -> None:
    """Send a long answer bit by bit: in between, others have their turn."""
    await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
    for piece in pieces:
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)
    await send({"type": "http.response.body", "body": b""})


async def while_there(work: Coroutine[Any, Any, T], receive: Receive) -> T:
    """Return what ``work`` comes to; it is given up when the client leaves.

    Raises:
        ClientGone: the client has left.
    """
    computing, leaving = asyncio.create_task(work), asyncio.create_task(_until_gone(receive))
    try:
        await asyncio.wait({computing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not computing.done():
            raise ClientGone
        return computing.result()
    finally:
        leaving.cancel()
        computing.cancel()
        await asyncio.gather(computing, leaving, return_exceptions=True)


class Client:
    """The other end, while it waits for an answer whose body has been read already.

    Made by `waiting_client`, for the task that is in its block.
    """

    def __init__(self, send: Send) -> None:
        self._send = send
        self._watcher: Watcher | None = None
        self.gone = False
        self._written_at = time.monotonic()

    @property
    def is_silent(self) -> bool:
        """Whether it has heard nothing for so long that a sign of life is due."""
        return time.monotonic() - self._written_at >= PING_S

    async def wait(self, watcher: Watcher) -> None:
        """Return when something has happened to the flight, or a sign of life is due.

        Raises:
            ClientGone: the client has left.
        """
        self._watcher = watcher
        if not self.gone:
            await watcher.wait()
        if self.gone:
            raise ClientGone

    async def start(self, status: int, headers: Headers) -> None:
        """Send status line and headers."""
        message = {"type": "http.response.start", "status": status, "headers": list(headers)}
        await self._send(message)

    async def write(self, data: bytes, *, last: bool = False) -> None:
        """Send a part of the body; waits while the client is slow.

        Raises:
            ClientGone: the client has left.
        """
        if self.gone:
            raise ClientGone
        await self._send({"type": "http.response.body", "body": data, "more_body": not last})
        self._written_at = time.monotonic()

    def leave(self) -> None:
        """Note that the client has gone."""
        self.gone = True
        self._wake()

    def look_after(self) -> None:
        """Wake the writer if a sign of life is due; called every now and then.

        A timer for every token would be a quarter of what a token costs the gateway.
        """
        if self.is_silent:
            self._wake()

    def _wake(self) -> None:
        if self._watcher is not None:
            self._watcher.wake()


@asynccontextmanager
async def waiting_client(receive: Receive, send: Send) -> AsyncIterator[Client]:
    """Give the client of a request, watched for leaving until the block ends."""
    client = Client(send)
    tasks = [asyncio.create_task(_notice_leaving(client, receive))]
    tasks.append(asyncio.create_task(_look_after(client)))
    try:
        yield client
    finally:
        for task in tasks:
            task.cancel()


async def _notice_leaving(client: Client, receive: Receive) -> None:
    await _until_gone(receive)
    client.leave()


async def _until_gone(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _look_after(client: Client) -> None:
    while True:
        await asyncio.sleep(PING_S / 4)
        client.look_after()
