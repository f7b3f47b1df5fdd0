"""Counting tokens over HTTP, with a real model: of texts, of chats, and back to text."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fakes.asked import ask
from fakes.mlm_serve import DEMO_MODEL, MlmServe, mlm_serve
from fakes.processes import wait_until
from fakes.tiny_models import write_tiny_model

CHAT = {"messages": [{"role": "user", "content": "What is mlm?"}]}
TOOL = {"type": "function", "function": {"name": "look_up", "description": "Looks a word up."}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlmServe]:
    folder = tmp_path_factory.mktemp("tokens")
    models = [str(DEMO_MODEL), str(write_tiny_model(folder / "bert.gguf", "bert"))]
    with mlm_serve(folder / "home", *models, "--threads", "1") as server:
        server.wait_for("loaded")
        ask(server, "/tokenize", **CHAT)  # by then all its processes are there
        yield server


@pytest.mark.parametrize("text", ["What is mlm?", "", "zwölf 🦙", "<|user|>\n", "a\0b"])
def test_text_goes_there_and_back(server: MlmServe, text: str):
    _, _, there = ask(server, "/tokenize", content=text)
    assert there["count"] == len(there["tokens"]) and there["model"] == "mlm-demo"
    assert there["n_ctx_slot"] >= 512
    status, _, back = ask(server, "/detokenize", tokens=there["tokens"])
    assert (status, back) == (200, {"content": text, "model": "mlm-demo"})


def test_each_token_may_come_with_its_piece(server: MlmServe):
    _, _, plain = ask(server, "/tokenize", content="zwölf 🦙")
    _, _, told = ask(server, "/tokenize", content="zwölf 🦙", with_pieces=True)
    assert [each["id"] for each in told["tokens"]] == plain["tokens"]
    pieces = [each["piece"] for each in told["tokens"]]
    raw = b"".join(p.encode() if isinstance(p, str) else bytes(p) for p in pieces)
    assert raw.decode() == "zwölf 🦙"
    assert any(isinstance(piece, list) for piece in pieces)  # a part of a llama


def test_a_chat_costs_what_its_answer_says_it_cost(server: MlmServe):
    for more in ({}, {"tools": [TOOL]}):
        _, _, told = ask(server, "/tokenize", **CHAT, **more)
        _, _, answer = ask(
            server, "/v1/chat/completions", model="mlm-demo", max_tokens=1, **CHAT, **more
        )
        assert told["count"] == answer["usage"]["prompt_tokens"]


def test_any_model_is_asked_by_its_name(server: MlmServe):
    _, _, plain = ask(server, "/tokenize", model="bert", content="hello")
    _, _, special = ask(server, "/tokenize", model="bert", content="hello", add_special=True)
    assert plain["tokens"] == special["tokens"][1:-1] and plain["model"] == "bert"


@pytest.mark.parametrize(
    ("path", "body", "status", "param"),
    [
        ("/tokenize", {}, 400, "content"),
        ("/tokenize", {"content": "x", **CHAT}, 400, "content"),
        ("/tokenize", {"content": ["x"]}, 400, "content"),
        ("/tokenize", {"content": "x" * (2**20 + 1)}, 400, "content"),
        ("/tokenize", {"content": "x", "with_pieces": "yes"}, 400, "with_pieces"),
        ("/tokenize", {"content": "x", "model": 5}, 400, "model"),
        ("/tokenize", {"content": "x", "model": "none"}, 404, "model"),
        ("/tokenize", {"content": "x", "model": ""}, 404, "model"),
        ("/tokenize", {"messages": []}, 400, "messages"),
        ("/tokenize", {"model": "bert", **CHAT}, 400, "messages"),
        ("/detokenize", {}, 400, "tokens"),
        ("/detokenize", {"tokens": "1"}, 400, "tokens"),
        ("/detokenize", {"tokens": [1.0]}, 400, "tokens"),
        ("/detokenize", {"tokens": [True]}, 400, "tokens"),
        ("/detokenize", {"tokens": [-1]}, 400, "tokens"),
        ("/detokenize", {"tokens": [2_000_000]}, 400, "tokens"),
        ("/detokenize", {"tokens": [0] * 100_001}, 400, "tokens"),
    ],
    ids=lambda value: str(value)[:50],
)
def test_what_makes_no_sense_is_refused_by_name(
    server: MlmServe, path: str, body: Any, status: int, param: str | None
):
    got, _, document = ask(server, path, **body)
    assert (got, document["error"]["param"]) == (status, param)


def test_fields_without_effect_are_named(server: MlmServe):
    _, headers, _ = ask(server, "/tokenize", **CHAT, add_special=True, wibble=1)
    assert headers["X-Mlm-Ignored"] == "add_special, wibble"


def test_many_at_once_get_what_is_theirs(server: MlmServe):
    def count(number: int) -> int:
        return int(ask(server, "/tokenize", content=f"{number} ")[2]["tokens"][0])

    with ThreadPoolExecutor(20) as clients:
        together = list(clients.map(count, range(100)))
    assert together == [count(number) for number in range(100)]


def test_a_megabyte_is_counted_and_who_leaves_meanwhile_leaves_nothing(server: MlmServe):
    def active() -> int:
        with_stats = ask(server, "/admin/stats")[2]
        return sum(int(each["active"]) for each in with_stats["resident"])

    status, _, told = ask(server, "/tokenize", content="mlm " * 2**18)
    assert status == 200 and told["count"] > 2**18
    body = json.dumps({"content": "mlm " * 2**18, "with_pieces": True}).encode()
    host, port = server.url.removeprefix("http://").split(":")
    head = f"POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    for _ in range(3):
        with socket.create_connection((host, int(port))) as leaver:
            leaver.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
            wait_until(lambda: active() == 1)
    wait_until(lambda: active() == 0)
    assert ask(server, "/tokenize", content="x")[0] == 200


def test_rerank_answers_under_both_its_names(server: MlmServe):
    body = {"model": "bert", "query": "x", "documents": ["y"]}
    (one, _, refused), (other, _, same) = (
        ask(server, path, **body) for path in ("/rerank", "/v1/rerank")
    )
    assert one == other == 400 and refused == same
