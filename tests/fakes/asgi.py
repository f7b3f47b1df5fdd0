"""Calling an ASGI application without a network."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.routing import Route

from mlm.errors import NotFoundError
from mlm.server.app import make_app, make_router
from mlm.server.cache import ResponseCache
from mlm.server.keys import Keys
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
def no_models(folder: Path, keys: Keys | None = None) -> Iterator[Services]:
    """Yield the parts of a server that has nothing to serve."""

    def find(model_id: str) -> Any:
        raise NotFoundError(model_id)

    recorder = Recorder(folder / "stats.sqlite")
    cache = ResponseCache(folder / "responses.sqlite")
    parts = (Shelf((), find, dict), Pool(PoolOptions()), cache, recorder)
    try:
        yield Services(*parts, keys=keys or Keys())
    finally:
        cache.close()
        recorder.close()


def routes_of(services: Services) -> list[tuple[str, str]]:
    """Return method and path of everything the server answers."""
    found = []
    for route in make_router(services).routes:
        assert isinstance(route, Route)
        path = route.path.replace("{model_id:path}", "tiny")
        found += [(method, path) for method in sorted(route.methods or ())]
    assert len(found) >= 12
    return found


def ask(
    services: Services, requests: Sequence[tuple[str, str, Headers]]
) -> list[tuple[str, str, Answer]]:
    """Send requests one after the other; return method, path and answer of each."""
    app = make_app(services, ("box.lan",))

    async def run() -> list[tuple[str, str, Answer]]:
        answers = []
        for method, path, headers in requests:
            answers.append((method, path, await call(app, method, path, headers)))
        return answers

    return asyncio.run(run())
