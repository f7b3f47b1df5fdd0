"""Bodies that come slowly, readers that stall, silence that proxies would cut."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from mlm.server import connection, protocol
from mlm.server.connection import ClientGone, read_body, waiting_client
from mlm.server.errors import ApiError
from mlm.server.flight import Flight
from mlm.server.protocol import LimitedProtocol


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


def test_a_body_that_never_ends_is_timed_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "BODY_TIMEOUT_S", 0.01)
    with pytest.raises(ApiError) as caught:
        asyncio.run(read_body(receiving(chunk(b"a"))))
    assert caught.value.status == 408


def test_a_body_without_bounds_is_not_read_for_ever():
    blocks = [chunk(b" " * 2**20) for _ in range(100)]
    receive = receiving(*blocks)
    with pytest.raises(ApiError) as caught:
        asyncio.run(read_body(receive))
    assert caught.value.status == 413


def test_a_reader_that_takes_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "WRITE_STALL_S", 0.01)
    aborted = []

    async def stall(message: Any) -> None:
        await asyncio.Event().wait()

    async def story() -> None:
        scope = {"extensions": {"mlm": {"abort": lambda: aborted.append(True)}}}
        with pytest.raises(ClientGone):
            async with waiting_client(scope, receiving(), stall) as client:
                await client.write(b"x")

    asyncio.run(story())
    assert aborted == [True]


def test_a_reader_that_is_slow_again_and_again_is_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "WRITE_STALL_S", 0.4)

    async def dawdle(message: Any) -> None:
        await asyncio.sleep(0.1)

    async def story() -> None:
        async with waiting_client({}, receiving(), dawdle) as client:
            for _ in range(6):
                await client.write(b"x")

    asyncio.run(story())


def test_a_timeout_of_the_answer_itself_is_not_taken_for_the_client():
    async def story() -> None:
        async with waiting_client({}, receiving(), receiving()):
            raise TimeoutError("of something else")

    with pytest.raises(TimeoutError, match="something else"):
        asyncio.run(story())


def test_a_silent_wait_ends_when_a_sign_of_life_is_due(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(connection, "PING_S", 0.01)

    async def story() -> None:
        async def nothing(_: Any) -> None:
            await asyncio.Event().wait()

        flight = Flight(nothing)
        with flight.watch() as watcher:
            async with waiting_client({}, receiving(), nothing) as client:
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
            async with waiting_client({}, receiving(GONE), nothing) as client:
                with pytest.raises(ClientGone):
                    while True:
                        await client.wait(watcher)
        await flight.join()
        assert flight.error is not None
        assert flight.error.code == "cancelled"

    asyncio.run(story())


def talk(*data: bytes) -> bytes:
    """Send pieces to a server with `LimitedProtocol`; return what it answers until it hangs up."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"fine"})

    async def story() -> bytes:
        config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_keep_alive=1)
        config.load()
        state = uvicorn.Server(config).server_state
        loop = asyncio.get_running_loop()
        server = await loop.create_server(
            lambda: LimitedProtocol(config, state, {}), host="127.0.0.1", port=0
        )
        async with server:
            address = server.sockets[0].getsockname()
            reader, writer = await asyncio.open_connection(*address)
            for piece in data:
                writer.write(piece)
                await writer.drain()
            answer = await reader.read()
            writer.close()
        return answer

    return asyncio.run(story())


HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize("data", [(), (b"GET",), (HEAD,), (HEAD + b"\r\n", HEAD)])
def test_a_head_that_does_not_come_in_time_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, data: tuple[bytes, ...]
):
    monkeypatch.setattr(protocol, "HEAD_TIMEOUT_S", 0.05)
    assert talk(*data).endswith(b'"code": "timeout"}}')


def test_a_head_that_comes_in_small_pieces_for_too_long_is_refused():
    pieces = [HEAD, *(b"X-%02d: %s\r\n" % (i, b"y" * 1000) for i in range(33))]
    answer = talk(*pieces)
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_an_ordinary_request_is_answered():
    answer = talk(HEAD + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"fine" in answer
