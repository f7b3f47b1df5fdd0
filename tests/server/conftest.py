"""Servers for tests to talk to."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from fakes.fake_server import FakeServer, serving


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    """A server with the loaded model ``alpha``, for tests that do no lasting harm."""
    folder = tmp_path_factory.mktemp("server")
    models = {"alpha": {"diary": str(folder / "diary")}, "beta": {"installed": True}}
    with serving(folder, models) as server:
        server.wait_for("Loaded")
        yield server


@pytest.fixture
def diary(server: FakeServer) -> Callable[[], list[str]]:
    """What the worker of `server` has noted since the test began."""
    path = server.home / "diary"
    before = len(path.read_text(encoding="utf-8").splitlines())
    return lambda: path.read_text(encoding="utf-8").splitlines()[before:]


@pytest.fixture
def run_async() -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Run a coroutine to its end."""
    return asyncio.run
