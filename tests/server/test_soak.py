"""A little of each suite that a server must survive; `make soak` runs all of it."""

import asyncio
import random
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from soak import aborts, churn, gateway, kills, overload, streams
from soak.asker import Answer, Asker
from soak.place import Figures

from mlm.server.system import raise_file_limit

SUITES = (streams, overload, kills, gateway, aborts, churn)


def name_of(suite: ModuleType) -> str:
    return suite.__name__.rpartition(".")[2]


def broken(suite: ModuleType, figures: Figures) -> dict[str, float]:
    """Return the promises that were broken, whatever machine this is."""
    return {name: figures[name] for name in suite.NEVER if figures[name]}


@pytest.mark.parametrize("suite", SUITES, ids=name_of)
def test_a_server_survives_a_little_of(suite: ModuleType, tmp_path: Path):
    figures = asyncio.run(suite.endure(tmp_path, suite.SHORT))
    assert broken(suite, figures) == {}
    assert set(suite.LIMITS) <= set(figures)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("suite", SUITES, ids=name_of)
def test_a_server_survives_all_of(suite: ModuleType, tmp_path: Path):
    raise_file_limit(8192)
    size = replace(suite.FULL, seconds=180) if suite is churn else suite.FULL  # half an hour
    figures = asyncio.run(suite.endure(tmp_path, size))
    assert broken(suite, figures) == {}


def test_every_signal_comes_in_every_phase():
    first = [(kill.phase, kill.signal) for kill in map(kills.Kill, range(24))]
    assert len(set(first)) == 24
    assert {phase for phase, _ in first[: kills.SHORT.kills]} == set(kills.PHASES)


HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"


@pytest.mark.parametrize(
    ("response", "outcome"),
    [
        (b"", "lost"),
        (b"HTTP/1.1 200 OK\r\ncontent-le", "lost"),
        (HEAD + b"content-length: 9\r\n\r\n{", "lost"),
        (HEAD + b"content-length: 2\r\n\r\n{}", "served"),
    ],
)
def test_the_client_tells_an_answer_from_a_broken_one(response: bytes, outcome: str):
    assert hear(response).outcome == outcome


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([b"data: [DONE]\n\n", b""], "served"),
        ([b"data: [DONE]\n\n"], "lost"),
        ([b'data: {"choices": [{"text": "t0 "}]}\n\n', b""], "lost"),
        ([b'event: error\ndata: {"error": {"code": "worker_crashed"}}\n\n', b""], "failed"),
    ],
)
def test_the_client_tells_a_stream_from_one_that_just_ends(events: list[bytes], outcome: str):
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in events)
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n"
    assert hear(head + chunks).outcome == outcome


def hear(response: bytes) -> Answer:
    """Return what the client makes of a server that says this, byte by byte, and hangs up."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for number in range(len(response)):
            writer.write(response[number : number + 1])
            await writer.drain()
        writer.close()

    async def story() -> Answer:
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            return await Asker(server.sockets[0].getsockname()[1]).get("/")

    return asyncio.run(story())


@pytest.mark.parametrize(
    ("values", "is_zero"),
    [
        ([100, 101, 100, 101, 100, 101, 100, 101], True),
        ([100, 100.1, 100.2, 100.3, 100.4, 100.5, 100.7, 100.8], False),
        ([100, 105], True),
    ],
)
def test_a_slope_is_told_from_noise(values: list[float], is_zero: bool):
    assert churn.fit(list(enumerate(values))).is_zero is is_zero


@pytest.mark.parametrize(("leak", "most_missed"), [(0.0, 100), (0.05, 0)])
def test_what_wanders_has_no_slope_and_what_leaks_has_one(leak: float, most_missed: int):
    """Half an hour of weights, each much like the last one, a hundred times."""
    chance, n_level = random.Random(1), 0
    for _ in range(100):
        at, points = 0.0, []
        for number in range(90):
            at = 0.87 * at + chance.gauss(0, 0.05)
            points.append((number, at + leak * number))
        n_level += churn.fit(points).is_zero
    assert n_level <= most_missed
    assert leak or n_level >= 80


def test_the_margin_of_a_slope_is_students():
    """Of 95 %; t is 2.228 with ten degrees of freedom, and the standard error 0.04532."""
    slope = churn.fit([(x, x % 2) for x in range(12)])
    assert slope.per_hour == pytest.approx(3 / 143)
    assert slope.margin == pytest.approx(2.228139 * 0.0453199, rel=2e-3)
