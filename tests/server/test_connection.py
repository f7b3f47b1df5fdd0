"""Bodies in pieces, clients that leave, silence that proxies would cut."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mlm.server import connection
from mlm.server.connection import ClientGone, read_body, waiting_client, while_there
from mlm.server.errors import ApiError
from mlm.server.flight import Flight


def receiving(*messages: dict[str, Any]) -> Callable[[], Awaitable[dict[str, Any]]]:
    """Return an ASGI ``receive`` that gives ``messages`` and then nothing."""
    inbox = list(messages)

    async def receive() -> dict[str, Any]:
        if inbox:
            return inbox.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    return receive


def chunk(body: bytes, *, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE = {"type": "http.disconnect"}


def test_a_body_is_put_together():
    receive = receiving(chunk(b"a"), chunk(b""), chunk(b"b", more=False))
    assert asyncio.run(read_body(receive)) == b"ab"


def test_a_client_that_leaves_halfway_is_gone():
    with pytest.raises(ClientGone):
        asyncio.run(read_body(receiving(chunk(b"a"), GONE)))


def test_a_body_without_bounds_is_not_read_for_ever():
    blocks = [chunk(b" " * 2**20) for _ in range(100)]
    receive = receiving(*blocks)
    with pytest.raises(ApiError) as caught:
        asyncio.run(read_body(receive))
    assert caught.value.status == 413


def test_a_silent_wait_ends_when_a_sign_of_life_is_due(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "PING_S", 0.01)

    async def story() -> None:
        async def nothing(_: Any) -> None:
            await asyncio.Event().wait()

        flight = Flight(nothing)
        with flight.watch() as watcher:
            async with waiting_client(receiving(), nothing) as client:
                await client.wait(watcher)  # for what has happened before
                assert not client.is_silent
                await client.wait(watcher)
                assert client.is_silent

    asyncio.run(story())


def test_waiting_ends_when_the_client_leaves():
    async def story() -> None:
        async def nothing(_: Any) -> None:
            await asyncio.Event().wait()

        flight = Flight(nothing)
        with flight.watch() as watcher:
            async with waiting_client(receiving(GONE), nothing) as client:
                with pytest.raises(ClientGone):
                    while True:
                        await client.wait(watcher)
        await flight.join()
        assert flight.error is not None
        assert flight.error.code == "cancelled"

    asyncio.run(story())


def test_nothing_is_written_to_a_client_that_has_left():
    async def story() -> None:
        written: list[Any] = []

        async def send(message: Any) -> None:
            written.append(message)

        async with waiting_client(receiving(GONE), send) as client:
            await client.write(b"while it was there")
            await asyncio.sleep(0)
            with pytest.raises(ClientGone):
                await client.write(b"to nobody")
        assert len(written) == 1

    asyncio.run(story())


def test_work_for_a_client_that_leaves_is_given_up():
    given_up = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            given_up.append(True)
            raise

    with pytest.raises(ClientGone):
        asyncio.run(while_there(work(), receiving(GONE)))
    assert given_up


def test_what_work_comes_to_is_returned_and_its_error_raised():
    async def work(result: Any) -> Any:
        if isinstance(result, Exception):
            raise result
        return result

    assert asyncio.run(while_there(work(5), receiving())) == 5
    with pytest.raises(ApiError, match="no"):
        asyncio.run(while_there(work(ApiError(400, "x", "no")), receiving()))
