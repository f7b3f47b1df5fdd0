"""Asking over real HTTP: answers, errors, headers."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import pytest
from fakes.fake_server import FakeServer
from fakes.processes import wait_until

Diary = Callable[[], list[str]]


def test_a_chat_is_answered_as_openai_does(server: FakeServer):
    reply = server.chat("n=3 cached=2")
    assert reply.status == 200
    document = reply.json
    assert document["id"].startswith("chatcmpl-")
    assert document["object"] == "chat.completion"
    assert document["model"] == "alpha"
    (choice,) = document["choices"]
    assert choice["message"] == {"role": "assistant", "content": "t0 t1 t2 ", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert document["usage"] == {
        "prompt_tokens": 7,
        "completion_tokens": 3,
        "total_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


def test_the_headers_tell_the_truth_about_the_answer(server: FakeServer):
    headers = server.chat("cached=2 prefill=0.05", wibble=1, user="me").headers
    assert headers["X-Mlm-Cache"] == "bypass"
    assert headers["X-Mlm-Engine"] == "fake"
    assert headers["X-Mlm-Cached-Tokens"] == "2"
    assert float(headers["X-Mlm-Ttft-Ms"]) >= 50
    assert float(headers["X-Mlm-Queue-Ms"]) == 0
    assert float(headers["X-Mlm-Load-Ms"]) < 50
    assert len(headers["X-Mlm-Config"]) == 12
    assert headers["X-Mlm-Ignored"] == "wibble, user"
    assert headers["Cache-Control"] == "no-store"


def test_a_completion_is_answered_as_openai_does(server: FakeServer):
    reply = server.ask("POST", "/v1/completions", {"model": "alpha", "prompt": "n=2"})
    document = reply.json
    assert document["object"] == "text_completion"
    assert document["choices"][0]["text"] == "t0 t1 "
    assert document["choices"][0]["finish_reason"] == "stop"


def test_a_chat_streams_role_text_reason_usage_and_truth_in_this_order(server: FakeServer):
    reply = server.chat("n=2", stream=True, stream_options={"include_usage": True})
    assert reply.headers["Content-Type"].startswith("text/event-stream")
    first, *pieces, last, usage = reply.events
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [piece["choices"][0]["delta"]["content"] for piece in pieces] == ["t0 ", "t1 "]
    assert last["choices"][0] == {
        "index": 0,
        "delta": {},
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert usage["choices"] == []
    assert usage["usage"]["completion_tokens"] == 2
    assert usage["mlm"]["engine"] == "fake"
    assert "mlm" not in last
    assert reply.done
    assert {event["object"] for event in reply.events} == {"chat.completion.chunk"}
    assert len({event["id"] for event in reply.events}) == 1


def test_without_include_usage_the_truth_is_in_the_chunk_with_the_reason(server: FakeServer):
    *_, last = server.chat("n=2", stream=True).events
    assert last["choices"][0]["finish_reason"] == "stop"
    assert last["mlm"]["completion_tokens"] == 2
    assert "usage" not in last


def test_a_completion_streams_text(server: FakeServer):
    body = {"model": "alpha", "prompt": "n=2", "stream": True}
    reply = server.ask("POST", "/v1/completions", body)
    assert [event["choices"][0]["text"] for event in reply.events] == ["t0 ", "t1 ", ""]
    assert reply.done


@pytest.mark.parametrize(
    "text", ['"\\\n\t\x00\x7f', "\u2028\u2029", "é😀漢", "</script>", "\x1b[2J"]
)
def test_any_text_survives_the_way_through_both_forms(server: FakeServer, text: str):
    wish = f"text={quote(text)}"
    assert server.chat(wish).text == text
    assert server.chat(wish, stream=True).text == text


def test_the_length_limit_reaches_the_worker(server: FakeServer):
    assert server.chat("n=9", max_tokens=2).text == "t0 t1 "


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("context_length_exceeded", 400),
        ("invalid_request_error", 400),
        ("template_error", 500),
        ("engine_error", 500),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_of_the_worker_has_its_status_even_for_a_stream(
    server: FakeServer, code: str, status: int, stream: bool
):
    reply = server.chat(f"fail={code}", stream=stream)
    assert reply.status == status
    assert reply.error["code"] == code
    assert reply.headers["Content-Type"] == "application/json"


def test_an_unknown_model_is_404_and_names_the_nearest(server: FakeServer):
    reply = server.chat("hi", model="alfa")
    assert reply.status == 404
    assert reply.error["code"] == "model_not_found"
    assert reply.error["param"] == "model"
    assert "alpha" in reply.error["message"]


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "./x.gguf",
        "%2e%2e",
        "a\0b",
        "a\r\nX: y",
        "\u202eabc",
        "x" * 129,
        "x" * 1_000_000,
        "",
        " ",
        "a b",
    ],
    ids=lambda name: repr(name[:12]),
)
def test_a_hostile_model_name_is_just_an_unknown_model(server: FakeServer, name: str):
    reply = server.chat("hi", model=name)
    assert reply.status == 404
    assert len(reply.body) < 1000


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"null", b"[]", b'{"model": NaN}', b"\xff", b'{"a":' * 5000, b"{}" * 2],
    ids=repr,
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_a_malformed_body_is_400_never_422_or_500(server: FakeServer, path: str, body: bytes):
    reply = server.ask("POST", path, body, {"Content-Type": "application/json"})
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"


def test_a_body_over_the_limit_is_413(server: FakeServer):
    reply = server.ask("POST", "/v1/completions", b" " * (8 * 1024**2 + 1))
    assert reply.status == 413


def test_a_chunked_body_over_the_limit_is_413(server: FakeServer):
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
    head += b"Content-Type: application/json\r\nConnection: close\r\n\r\n"
    block = b"%x\r\n%b\r\n" % (1 << 20, b" " * (1 << 20))
    answer = server.raw(head + block * 9 + b"0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/chat/completions", 405),
        ("POST", "/v1/models", 405),
        ("GET", "/admin/clear-cache", 405),
        ("DELETE", "/v1/models/alpha", 405),
        ("GET", "/nowhere", 404),
        ("GET", "/v1/models/", 404),
        ("GET", "//evil.example/v1/models", 404),
        ("GET", "/v1/models/nope", 404),
    ],
)
def test_wrong_paths_and_methods_get_json_errors(
    server: FakeServer, method: str, path: str, status: int
):
    reply = server.ask(method, path)
    assert reply.status == status
    assert reply.error["message"]


def test_the_models_are_the_served_ones_first_then_the_installed_ones(server: FakeServer):
    listed = server.ask("GET", "/v1/models").json
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["alpha", "beta"]
    alpha, beta = listed["data"]
    assert (alpha["object"], alpha["owned_by"], alpha["state"]) == ("model", "mlm", "ready")
    assert alpha["meta"]["n_ctx_slot"] == 1024
    assert beta["state"] == "stopped"


def test_head_is_get_without_a_body(server: FakeServer):
    reply = server.ask("HEAD", "/health")
    assert (reply.status, reply.body) == (200, b"")


def test_health_and_ready_say_so(server: FakeServer):
    assert server.ask("GET", "/health").json == {"status": "ok"}
    assert server.ask("GET", "/ready").json == {"status": "ready"}


def test_stats_count_what_was_asked(server: FakeServer):
    def figures() -> dict[str, int]:
        found = [m for m in server.stats()["models"] if m["model"] == "alpha"]
        return {name: found[0][name] for name in ("requests", "completion_tokens")}

    server.chat("n=4")
    before = figures()
    server.chat("n=4")
    after = figures()
    assert after["requests"] == before["requests"] + 1
    assert after["completion_tokens"] == before["completion_tokens"] + 4
    document = server.stats()
    assert document["schema"] == "mlm.stats/1"
    assert set(document) >= {"since", "models", "response_cache", "system", "resident"}


def test_stats_show_what_the_worker_has_done(server: FakeServer):
    def decoded() -> int:
        return int(server.resident()["work"]["decode_tokens"])

    before = decoded()
    server.chat("n=4 worked")
    wait_until(lambda: decoded() >= before + 4)  # it comes with the next heartbeat
    work = server.resident()["work"]
    assert len(work["steps"]) == len(work["step_bounds_s"]) + 1


def test_many_clients_at_once_all_get_their_own_answer(server: FakeServer):
    def ask(i: int) -> str:
        return server.chat(f"text=answer-{i} pace=0.001", stream=i % 2 == 0).text

    with ThreadPoolExecutor(20) as clients:
        answers = list(clients.map(ask, range(20)))
    assert answers == [f"answer-{i}" for i in range(20)]


def test_two_requests_on_one_connection(server: FakeServer):
    body = json.dumps({"model": "alpha", "prompt": "n=1"}).encode()
    head = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
    head = head % len(body) + b"Content-Type: application/json\r\n"
    answer = server.raw(head + b"\r\n" + body + head + b"Connection: close\r\n\r\n" + body)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.count(b'"text":"t0 "') == 2


@pytest.mark.parametrize(
    "request_line",
    [
        b"GET http://evil.example/v1/models HTTP/1.1\r\nHost: localhost\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n",
        b"GET /v1/models HTTP/1.1\r\n",
        b"GET /v1/models HTTP/1.0\r\n",
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n"
        b"Transfer-Encoding: chunked\r\n",
        b"NONSENSE\r\n",
        b"GET /v1/models HTTP/9.9\r\nHost: localhost\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n",
    ],
)
def test_crooked_http_is_400(server: FakeServer, request_line: bytes):
    answer = server.raw(request_line + b"Connection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")


def test_a_head_without_end_is_cut_off(server: FakeServer):
    answer = server.raw(b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X-A: b\r\n" * 100_000)
    assert answer.startswith(b"HTTP/1.1 431 ") or not answer
