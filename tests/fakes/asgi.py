"""Calling an ASGI application without a network."""

from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlm.errors import NotFoundError
from mlm.server.cache import ResponseCache
from mlm.server.pool import Pool, PoolOptions
from mlm.server.services import Services
from mlm.server.shelf import Shelf
from mlm.stats.recorder import Recorder

Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True)
class Answer:
    """What the application sent."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def call(
    app: Callable[..., Awaitable[None]],
    method: str,
    path: str,
    headers: Headers = ((b"host", b"localhost"),),
    body: bytes = b"",
) -> Answer:
    """Send one request and return the answer."""
    sent: list[dict[str, Any]] = []
    inbox = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> dict[str, Any]:
        return inbox.pop() if inbox else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": list(headers),
        "http_version": "1.1",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    await app(scope, receive, send)
    start = sent[0]
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return Answer(start["status"], dict(start["headers"]), content)


@contextmanager
def no_models(folder: Path) -> Iterator[Services]:
    """Yield the parts of a server that has nothing to serve."""

    def find(model_id: str) -> Any:
        raise NotFoundError(model_id)

    recorder = Recorder(folder / "stats.sqlite")
    cache = ResponseCache(folder / "responses.sqlite")
    try:
        yield Services(Shelf((), find, dict), Pool(PoolOptions()), cache, recorder)
    finally:
        cache.close()
        recorder.close()
