"""A chat with the scripted server."""

from collections.abc import Iterator

import pytest
from fakes.openai_server import OpenAIServer

from mlm.client import Client
from mlm.repl.chat import Chat


@pytest.fixture
def chat(openai_server: OpenAIServer) -> Iterator[Chat]:
    """Nothing has been said yet."""
    with Client(openai_server.url) as client:
        yield Chat(client, "tiny")
