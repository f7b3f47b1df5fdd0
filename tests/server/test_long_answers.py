"""A long answer reaches a slow reader bit by bit: what is not read yet is not written yet."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from fakes.asgi import no_models
from fakes.fake_gateway import fake_model

from mlm.engine.messages import Accepted, Finished, TokenOut
from mlm.server.app import make_router
from mlm.server.flight import Flight
from mlm.server.shelf import Shelf

N_TOKENS = 20_000
ENDING = Finished(0, "stop", 7, 0, N_TOKENS, 0.0, 0.0, 0.0)


async def speak(flight: Flight) -> None:
    """Give the whole answer before anybody reads any of it."""
    flight.put(Accepted(0, 7))
    for number in range(N_TOKENS):
        flight.put(TokenOut(0, f"t{number} "))
    flight.put(ENDING)


@pytest.mark.parametrize("n", [1, 3])
def test_a_long_answer_is_never_written_in_one_go(tmp_path: Path, n: int):
    path = tmp_path / "alpha.fake"
    path.write_text("{}", encoding="utf-8")
    body = json.dumps({"model": "alpha", "prompt": "x", "stream": True, "n": n}).encode()
    inbox = [{"type": "http.request", "body": body, "more_body": False}]
    written: list[bytes] = []

    async def receive() -> Any:
        if inbox:
            return inbox.pop()
        return await asyncio.Event().wait()

    async def send(message: Any) -> None:
        written.append(message.get("body", b""))
        await asyncio.sleep(0)

    async def story() -> None:
        with no_models(tmp_path) as services:
            services.shelf = Shelf((fake_model(path),), lambda _: None, dict)  # type: ignore
            services.answers.open = lambda *_, **__: (Flight(speak), False)  # type: ignore
            scope = {"type": "http", "method": "POST", "path": "/v1/completions", "headers": []}
            scope |= {"root_path": "", "query_string": b""}
            await make_router(services)(scope, receive, send)

    asyncio.run(story())
    assert max(map(len, written)) <= 65 * 1024
    data = b"".join(written).decode().split("\n\n")
    events = [json.loads(event.removeprefix("data: ")) for event in data[:-2]]
    assert data[-2:] == ["data: [DONE]", ""]
    for index in range(n):
        choices = [each for event in events for each in event["choices"] if each["index"] == index]
        text = "".join(choice["text"] for choice in choices)
        assert text == "".join(f"t{number} " for number in range(N_TOKENS))
        assert [c["finish_reason"] for c in choices if c["finish_reason"]] == ["stop"]
