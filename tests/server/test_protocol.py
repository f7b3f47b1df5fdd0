"""Clients that dawdle, crowd, stall or speak in riddles: each costs its own connection only."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
import uvicorn
import uvloop

from mlm.server.address import bind
from mlm.server.connection import ClientGone, read_body, waiting_client
from mlm.server.crowd import Crowd
from mlm.server.errors import ApiError
from mlm.server.guard import App
from mlm.server.protocol import LimitedProtocol, Limits

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"
ELSEWHERE = "192.0.2.7"
BLOCK = b"x" * 16_384


async def quick(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once, whatever comes."""
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"fine"})


async def thorough(scope: Any, receive: Any, send: Any) -> None:
    """Read the body first."""
    try:
        await read_body(receive)
    except ClientGone:
        return
    await quick(scope, receive, send)


@dataclass
class Place:
    """A server in this loop."""

    address: tuple[str, int]
    connections: set[Any]

    def most_waiting(self) -> int:
        """Return the most bytes that wait here for one reader."""
        sizes = [each.transport.get_write_buffer_size() for each in self.connections]
        return max(sizes, default=0)

    async def empty(self) -> None:
        """Wait until nobody is connected."""
        while self.connections:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(
    app: App, *, limits: Limits | None = None, crowd: Crowd | None = None, keep_alive_s: int = 30
) -> AsyncIterator[Place]:
    config = uvicorn.Config(app, lifespan="off", log_config=None, timeout_keep_alive=keep_alive_s)
    config.load()
    state = uvicorn.Server(config).server_state
    of_all = {"limits": limits or Limits(), "crowd": crowd or Crowd(1024, 64)}

    def connect() -> LimitedProtocol:
        return LimitedProtocol(**of_all, config=config, server_state=state, app_state={})

    listener = bind("127.0.0.1", 0)
    server = await asyncio.get_running_loop().create_server(connect, sock=listener)
    try:
        yield Place(listener.getsockname(), state.connections)
    finally:
        server.close()
        for each in list(state.connections):
            each.transport.abort()


def tell(story: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a story on the loop that the server runs on."""

    async def in_time() -> Any:
        async with asyncio.timeout(30):
            return await story()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(in_time())


def talk(app: App, *data: bytes, **options: Any) -> bytes:
    """Send pieces to a server; return what it answers until it hangs up."""

    async def story() -> bytes:
        async with listening(app, **options) as place:
            reader, writer = await asyncio.open_connection(*place.address)
            for piece in data:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            answer = await reader.read()
            writer.close()
            return answer

    return bytes(tell(story))


def error_in(answer: bytes) -> tuple[int, str]:
    """Return status and code of the last response in ``answer``."""
    head, body = answer.rsplit(b"\r\n\r\n", 1)
    status = int(head[head.rindex(b"HTTP/1.1") :].split()[1])
    return status, json.loads(body)["error"]["code"]


@pytest.mark.parametrize("data", [(), (b"GET",), (HEAD,), (HEAD + b"\r\n", HEAD)])
def test_a_head_that_does_not_come_in_time_ends_the_connection(data: tuple[bytes, ...]):
    answer = talk(quick, *data, limits=Limits(head_s=0.05))
    assert error_in(answer) == (408, "timeout")


def test_a_body_that_does_not_come_in_time_ends_it_too():
    head = POST + b"Content-Type: application/json\r\n\r\n"
    answer = talk(thorough, head, b"{", limits=Limits(body_s=0.05))
    assert error_in(answer) == (408, "timeout")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_body_that_nobody_reads_holds_no_connection():
    answer = talk(quick, POST + b"\r\n", b"x", limits=Limits(body_s=0.05))
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


def test_empty_lines_after_an_answer_hold_no_connection():
    async def story() -> None:
        async with listening(quick, limits=Limits(head_s=0.05)) as place:
            reader, writer = await asyncio.open_connection(*place.address)
            writer.write(HEAD + b"\r\n")
            await reader.readuntil(b"fine\r\n0\r\n\r\n")
            writer.write(b"\r\n")
            assert error_in(await reader.read()) == (408, "timeout")
            writer.close()

    tell(story)


def test_a_head_that_comes_in_small_pieces_for_too_long_is_refused():
    pieces = [HEAD, *(b"X-%02d: %s\r\n" % (i, b"y" * 1000) for i in range(33))]
    answer = talk(quick, *pieces)
    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")


def test_an_ordinary_request_is_answered():
    answer = talk(quick, HEAD + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"fine" in answer


RIDDLES = {
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "two lengths": POST + b"Content-Length: 5\r\n\r\n",
    "a length and chunks": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and a length": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0"
    ),
    "chunks of chunks": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n5\r\nhello"
    ),
    "no size of a chunk": (
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello"
    ),
    "a negative length": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
    "a length like no other": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello",
    "a folded header": HEAD + b"X: y\r\n z\r\n\r\n",
    "a space before the colon": HEAD + b"Content-Length : 5\r\n\r\n",
    "a NUL": HEAD + b"X: \0\r\n\r\n",
    "a bare line feed": b"GET / HTTP/1.1\nHost: x\n\n",
    "no such method": b"STEAL / HTTP/1.1\r\n\r\n",
    "another version": b"GET / HTTP/3.7\r\n\r\n",
    "a tunnel": b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n",
    "a path that is none": b"GET http:// HTTP/1.1\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("name", RIDDLES)
def test_what_two_servers_might_read_differently_is_refused(name: str):
    answer = talk(thorough, RIDDLES[name], limits=Limits(head_s=0.5, body_s=0.5))
    assert error_in(answer) == (400, "invalid_request_error")
    assert answer.count(b"HTTP/1.1") == 1


def test_the_body_of_one_request_is_never_the_head_of_another():
    """A hundred bytes are announced, and the rest of them looks like a request."""
    smuggled = HEAD + b"\r\n"
    body = smuggled + b" " * (100 - len(smuggled))
    answer = talk(quick, POST + b"Connection: close\r\n\r\n" + body)
    assert answer.count(b"HTTP/1.1") == 1


def test_only_so_many_are_connected_and_the_next_are_told():
    async def story() -> None:
        async with listening(quick, crowd=Crowd(2, 64)) as place:
            guests = [await asyncio.open_connection(*place.address) for _ in range(2)]
            for _ in range(3):
                reader, writer = await asyncio.open_connection(*place.address)
                writer.write(HEAD + b"\r\n")
                answer = await reader.read()
                assert error_in(answer) == (503, "too_many_connections")
                assert b"retry-after: 2\r\n" in answer
                writer.close()
            for _, writer in guests:
                writer.close()
            await place.empty()
            reader, writer = await asyncio.open_connection(*place.address)
            writer.write(HEAD + b"Connection: close\r\n\r\n")
            assert b"fine" in await reader.read()
            writer.close()

    tell(story)


def test_a_mob_is_not_even_told():
    async def story() -> None:
        async with listening(quick, crowd=Crowd(1, 64)) as place:
            first = await asyncio.open_connection(*place.address)
            opening = [asyncio.open_connection(*place.address) for _ in range(60)]
            opened = await asyncio.gather(*opening, return_exceptions=True)
            guests = [each for each in opened if isinstance(each, tuple)]
            reading = [reader.read() for reader, _ in guests]
            answers = await asyncio.gather(*reading, return_exceptions=True)
            told = [answer for answer in answers if isinstance(answer, bytes) and answer]
            assert {error_in(answer) for answer in told} == {(503, "too_many_connections")}
            assert 0 < len(told) < 40
            for _, writer in (first, *guests):
                writer.close()

    tell(story)


def test_one_address_elsewhere_has_fewer_than_all():
    crowd = Crowd(10, 2)
    for _ in range(2):
        crowd.enter(ELSEWHERE)
    with pytest.raises(ApiError) as caught:
        crowd.enter(ELSEWHERE)
    assert (caught.value.status, caught.value.code) == (429, "too_many_connections")
    crowd.enter("192.0.2.8")
    crowd.leave(ELSEWHERE)
    crowd.enter(ELSEWHERE)


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_this_machine_may_have_them_all(address: str):
    crowd = Crowd(10, 2)
    for _ in range(10):
        crowd.enter(address)
    with pytest.raises(ApiError) as caught:
        crowd.enter(address)
    assert caught.value.status == 503


def endless(written: list[int]) -> App:
    """Return what answers for ever, and notes how many bytes each client was given."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        number = len(written)
        written.append(0)
        try:
            async with waiting_client(receive, send) as client:
                await client.start(200, [])
                while True:
                    await client.write(BLOCK)
                    written[number] += len(BLOCK)
                    await asyncio.sleep(0)
        except ClientGone:
            pass

    return app


async def ask_without_reading(place: Place, head: bytes = HEAD) -> socket.socket:
    """Return a connection with a small window whose answer nobody reads."""
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    deaf.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(deaf, place.address)
    await loop.sock_sendall(deaf, head + b"\r\n")
    return deaf


def test_readers_that_take_nothing_are_dropped_and_never_hold_much():
    written: list[int] = []

    async def story() -> None:
        async with listening(endless(written), limits=Limits(stall_s=0.3)) as place:
            deaf = [await ask_without_reading(place) for _ in range(200)]
            most = 0
            while place.connections:
                most = max(most, place.most_waiting())
                await asyncio.sleep(0.01)
            for each in deaf:
                each.close()
            assert 0 < most <= 128 * 1024

    tell(story)
    assert len(written) == 200
    assert max(written) <= 256 * 1024  # the kernel's part included


def test_a_reader_beside_them_gets_everything():
    async def story() -> None:
        async with listening(endless([]), limits=Limits(stall_s=0.3)) as place:
            deaf = [await ask_without_reading(place) for _ in range(20)]
            reader, writer = await asyncio.open_connection(*place.address)
            writer.write(HEAD + b"\r\n")
            await reader.readexactly(8 * 1024**2)
            writer.close()
            await place.empty()
            for each in deaf:
                each.close()

    tell(story)


@pytest.mark.parametrize("head", [HEAD, HEAD + b"Connection: close\r\n"])
def test_the_end_of_an_answer_is_not_kept_for_ever_either(head: bytes):
    """It is too small to hold up whoever writes it, and too large for the kernel."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(9):
            await send({"type": "http.response.body", "body": BLOCK, "more_body": True})
        while True:  # until what the kernel did not take is all that is left
            (protocol,) = place_of[0].connections
            if 0 < protocol.transport.get_write_buffer_size() < 60_000:
                break
            await send({"type": "http.response.body", "body": b"x" * 500, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    place_of: list[Place] = []

    async def story() -> None:
        async with listening(app, limits=Limits(stall_s=0.1), keep_alive_s=0) as place:
            place_of.append(place)
            deaf = await ask_without_reading(place, head)
            while not place.connections:
                await asyncio.sleep(0.01)
            await place.empty()
            deaf.close()

    tell(story)


class Pipe:
    """A transport whose reader has left so many bytes to read at each look."""

    def __init__(self, *waiting: int) -> None:
        self.waiting = list(waiting)
        self.aborted = False

    def get_write_buffer_size(self) -> int:
        return self.waiting.pop(0)

    def abort(self) -> None:
        self.aborted = True

    def get_extra_info(self, name: str) -> None:
        return None


@pytest.mark.parametrize(
    ("looks", "aborted"),
    [((50, 50), True), ((50, 49, 48, 48), True), ((50, 49, 48, 0), False), ((0,), False)],
)
def test_a_reader_that_is_slow_but_steady_is_not_dropped(looks: tuple[int, ...], aborted: bool):
    async def story() -> None:
        config = uvicorn.Config(quick, lifespan="off", log_config=None)
        config.load()
        state = uvicorn.Server(config).server_state
        protocol = LimitedProtocol(
            limits=Limits(stall_s=0), crowd=Crowd(1, 1), config=config, server_state=state,
            app_state={},
        )  # fmt: skip
        pipe = Pipe(*looks)
        protocol.connection_made(pipe)
        protocol.pause_writing()
        while pipe.waiting:
            await asyncio.sleep(0)
        assert pipe.aborted == aborted
        protocol.connection_lost(OSError())

    tell(story)
