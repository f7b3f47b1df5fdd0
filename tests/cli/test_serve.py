"""``mlm serve``, on the demo model and through the package `openai`."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from fakes.mlm_serve import DEMO_MODEL, MlmServe, mlm_serve

from mlm.errors import ExitCode
from mlm.server.registry import Registry

pytestmark = pytest.mark.usefixtures("warm_home")

QUESTION = "What is mlm?"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlmServe]:
    with mlm_serve(tmp_path_factory.mktemp("home")) as server:
        server.wait_for("loaded")
        ask(connected(server), "Hello")  # by then all its processes are there
        yield server


@pytest.fixture(scope="module")
def client(served: MlmServe) -> Iterator[openai.OpenAI]:
    with connected(served) as client:
        yield client


def connected(server: MlmServe) -> openai.OpenAI:
    """Return a client of the official package that does not try again by itself."""
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=60)


def ask(client: openai.OpenAI, question: str = QUESTION, **params: Any) -> Any:
    """Ask the demo model."""
    messages: Any = [{"role": "user", "content": question}]
    return client.chat.completions.create(model="mlm-demo", messages=messages, **params)


def test_the_demo_model_answers_the_official_client(client: openai.OpenAI):
    reply = ask(client, temperature=0)
    assert "model" in reply.choices[0].message.content
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage.completion_tokens > 5
    assert reply.usage.total_tokens == reply.usage.prompt_tokens + reply.usage.completion_tokens


def test_eight_streams_at_once_say_what_eight_single_requests_say(client: openai.OpenAI):
    questions = [
        "What is mlm?",
        "What is a quantization?",
        "What is a GGUF file?",
        "How do I download a model?",
        "How do I start a server?",
        "What is the KV cache?",
        "Hello",
        "Who are you?",
    ]

    def stream(question: str) -> str:
        chunks = ask(client, question, temperature=0, stream=True, extra_headers=FRESH)
        return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)

    alone = [
        ask(client, question, temperature=0, extra_headers=FRESH).choices[0].message.content
        for question in questions
    ]
    with ThreadPoolExecutor(8) as clients:
        together = list(clients.map(stream, questions))
    assert all(len(answer) > 10 for answer in together)
    same = sum(left == right for left, right in zip(alone, together, strict=True))
    assert same >= 6  # batched kernels may differ in the last bits


FRESH = {"Cache-Control": "no-store"}


def test_a_stream_reports_its_usage_at_the_end(client: openai.OpenAI):
    chunks = list(ask(client, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens > 0
    assert chunks[-1].model_extra["mlm"]["engine"].startswith("llama.cpp")


def test_a_completion_goes_on_with_the_prompt(client: openai.OpenAI):
    reply = client.completions.create(
        model="mlm-demo", prompt="mlm is", max_tokens=5, temperature=0
    )
    assert reply.choices[0].finish_reason == "length"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 5


def test_the_model_is_listed_under_the_name_of_its_file(client: openai.OpenAI):
    assert [model.id for model in client.models.list()] == ["mlm-demo"]


def test_the_same_question_again_is_answered_from_the_cache(client: openai.OpenAI):
    raw = client.chat.completions.with_raw_response
    messages: Any = [{"role": "user", "content": "What is a slot?"}]
    replies = [
        raw.create(model="mlm-demo", messages=messages, temperature=0, seed=11) for _ in range(2)
    ]
    assert [reply.headers["X-Mlm-Cache"] for reply in replies] == ["miss", "hit"]
    first, second = (reply.parse().choices[0].message.content for reply in replies)
    assert first == second


def test_a_prompt_longer_than_the_context_is_refused_with_the_numbers(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, "word " * 5000)
    assert caught.value.code == "context_length_exceeded"
    assert any(character.isdigit() for character in caught.value.message)


def test_an_unknown_model_is_refused_with_the_nearest_name(client: openai.OpenAI):
    with pytest.raises(openai.NotFoundError, match="mlm-demo") as caught:
        client.completions.create(model="mlm-dmo", prompt="x")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize("name", [str(DEMO_MODEL), "./mlm-demo.gguf", "~/mlm-demo.gguf"])
def test_a_client_cannot_have_a_path_loaded(client: openai.OpenAI, name: str):
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model=name, prompt="x")


def test_what_is_out_of_range_is_400(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError) as caught:
        ask(client, temperature=9)
    assert caught.value.param == "temperature"


def test_stop_strings_and_length_limits_hold(client: openai.OpenAI):
    full = ask(client, temperature=0).choices[0].message.content
    word = full.split()[2]
    cut = ask(client, temperature=0, stop=[word]).choices[0]
    assert cut.message.content == full[: full.index(word)]
    assert cut.finish_reason == "stop"
    short = ask(client, temperature=0, max_tokens=3)
    assert short.choices[0].finish_reason == "length"
    assert short.usage.completion_tokens == 3


def test_a_killed_worker_is_reported_and_replaced(tmp_path: Path):
    with mlm_serve(tmp_path) as server, connected(server) as client:
        server.wait_for("loaded")
        streams = [ask(client, temperature=1, stream=True, extra_body=ENDLESS) for _ in range(3)]
        for stream in streams:
            next(iter(stream))
        (worker,) = psutil.Process(server.process.pid).children()
        worker.kill()
        for stream in streams:
            with pytest.raises(openai.APIError) as caught:
                list(stream)
            assert caught.value.code == "worker_crashed"
            assert "SIGKILL" in caught.value.message
        assert ask(client).choices[0].message.content
        assert server.stop() == 0


ENDLESS = {"ignore_eos": True}


def test_sigterm_lets_a_stream_finish_and_exits_0(tmp_path: Path):
    with mlm_serve(tmp_path) as server, connected(server) as client:
        server.wait_for("loaded")
        stream = iter(ask(client, stream=True, max_tokens=200, extra_body=ENDLESS))
        next(stream)
        server.process.send_signal(signal.SIGTERM)
        assert list(stream)[-1].choices[0].finish_reason == "length"
        server.process.communicate(timeout=30)
        assert server.process.returncode == 0
        assert Registry(tmp_path / "run").servers() == []


def test_a_saved_config_is_used_and_typed_options_win(mlm, tmp_path: Path):
    home = tmp_path / "home"
    mlm("--home", home, "config", "generate", DEMO_MODEL, "--ctx", "256", "--parallel", "2")
    with mlm_serve(home, str(DEMO_MODEL)) as server, connected(server) as client:
        server.wait_for("loaded")
        (model,) = client.models.list()
        meta = (model.model_extra or {})["meta"]
        assert (meta["n_ctx_slot"], meta["n_parallel"]) == (256, 2)
    with mlm_serve(home, str(DEMO_MODEL), "--ctx", "512") as server, connected(server) as client:
        server.wait_for("loaded")
        (model,) = client.models.list()
        meta = (model.model_extra or {})["meta"]
        assert (meta["n_ctx_slot"], meta["n_parallel"]) == (512, 2)


def test_what_to_try_is_printed(home: Path):
    words = ["--home", str(home), "serve", str(DEMO_MODEL), "--port", "0"]
    with subprocess.Popen(
        [sys.executable, "-m", "mlm", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        shown = [next(server.stdout)]
        while "mlm chat" not in shown[-1]:
            shown.append(next(server.stdout))
        server.send_signal(signal.SIGINT)
        _, told = server.communicate(timeout=60)
    assert server.returncode == ExitCode.OK
    assert shown[0].startswith("Listening at http://127.0.0.1:")
    assert any("curl http://127.0.0.1:" in line for line in shown)
    assert any('"model": "mlm-demo"' in line for line in shown)
    assert "mlm-demo loaded" in told


def test_an_unknown_model_is_not_found(mlm):
    result = mlm("serve", "no-such-model", "--port", "0")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "no-such-model is not in the store" in result.stderr
    assert "hint: mlm list" in result.stderr


def test_an_error_among_json_lines_is_one_line(mlm):
    done = mlm("serve", "mlm-demoo", "--json")
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["error"]["exit_code"] == done.exit_code == ExitCode.NOT_FOUND


def test_what_is_not_a_gguf_is_an_integrity_error(mlm, tmp_path: Path):
    (tmp_path / "page.gguf").write_text("<html>not a model</html>" * 100)
    result = mlm("serve", tmp_path / "page.gguf", "--port", "0")
    assert result.exit_code == ExitCode.INTEGRITY


def test_a_truncated_model_is_an_integrity_error(mlm, tmp_path: Path):
    (tmp_path / "cut.gguf").write_bytes(DEMO_MODEL.read_bytes()[:-5000])
    assert mlm("serve", tmp_path / "cut.gguf").exit_code == ExitCode.INTEGRITY


def test_a_context_that_does_not_fit_is_refused_before_anything_is_loaded(mlm):
    result = mlm("serve", DEMO_MODEL, "--ctx", "500000000", "--parallel", "64")
    assert result.exit_code == ExitCode.DOES_NOT_FIT
    assert " of " in result.stderr


def test_a_port_in_use_is_a_conflict(mlm):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = mlm("serve", "--port", port)
    assert result.exit_code == ExitCode.CONFLICT
    assert f"port {port} is in use by process {os.getpid()}" in result.stderr


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_public_address_needs_keys(mlm, host: str):
    result = mlm("serve", "--host", host)
    assert result.exit_code == ExitCode.USAGE
    assert "--api-key-file" in result.stderr


def test_an_address_that_is_not_ours_is_a_usage_error(mlm, tmp_path: Path):
    (tmp_path / "keys").write_text("a-good-long-key")
    words = ("--host", "192.0.2.1", "--api-key-file", tmp_path / "keys", "--port", "0")
    assert mlm("serve", *words).exit_code == ExitCode.USAGE


@pytest.mark.parametrize(
    "words", [("--ttl", "soon"), ("--max-wait", "0s"), ("--max-wait", "never"), ("--ttl", "-5m")]
)
def test_a_time_that_cannot_be_meant_is_a_usage_error(mlm, words: tuple[str, ...]):
    assert mlm("serve", DEMO_MODEL, *words).exit_code == ExitCode.USAGE


def test_what_is_pinned_is_served(mlm, tmp_path: Path):
    shutil.copy(DEMO_MODEL, tmp_path / "a.gguf")
    pins = ("--pin", tmp_path / "a.gguf", "--pin", DEMO_MODEL)
    result = mlm("serve", *pins, "--max-models", "1", "--port", "0")
    assert result.exit_code == ExitCode.DOES_NOT_FIT
    assert "mlm-demo does not fit into memory beside the other pinned models" in result.stderr


def test_a_config_is_for_one_model(mlm, tmp_path: Path):
    result = mlm("serve", "--config", tmp_path / "x.yaml")
    assert result.exit_code == ExitCode.USAGE


def test_without_the_engine_one_command_is_offered(mlm, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("mlm.engine.extra._MODULES", ("no_such_module",))
    result = mlm("serve", DEMO_MODEL)
    assert result.exit_code == ExitCode.ENGINE
    assert "hint: mlm engine install" in result.stderr
