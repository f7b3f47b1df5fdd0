"""Every request has an id, a line in the log and a place among the recent ones."""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.fake_server import FakeServer, ask, serving
from fakes.mlm_serve import DEMO_MODEL, mlm_serve
from fakes.processes import end_server, wait_until
from fakes.request_stats import request

from mlm.cli import _outlet
from mlm.cli._log_lines import LogFormat, make_handler
from mlm.server.access import AccessLine

RECENT_FIELDS = {
    "at", "request_id", "model", "endpoint", "status", "error", "cache", "prompt_tokens",
    "completion_tokens", "cached_tokens", "ttft_ms", "e2e_ms",
}  # fmt: skip


def latest(server: FakeServer) -> dict[str, Any]:
    """Return the most recent request."""
    return dict(server.stats()["recent"][0])


def test_an_id_that_the_client_gave_comes_back(server: FakeServer):
    body = {"model": "alpha", "prompt": "n=1"}
    for given in ("abc-123", "a", "req_1.2:3+4/5=6@7", "x" * 128):
        reply = server.ask("POST", "/v1/completions", body, {"X-Request-Id": given})
        assert reply.headers.get_all("X-Request-Id") == [given]
        assert latest(server)["request_id"] == given


@pytest.mark.parametrize(
    "given", ["", "x" * 129, "with space", "-dash-first", 'quo"te', "né", "a;b", "{}"]
)
def test_an_id_that_may_not_stand_in_a_log_is_replaced(server: FakeServer, given: str):
    headers = {"X-Request-Id": given.encode("utf-8")}
    reply = server.ask("GET", "/health", headers=headers)  # type: ignore[arg-type]
    (own,) = reply.headers.get_all("X-Request-Id")
    assert re.fullmatch(r"req-[0-9a-f]{24}", own)


def test_of_two_ids_neither_counts(server: FakeServer):
    head = b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n"
    answer = server.raw(head + b"Connection: close\r\n\r\n")
    assert re.search(rb"x-request-id: req-[0-9a-f]{24}\r\n", answer)


def test_every_answer_has_an_id_of_its_own(server: FakeServer):
    replies = [
        server.ask("GET", "/health"),
        server.ask("GET", "/nowhere"),
        server.ask("GET", "/health", headers={"Host": "evil.example"}),
        server.ask("POST", "/v1/completions", b"{"),
        server.chat("n=1"),
        server.chat("n=1", stream=True),
        server.chat("n=1", model="nobody"),
    ]
    assert [reply.status for reply in replies] == [200, 404, 403, 400, 200, 200, 404]
    assert len({reply.headers["X-Request-Id"] for reply in replies}) == len(replies)


def test_a_request_is_among_the_recent_ones_with_what_it_took(server: FakeServer):
    server.chat("n=4 pace=0.002 cached=2 recent")
    found = latest(server)
    assert set(found) >= RECENT_FIELDS
    assert (found["model"], found["endpoint"], found["status"]) == ("alpha", "chat", 200)
    assert (found["error"], found["cache"]) == (None, "bypass")
    tokens = [found[f"{kind}_tokens"] for kind in ("prompt", "completion", "cached")]
    assert tokens == [7, 4, 2]
    assert 0 < found["ttft_ms"] < found["e2e_ms"]


def test_requests_that_came_to_nothing_are_there_too(server: FakeServer):
    server.chat("n=1", model="nobody")
    assert (latest(server)["model"], latest(server)["error"]) == (None, "model_not_found")
    server.ask("POST", "/v1/embeddings", {"model": "alpha", "input": "x"})
    found = latest(server)
    assert (found["endpoint"], found["status"]) == ("embeddings", 400)
    server.chat("fail=engine_error")
    assert (latest(server)["status"], latest(server)["error"]) == (500, "engine_error")
    stream = server.open_stream("n=500 pace=0.01 leaves")
    stream.read_until("t1 ")
    stream.leave()
    wait_until(lambda: latest(server)["error"] == "cancelled")
    assert latest(server)["status"] == 200


def test_fifty_are_shown_the_newest_first(server: FakeServer):
    for i in range(55):
        server.ask("POST", "/v1/completions", {"model": "alpha"}, {"X-Request-Id": f"n{i}"})
    recent = server.stats()["recent"]
    assert [found["request_id"] for found in recent] == [f"n{i}" for i in range(54, 4, -1)]


def test_who_only_watches_leaves_no_trace(server: FakeServer):
    server.chat("n=1 trace")
    before = server.stats()["recent"]
    for path in ("/health", "/ready", "/metrics", "/v1/models"):
        server.ask("GET", path)
    assert server.stats()["recent"] == before


def test_neither_texts_nor_keys_are_told(tmp_path: Path):
    (tmp_path / "keys").write_text("canary-of-a-key\n")
    with serving(tmp_path, {"alpha": {}}, key_file=str(tmp_path / "keys")) as server:
        known = {"Authorization": "Bearer canary-of-a-key"}
        body = {"model": "alpha", "prompt": "text=canary-of-an-answer canary-of-a-prompt"}
        server.ask("POST", "/v1/completions", body, known)
        server.ask("POST", "/v1/completions", body, {"Authorization": "Bearer canary-wrong"})
        document = server.ask("GET", "/admin/stats", headers=known)
        told = document.body + server.ask("GET", "/metrics", headers=known).body
        refused, answered = document.json["recent"][:2]
        assert (refused["status"], refused["error"]) == (401, "invalid_api_key")
        assert answered["tenant"] == "line 1", "a key goes by its name"
        server.stop()
        assert b"canary" not in told
        assert "canary" not in server.log
        assert not any(
            b"canary" in path.read_bytes() for path in (tmp_path / "home").rglob("stats*")
        )


# The lines


def told(log_format: LogFormat, *records: logging.LogRecord) -> list[str]:
    """Return the lines that records become."""
    formatter = make_handler(log_format).formatter
    assert formatter is not None
    return [formatter.format(record) for record in records]


def record(message: object, *arguments: object, exc_info: Any = None) -> logging.LogRecord:
    return logging.LogRecord("mlm.server", logging.INFO, "", 0, message, arguments, exc_info)


def test_a_line_for_people_names_what_matters():
    line = AccessLine(request(status=200, tenant="the team", request_id="req-1"))
    (text,) = told("text", record(line))
    assert text.endswith(
        "INFO chat tiny 200 prompt=10 cached=4 completion=3 queue_ms=0.0 ttft_ms=200.0 "
        'e2e_ms=400.0 cache=miss tenant="the team" id=req-1'
    )
    failed = request(model="", cache="", status=404, error="model_not_found", ok=False,
                     prompt_tokens=0, cached_tokens=0, completion_tokens=0,
                     queue_s=None, ttft_s=None)  # fmt: skip
    (text,) = told("text", record(AccessLine(failed)))
    assert " chat - 404 error=model_not_found e2e_ms=400.0 id=" in text


def test_a_line_for_programs_is_a_document():
    (text,) = told("json", record(AccessLine(request(status=200, request_id="req-1"))))
    document = json.loads(text)
    assert (document["event"], document["level"]) == ("request", "info")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["time"])
    assert set(document) >= RECENT_FIELDS - {"at"} | {"tenant", "queue_ms"}
    (text,) = told("json", record("unloading %s", "tiny"))
    document = json.loads(text)
    assert (document["event"], document["message"]) == ("message", "unloading tiny")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_in_a_line_commands_a_terminal_or_begins_another(log_format: LogFormat):
    nasty = "a\x1b[31mb\nFAKE LINE\r\x9b2J\u202ec\u2028d"
    (text,) = told(log_format, record("model %s", nasty))
    assert len(text.splitlines()) == 1
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2028]", text)
    assert "FAKE LINE" in text
    (text,) = told(log_format, record(AccessLine(request(model=nasty))))
    assert len(text.splitlines()) == 1


def raise_and_log(log_format: LogFormat) -> str:
    try:
        raise ValueError("inner \x1b[31m")
    except ValueError:
        (text,) = told(log_format, record("a bug", exc_info=sys.exc_info()))
        return text


def test_a_bug_is_logged_with_its_traceback():
    assert "\x1b" not in raise_and_log("text")
    assert len(raise_and_log("text").splitlines()) > 3
    assert "ValueError" in json.loads(raise_and_log("json"))["exception"]


def test_a_terminal_that_does_not_take_lines_stops_nobody(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(_outlet, "_MAX_WAITING", 5)
    released, lines = threading.Event(), list[str]()

    def write(stream: str, line: str) -> None:
        released.wait(30)
        lines.append(line.rstrip())

    monkeypatch.setattr(_outlet, "_write", write)
    handler = make_handler("text")
    for i in range(50):
        handler.handle(record("line %d", i))
    released.set()
    handler.close()
    assert lines[0].endswith("line 0")
    assert len(lines) < 10
    assert re.search(r"4\d lines of this log are missing", lines[-1])


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[dict[str, Any]]]:
    """The log of a real server that was asked something, as documents."""
    home = tmp_path_factory.mktemp("log")
    words = ("--threads", "1", "--log-format", "json", str(DEMO_MODEL))
    with mlm_serve(home, *words) as server:
        server.wait_for("loaded")
        port = int(server.url.rsplit(":", 1)[1])
        body = {"model": "mlm-demo", "prompt": "What is mlm?", "max_tokens": 4, "ignore_eos": True}
        ask(port, "POST", "/v1/completions", body)
        ask(port, "POST", "/v1/completions", body | {"model": "nobody\x1b[31m"})
        ask(port, "GET", "/health")
        server.stop()
    yield [json.loads(line) for line in (home / "stderr").read_text().splitlines()]


def test_a_server_writes_a_document_for_each_request(log: list[dict[str, Any]]):
    answered, refused = [line for line in log if line["event"] == "request"]
    assert (answered["model"], answered["status"], answered["completion_tokens"]) == (
        "mlm-demo", 200, 4,
    )  # fmt: skip
    assert answered["level"] == "info"
    assert (refused["model"], refused["status"], refused["error"]) == (None, 404, "model_not_found")


def test_a_log_that_nobody_reads_keeps_no_server_from_answering_and_ending(tmp_path: Path):
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    command = [sys.executable, "-m", "mlm", "--home", str(tmp_path), "serve", "--json"]
    process = subprocess.Popen(
        [*command, "--port", "0"], stdout=subprocess.PIPE, stderr=writing, text=True
    )
    try:
        assert process.stdout is not None
        port = int(json.loads(process.stdout.readline())["url"].rsplit(":", 1)[1])
        for _ in range(3):
            assert ask(port, "POST", "/v1/completions", {"model": "nobody"}).status == 400
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    finally:
        end_server(process)
        os.close(reading)
        os.close(writing)
