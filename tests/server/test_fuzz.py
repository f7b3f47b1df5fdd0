"""Ten thousand requests nobody would think of: each gets the answer that the document promises.

None is answered with 500, none hangs, what the document calls invalid is refused, and every
answer is as it is described, to the last field.
"""

import http.client
import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fakes.asked import ask
from fakes.fake_server import data_of
from fakes.json_schema import faults
from fakes.mlm_serve import DEMO_MODEL, MlmServe, mlm_serve
from fakes.openapi_cases import Case, Cases
from fakes.tiny_models import write_tiny_model

MODELS = {"": "mlm-demo", "/v1/embeddings": "bert"}
MODELS |= dict.fromkeys(("/v1/rerank", "/rerank"), "reranker")
KINDS = ("good", "bent", "hostile")
PATIENCE_S = 60  # then it hangs


@contextmanager
def serving(folder: Path) -> Iterator[MlmServe]:
    """Serve three kinds of models, all of whose processes are there."""
    paths = [str(DEMO_MODEL)]
    paths += [str(write_tiny_model(folder / f"{kind}.gguf", kind)) for kind in ("bert", "reranker")]
    limits = ("--threads", "1", "--ctx", "512", "--max-models", "3", "--max-queue", "200")
    with mlm_serve(folder / "home", *paths, *limits) as server:
        server.wait_for("loaded")
        assert ask(server, "/tokenize", messages=[{"role": "user", "content": "x"}])[0] == 200
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlmServe]:
    with serving(tmp_path_factory.mktemp("fuzz")) as server:
        yield server


@pytest.fixture
def target(tmp_path: Path) -> Iterator[MlmServe]:
    """A server of its own: some requests cost it a helper process, which it replaces."""
    with serving(tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def document(server: MlmServe) -> dict[str, Any]:
    status, _, body = send(server, Case("good", "GET", "/openapi.json"))
    assert status == 200
    return dict(json.loads(body))


def send(server: MlmServe, case: Case) -> tuple[int, Any, bytes]:
    """Send one request on a connection of its own."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
    try:
        connection.putrequest(
            case.method, _sendable(case.path), skip_host=True, skip_accept_encoding=True
        )
        headers = {"Host": "localhost", **case.headers}
        if case.body is not None:
            headers["Content-Length"] = str(len(case.body))
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(case.body)
        response = connection.getresponse()
        return response.status, response.headers, response.read()
    finally:
        connection.close()


def _sendable(path: str) -> str:
    return "".join(c if " " < c < "\x7f" else f"%{ord(c) % 256:02x}" for c in path)


def complaints(
    document: dict[str, Any], case: Case, status: int, headers: Any, body: bytes
) -> list[str]:
    """Return what is wrong with an answer."""
    kind = str(headers.get("Content-Type", "")).split(";")[0]
    if status == 500 and b"template_error" not in body:
        return [f"500: {body[:200]!r}"]
    if case.is_valid is False and status == 200:
        return ["it was accepted, but the document calls it invalid"]
    if case.operation is None and status == 200:
        return []  # an odd way to a known place
    if case.operation is None or status == 405:
        if status == 204 or case.method == "HEAD":
            return [] if not body else ["it has a body"]
        return unlike(json.loads(body), {"$ref": "#/components/schemas/Error"}, document)
    described = case.operation["responses"].get(str(status))
    if described is None:
        return [f"{status} is not described"]
    shape = described["content"].get(kind, {}).get("schema")
    if shape is None:
        return [f"{kind!r} is not described for {status}"]
    if kind != "text/event-stream":
        value = body.decode() if kind == "text/plain" else json.loads(body)
        return unlike(value, shape, document)
    *events, end = data_of(body)
    failed = b"event: error" in body
    found = [] if failed or end == "[DONE]" else ["the stream has no end"]
    for event in events:
        found += unlike(json.loads(event), shape, document)
    return found


def unlike(value: Any, shape: Any, document: dict[str, Any]) -> list[str]:
    """Return in what ``value`` is not as described; also what nobody described."""
    return faults(value, close(shape, document), document)


def close(shape: Any, document: dict[str, Any]) -> Any:
    """Return ``shape`` with everything forbidden that it does not name."""
    if isinstance(shape, list):
        return [close(each, document) for each in shape]
    if not isinstance(shape, dict):
        return shape
    if "$ref" in shape:
        name = shape["$ref"].rsplit("/", 1)[1]
        return close(document["components"]["schemas"][name], document)
    closed = {
        key: {name: close(each, document) for name, each in value.items()}
        if key == "properties"
        else close(value, document)
        for key, value in shape.items()
    }
    if "properties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def attack(server: MlmServe, document: dict[str, Any], count: int, seed: int) -> Counter[str]:
    """Send ``count`` requests, eight at a time; return how many there were of each kind."""
    tally: Counter[str] = Counter()
    cases = list(Cases(document, MODELS, seed).draw(count))
    with ThreadPoolExecutor(8) as clients:
        answers = clients.map(lambda case: send(server, case), cases)
        for case, (status, headers, body) in zip(cases, answers, strict=True):
            found = complaints(document, case, status, headers, body)
            assert not found, (found, case, status, body[:500])
            tally[f"{case.kind} {status}"] += 1
    return tally


def test_requests_from_its_own_document_get_answers_from_it(
    target: MlmServe, document: dict[str, Any]
):
    tally = attack(target, document, 300, seed=1)
    asked = {kind: sum(n for key, n in tally.items() if key.startswith(kind)) for kind in KINDS}
    assert tally["good 200"] > asked["good"] / 2, tally  # or nothing was tried but refusals
    assert tally["bent 400"] > asked["bent"] / 3, tally


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_of_them_do(target: MlmServe, document: dict[str, Any]):
    print(attack(target, document, 10_000, seed=2))
    assert target.process.poll() is None
    log = (target.home / "stderr").read_text(encoding="utf-8")
    assert "Traceback" not in log


def test_every_example_in_the_document_gets_an_answer(server: MlmServe, document: dict[str, Any]):
    n_examples = 0
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            content = operation.get("requestBody", {}).get("content", {})
            for example in content.get("application/json", {}).get("examples", {}).values():
                body = {**example["value"], "model": MODELS.get(path, MODELS[""])}
                case = Case(
                    "good", method.upper(), path, {"Content-Type": "application/json"},
                    json.dumps(body).encode(), operation, True,
                )  # fmt: skip
                status, headers, answer = send(server, case)
                assert status == 200, (path, answer)
                assert not complaints(document, case, status, headers, answer)
                n_examples += 1
    assert n_examples >= 10


@pytest.mark.parametrize("path", ["/health", "/v1/models", "/openapi.json"])
def test_head_is_get_without_a_body(server: MlmServe, path: str):
    (whole, headers, body), (status, told, nothing) = (
        send(server, Case("good", method, path)) for method in ("GET", "HEAD")
    )
    assert (whole, status, nothing) == (200, 200, b"")
    assert told["Content-Length"] == headers["Content-Length"] == str(len(body))


def test_options_tell_what_there_is(server: MlmServe):
    for path, methods in (("/health", "GET"), ("/v1/completions", "POST")):
        status, headers, body = send(server, Case("good", "OPTIONS", path))
        assert (status, body) == (204, b"") and methods in headers["Allow"]
    assert send(server, Case("good", "OPTIONS", "/nothing"))[0] == 404
