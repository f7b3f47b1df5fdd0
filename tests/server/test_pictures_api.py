"""Chats with pictures over HTTP: who gets them, who refuses them, and that nobody keeps them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_server import FakeServer, Reply, serving

from mlm.pictures import to_data_uri

CAT, DOG = b"GIF89a a cat", b"\x89PNG\r\n\x1a\n a dog"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeServer]:
    folder = tmp_path_factory.mktemp("pictures")
    diary = str(folder / "diary")
    with serving(folder, {"seer": {"sees": True, "diary": diary}, "blind": {}}) as server:
        server.wait_for("Loaded")
        yield server


def show(server: FakeServer, *pictures: bytes, model: str = "seer", **params: Any) -> Reply:
    shown = [{"type": "image_url", "image_url": {"url": to_data_uri(data)}} for data in pictures]
    content = [{"type": "text", "text": "What is it?"}, *shown]
    body = {"model": model, "messages": [{"role": "user", "content": content}], **params}
    return server.ask("POST", "/v1/chat/completions", body)


def digest(picture: bytes) -> str:
    return hashlib.sha256(picture).hexdigest()[:8]


def test_a_model_with_a_projector_is_shown_the_bytes_that_were_sent(server: FakeServer):
    assert show(server, CAT, DOG).text.split() == [digest(CAT), digest(DOG)]
    assert (server.home / "diary").read_text().startswith("load with seer.mmproj\n")


def test_pictures_may_fill_all_of_a_body(server: FakeServer):
    large = CAT + bytes(range(256)) * (6 * 2**20 // 256 - 1000)
    assert show(server, large).text.split() == [digest(large)]
    assert show(server, large + bytes(2**20)).status == 413


def test_a_model_without_one_refuses_them_and_says_what_to_do(server: FakeServer):
    reply = show(server, CAT, model="blind")
    assert reply.status == 400
    assert reply.error["param"] == "messages[0].content[1]"
    assert reply.error["message"].startswith("'blind' takes no pictures")
    assert "mlm download blind" in reply.error["remedy"]


def test_neither_does_it_count_their_tokens(server: FakeServer):
    shown = {"type": "image_url", "image_url": {"url": to_data_uri(CAT)}}
    body = {"model": "blind", "messages": [{"role": "user", "content": [shown]}]}
    assert server.ask("POST", "/tokenize", body).error["param"] == "messages[0].content[0]"


def test_another_picture_is_another_question_to_the_response_cache(server: FakeServer):
    words = [
        show(server, picture, temperature=0).headers["X-Mlm-Cache"] for picture in (CAT, DOG, CAT)
    ]
    assert words == ["miss", "miss", "hit"]


def test_pictures_leave_no_trace_on_the_disk(tmp_path: Path):
    secret = b"GIF89a" + b"nobody must keep this " * 100
    encoded = to_data_uri(secret).encode()[40:80]
    with serving(tmp_path, {"seer": {"sees": True}}) as own:
        own.wait_for("Loaded")
        assert show(own, secret, temperature=0).status == 200
        assert show(own, secret, model="none").status == 404
        assert own.stop() == 0
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert kept and not [data for data in kept if b"nobody must" in data or encoded in data]
