"""A thousand clients that hold their connections and say nothing: the others do not notice."""

import http.client
import resource
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.fake_server import FakeServer, serving

N_SLOW = 1000


@pytest.fixture
def many_files() -> Iterator[None]:
    """Let this process have as many sockets as it needs."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def health_times_s(server: FakeServer, count: int) -> list[float]:
    """Return how long ``count`` requests took, each on a connection of its own."""
    times = []
    for _ in range(count):
        started = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200
        connection.close()
        times.append(time.perf_counter() - started)
    return times


@pytest.mark.slow
def test_a_thousand_slow_sockets_hold_up_nobody(tmp_path: Path, many_files: None):
    with serving(tmp_path) as server:
        server.wait_for("Loaded")
        slow = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(N_SLOW)]
        for number, each in enumerate(slow):
            each.sendall(b"GET / HTTP/1.1\r\nHost: localh"[: 1 + number % 28])
        times = health_times_s(server, 300)
        assert statistics.quantiles(times, n=100)[98] < 0.2
        assert server.chat("n=3").text == "t0 t1 t2 "
        for each in slow:
            each.close()
