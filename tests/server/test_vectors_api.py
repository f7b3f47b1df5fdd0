"""Asking a real server for vectors and scores, with real models and OpenAI's own client."""

import base64
import itertools
import json
import socket
import struct
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fakes.asked import ask
from fakes.mlm_serve import MlmServe, mlm_serve
from fakes.processes import wait_until
from fakes.tiny_models import write_tiny_model
from fakes.vectors import distance, unit
from openai import BadRequestError, OpenAI

KINDS = ("bert", "qwen3-embedding", "reranker", "llama")
WORDS = ("the", "system", "and", "you", "is", "hello", "world", "user")
CLOSE = 0.01  # flash attention computes in 16 bits; vectors of two words are 0.1 apart or more


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlmServe]:
    """`mlm serve` with an encoder, a decoder for embeddings, a reranker, and one that writes."""
    folder = tmp_path_factory.mktemp("vectors")
    paths = [str(write_tiny_model(folder / f"{kind}.gguf", kind)) for kind in KINDS]
    limits = ("--threads", "1", "--ctx", "512", "--max-models", "4", "--max-queue", "100")
    with mlm_serve(folder / "home", *paths, *limits) as server:
        server.wait_for("loaded")
        yield server


@pytest.fixture(scope="module")
def client(server: MlmServe) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.mark.parametrize("model", ["bert", "qwen3-embedding"])
def test_openai_s_client_gets_a_vector_for_each_text_in_order(client: OpenAI, model: str):
    answer = client.embeddings.create(model=model, input=list(WORDS))
    assert [item.index for item in answer.data] == list(range(len(WORDS)))
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > len(WORDS)
    for word, item in zip(WORDS, answer.data, strict=True):
        (alone,) = client.embeddings.create(model=model, input=word).data
        assert distance(item.embedding, alone.embedding) < CLOSE
        assert distance(item.embedding, unit(item.embedding)) < 1e-6


def test_both_encodings_hold_the_same_numbers(server: MlmServe):
    asked = {"model": "bert", "input": "hello world"}
    _, _, plain = ask(server, "/v1/embeddings", **asked)
    _, _, packed = ask(server, "/v1/embeddings", **asked, encoding_format="base64")
    raw = base64.b64decode(packed["data"][0]["embedding"], validate=True)
    assert list(struct.unpack("<64f", raw)) == plain["data"][0]["embedding"]


def test_an_answer_tells_what_it_took(server: MlmServe):
    status, headers, document = ask(
        server, "/v1/embeddings", model="bert", input="hello", user="me"
    )
    assert (status, document["object"], document["model"]) == (200, "list", "bert")
    assert document["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert document["mlm"]["prompt_tokens"] == 3
    assert headers["X-Mlm-Cache"] == "bypass" and headers["X-Mlm-Ignored"] == "user"
    assert float(headers["X-Mlm-Queue-Ms"]) >= 0 and len(headers["X-Mlm-Config"]) == 12


@pytest.mark.parametrize(
    "given",
    [
        ["hello", "world"],
        [["hello"], {"prompt_string": "world"}],
        [{"content": [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]}, "world"],
    ],
)
def test_texts_may_come_in_many_forms(client: OpenAI, given: Any):
    plain = client.embeddings.create(model="bert", input=["hello", "world"]).data
    formed = client.embeddings.create(model="bert", input=given).data
    for one, other in zip(plain, formed, strict=True):
        assert distance(one.embedding, other.embedding) < CLOSE


@pytest.mark.parametrize("given", [[7, 8, 9], [7, "hello", 9]])
def test_tokens_are_one_input(client: OpenAI, given: Any):
    answer = client.embeddings.create(model="bert", input=given)
    assert len(answer.data) == 1
    assert len(client.embeddings.create(model="bert", input=[[7, 8], [9]]).data) == 2


def test_forty_clients_at_once_get_what_is_theirs(client: OpenAI):
    alone = {w: client.embeddings.create(model="bert", input=w).data[0].embedding for w in WORDS}

    pairs = itertools.combinations(alone.values(), 2)
    assert min(distance(one, other) for one, other in pairs) > 10 * CLOSE

    def embed(number: int) -> float:
        words = [WORDS[(number + i) % len(WORDS)] for i in range(1 + number % 5)]
        found = client.embeddings.create(model="bert", input=words).data
        pairs = zip(words, found, strict=True)
        return max(distance(alone[word], item.embedding) for word, item in pairs)

    with ThreadPoolExecutor(40) as pool:
        assert max(pool.map(embed, range(120))) < CLOSE


def test_two_thousand_texts_are_one_request_and_no_more(server: MlmServe, client: OpenAI):
    many = [WORDS[n % len(WORDS)] for n in range(2048)]
    answer = client.embeddings.create(model="qwen3-embedding", input=many)
    assert [item.index for item in answer.data] == list(range(2048))
    assert distance(answer.data[0].embedding, answer.data[-8].embedding) < CLOSE
    status, _, document = ask(server, "/v1/embeddings", model="bert", input=[*many, "x"])
    assert status == 400 and "2048" in document["error"]["message"]


def test_a_text_that_is_too_long_is_refused_by_name_and_number(client: OpenAI):
    with pytest.raises(BadRequestError) as caught:
        client.embeddings.create(model="bert", input=["hello", "hello " * 600])
    error: Any = caught.value.body
    assert (error["code"], error["param"]) == ("context_length_exceeded", "input[1]")
    assert "602 tokens" in error["message"] and "size of 512 tokens" in error["message"]


def test_dimensions_of_a_model_not_known_for_it_are_refused(client: OpenAI):
    with pytest.raises(BadRequestError, match="not known to be trained for fewer"):
        client.embeddings.create(model="bert", input="hello", dimensions=32)
    assert len(client.embeddings.create(model="bert", input="x", dimensions=64).data) == 1


def test_models_say_what_they_are_for(server: MlmServe):
    chat = {"messages": [{"role": "user", "content": "hello"}]}
    ranked = {"query": "hello", "documents": ["hello"]}
    refused = [
        ask(server, "/v1/embeddings", model="llama", input="hello"),
        ask(server, "/v1/rerank", model="llama", **ranked),
        ask(server, "/v1/chat/completions", model="bert", **chat),
        ask(server, "/v1/rerank", model="bert", **ranked),
        ask(server, "/v1/embeddings", model="reranker", input="hello"),
    ]
    says = ["writes text", "writes text", "no text", "/v1/embeddings", "/v1/rerank"]
    for (status, _, document), why in zip(refused, says, strict=True):
        assert (status, document["error"]["param"]) == (400, "model")
        assert why in document["error"]["message"]
    assert "mlm catalog list --use embedding" in refused[0][2]["error"]["remedy"]


def test_documents_come_best_first(server: MlmServe):
    documents = [f"hello {word}" for word in WORDS]
    asked = {"model": "reranker", "query": "hello you", "documents": documents}
    status, _, document = ask(server, "/v1/rerank", **asked)
    scores = [result["relevance_score"] for result in document["results"]]
    assert status == 200 and scores == sorted(scores, reverse=True)
    assert sorted(result["index"] for result in document["results"]) == list(range(len(WORDS)))
    assert document["usage"]["prompt_tokens"] > 5 * len(WORDS)
    best = document["results"][0]["index"]
    _, _, alone = ask(server, "/v1/rerank", **{**asked, "documents": [documents[best]]})
    assert alone["results"][0]["relevance_score"] == pytest.approx(scores[0], abs=CLOSE)


@pytest.mark.parametrize(("top_n", "count"), [(None, 8), (2, 2), (8, 8), (99, 8)])
def test_only_the_best_are_returned_and_with_their_text_if_wished(
    server: MlmServe, top_n: int | None, count: int
):
    documents = [{"text": f"hello {word}"} for word in WORDS]
    asked = {"model": "reranker", "query": "you", "documents": documents, "top_n": top_n}
    _, _, document = ask(server, "/v1/rerank", **asked, return_documents=True)
    assert len(document["results"]) == count
    for result in document["results"]:
        assert result["document"] == documents[result["index"]]


def test_it_is_remembered_like_any_other_request(server: MlmServe, client: OpenAI):
    client.embeddings.create(model="bert", input="hello")
    with urllib.request.urlopen(f"{server.url}/admin/stats") as reply:
        models = json.load(reply)["models"]
    (bert,) = [model for model in models if model["model"] == "bert"]
    assert bert["requests"] > 0 and bert["prompt_tokens"] > 0 and bert["e2e_ms"]["count"] > 0


def test_a_client_that_leaves_ends_its_request(server: MlmServe):
    def active() -> int:
        with urllib.request.urlopen(f"{server.url}/admin/stats") as reply:
            residents = json.load(reply)["resident"]
        return sum(each["active"] for each in residents)

    body = json.dumps({"model": "bert", "input": ["hello " * 500] * 2000}).encode()
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        head = f"POST /v1/embeddings HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        connection.sendall(f"{head}Content-Type: application/json\r\n\r\n".encode() + body)
        wait_until(lambda: active() == 1)
    wait_until(lambda: active() == 0)
