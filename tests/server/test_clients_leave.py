"""Clients that leave, stall or come in crowds."""

import json
import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fakes.fake_server import FakeServer, serving
from fakes.processes import wait_until

Diary = Callable[[], list[str]]


def is_idle(server: FakeServer) -> bool:
    resident = server.resident()
    return (resident["active"], resident["waiting"]) == (0, 0)


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("wish", ["n=1000 pace=0.01", "prefill=60", "think=60"])
def test_a_request_ends_when_its_client_leaves(
    server: FakeServer, diary: Diary, stream: bool, wish: str
):
    body = {"model": "alpha", "prompt": wish, "stream": stream}
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(post("/v1/completions", body))
        wait_until(lambda: diary() == ["request "])
        assert not is_idle(server)
    wait_until(lambda: "cancelled" in diary())
    wait_until(lambda: is_idle(server))


def test_a_client_that_leaves_with_a_reset_ends_its_request_too(server: FakeServer, diary: Diary):
    body = {"model": "alpha", "prompt": "n=1000 pace=0.01", "stream": True}
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.sendall(post("/v1/completions", body))
    wait_until(lambda: diary() == ["request "])
    connection.close()
    wait_until(lambda: "cancelled" in diary())
    wait_until(lambda: is_idle(server))


def test_the_tokens_of_an_answer_that_was_left_are_counted(server: FakeServer, diary: Diary):
    def seen() -> tuple[int, int]:
        (model,) = server.stats()["models"]
        return model["requests"], model["completion_tokens"]

    requests, tokens = seen()
    stream = server.open_stream("n=1000 pace=0.01 counted")
    stream.read_until("t2 ")
    stream.leave()
    wait_until(lambda: seen()[0] == requests + 1)
    wait_until(lambda: "cancelled" in diary())  # or the next test would find it in its own diary
    assert 3 <= seen()[1] - tokens < 1000


def test_a_client_that_leaves_the_queue_is_never_run(server: FakeServer, diary: Diary):
    streams = [server.open_stream(f"n=1000 pace=0.05 slot {i}") for i in range(4)]
    waiting = server.open_stream("n=1 in-the-queue")
    wait_until(lambda: server.resident()["active"] == 5)
    wait_until(lambda: diary().count("request ") == 5)  # the worker knows of all, too
    waiting.leave()
    wait_until(lambda: server.resident()["active"] == 4)
    for stream in streams:
        stream.leave()
    wait_until(lambda: is_idle(server))
    wait_until(lambda: diary().count("cancelled") == 5)


def test_half_a_body_and_a_farewell_leave_no_trace(server: FakeServer):
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(post("/v1/completions", {"model": "alpha"})[:-5])
    assert server.ask("GET", "/health").status == 200


def test_readers_that_take_nothing_keep_nobody_waiting(server: FakeServer):
    body = {"model": "alpha", "prompt": "n=4000", "stream": True}
    sluggards = []
    for _ in range(12):
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall(post("/v1/completions", body))
        sluggards.append(connection)
    assert server.chat("n=3").text == "t0 t1 t2 "
    wait_until(lambda: is_idle(server))  # the answers are made, whoever reads them
    for connection in sluggards:
        connection.close()


def test_a_slow_reader_gets_every_token_in_order(server: FakeServer):
    stream = server.open_stream("n=3000")
    wait_until(lambda: is_idle(server))
    assert stream.rest().text.split() == [f"t{i}" for i in range(3000)]


def test_a_burst_beyond_the_queue_gets_answers_or_429_and_no_reset(tmp_path: Path):
    models = {"alpha": {"config": {"n_parallel": 2}}}
    with serving(tmp_path, models, max_queue=8) as server:
        server.wait_for("Loaded")

        def ask(i: int) -> tuple[int, str | None, str]:
            reply = server.chat(f"n=5 pace=0.01 burst {i}", stream=i % 2 == 0)
            if reply.status == 200:
                return 200, None, reply.text
            return reply.status, reply.headers["Retry-After"], reply.error["code"]

        with ThreadPoolExecutor(50) as clients:
            outcomes = list(clients.map(ask, range(50)))
        assert {status for status, _, _ in outcomes} == {200, 429}
        assert all(text == "t0 t1 t2 t3 t4 " for status, _, text in outcomes if status == 200)
        refused = [(wait, code) for status, wait, code in outcomes if status == 429]
        assert set(refused) == {("1", "queue_full")}
        assert sum(status == 200 for status, _, _ in outcomes) >= 10
        wait_until(lambda: is_idle(server))


def test_three_hundred_idle_sockets_keep_nobody_out(server: FakeServer):
    idle = []
    for _ in range(300):
        connection = socket.create_connection(("127.0.0.1", server.port))
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: loc")
        idle.append(connection)
    assert server.ask("GET", "/health").status == 200
    for connection in idle:
        connection.close()


def post(path: str, body: object) -> bytes:
    """Return a whole request."""
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    head += "Content-Type: application/json\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n" % len(content) + content
