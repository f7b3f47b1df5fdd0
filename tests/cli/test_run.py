"""``mlm run`` asks one question and is a good neighbour in a pipe."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pexpect
import pytest
from fakes.openai_server import OpenAIServer
from fakes.tiny_models import write_tiny_model

from mlm.errors import ExitCode

pytestmark = pytest.mark.usefixtures("warm_home")


@pytest.fixture
def server(openai_server: OpenAIServer, home: Path) -> OpenAIServer:
    openai_server.announce(home)
    return openai_server


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], None]:
    """Put bytes on stdin."""

    def put(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    put(b"")
    return put


def question(server: OpenAIServer) -> str:
    return server.asked[-1].body["messages"][-1]["content"]


def test_the_answer_is_all_that_is_printed(mlm, server, pipe):
    result = mlm("run", "tiny", "Hi")
    assert (result.exit_code, result.stdout, result.stderr) == (ExitCode.OK, "Hello there\n", "")
    assert question(server) == "Hi"


def test_what_is_piped_comes_before_the_question(mlm, server, pipe):
    pipe("+ grüße\n".encode())
    mlm("run", "tiny", "write a commit message")
    assert question(server) == "+ grüße\n\nwrite a commit message"


def test_a_pipe_alone_is_a_question(mlm, server, pipe):
    pipe(b"\xef\xbb\xbfHi\r\n")
    mlm("run", "tiny")
    assert question(server) == "Hi"


def test_options_reach_the_server(mlm, server, pipe):
    words = ("--system", "Be brief.", "--max-tokens", "9", "--temperature", "0", "--seed", "7")
    mlm("run", "tiny", "Hi", *words)
    body = server.asked[-1].body
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (body["max_tokens"], body["temperature"], body["seed"]) == (9, 0, 7)


def test_the_document_tells_the_answer_and_its_cost(mlm, server, pipe):
    document = mlm("run", "tiny", "Hi", "--json").json
    assert document["schema"] == "mlm.run/1"
    assert document["answer"] == "Hello there"
    assert document["finish_reason"] == "stop"
    assert document["usage"] == {"prompt_tokens": 40, "completion_tokens": 2, "cached_tokens": 8}
    assert document["ttft_s"] <= document["e2e_s"]


def test_control_characters_pass_only_when_asked_for_and_only_into_a_pipe(mlm, server, pipe):
    server.says("a\x1b[31mb", "c\x1b[0m")
    assert mlm("run", "tiny", "Hi").stdout == "abc\n"
    assert mlm("run", "tiny", "Hi", "--raw").stdout == "a\x1b[31mbc\x1b[0m"


def test_at_a_terminal_raw_is_not_raw(server):
    server.says("a\x1b]0;pwned\x07b", "c")
    words = ["-m", "mlm", "--quiet", "run", "tiny", "Hi", "--raw"]
    child = pexpect.spawn(sys.executable, words, encoding="utf-8", timeout=30)
    child.expect(pexpect.EOF)
    child.close()
    assert child.before == "abc\r\n"


def test_an_answer_that_was_cut_off_is_told(mlm, server, pipe):
    server.says("Hel", reason="length")
    result = mlm("run", "tiny", "Hi", "--max-tokens", "1")
    assert result.exit_code == ExitCode.OK
    assert "hint: the answer was cut off" in result.stderr


def test_a_prompt_longer_than_the_context_is_a_usage_error(mlm, server, pipe):
    server.n_ctx_bytes = 1000
    pipe(b"x" * 1000)
    result = mlm("run", "tiny")
    assert result.exit_code == ExitCode.USAGE
    assert result.stdout == ""
    assert "needs 999 tokens" in result.stderr
    assert "--ctx" in result.stderr


@pytest.mark.parametrize("words", [("--seed", "9" * 20), ("--max-tokens", "9" * 11)])
def test_a_number_that_no_server_takes_is_refused_at_once(mlm, words):
    result = mlm("run", "qwen3-8b", "Hi", *words)
    assert result.exit_code == ExitCode.USAGE
    assert f"'{words[0]}': {words[1]} is too large a number" in result.stderr


@pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00", b"GGUF\0\0", b"x" * (8 * 1024 * 1024 + 1)])
def test_what_is_not_a_question_is_a_usage_error(mlm, server, pipe, data):
    pipe(data)
    result = mlm("run", "tiny")
    assert result.exit_code == ExitCode.USAGE
    assert not any(asked.body for asked in server.asked)


def test_without_the_engine_it_says_how_to_get_it(mlm, pipe, monkeypatch):
    monkeypatch.setitem(sys.modules, "llama_cpp", None)
    result = mlm("run", "mlm-demo", "Hi")
    assert result.exit_code == ExitCode.ENGINE
    assert "mlm engine install" in result.stderr


def test_a_model_that_is_not_there_is_not_found(mlm, pipe):
    assert mlm("run", "no-such-model", "Hi").exit_code == ExitCode.NOT_FOUND


def test_a_reader_that_leaves_early_ends_it_quietly(server):
    server.says(*("many words " * 2000 for _ in range(50)))
    words = [sys.executable, "-m", "mlm", "run", "tiny", "Hi"]
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.read(4) == b"many"
    process.stdout.close()
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (ExitCode.OK, b"")


def test_an_answer_beyond_the_locale_does_not_break_it(server):
    server.says("日本")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    words = [sys.executable, "-m", "mlm", "run", "tiny", "Hi"]
    done = subprocess.run(
        words, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    assert done.stdout == b"??\n"


def test_the_demo_model_answers_for_real_and_nothing_stays_behind(mlm, pipe, home: Path):
    assert mlm("download", "mlm-demo").exit_code == ExitCode.OK
    result = mlm("run", "mlm-demo", "What is mlm?", "--temperature", "0", "--json")
    assert result.exit_code == ExitCode.OK
    assert "mlm" in result.json["answer"]
    assert result.json["usage"]["completion_tokens"] > 5
    assert list((home / "run").glob("*.json")) == []


def test_a_prompt_beyond_the_demo_models_context_is_refused_for_real(mlm, pipe):
    mlm("download", "mlm-demo")
    pipe(b"What is mlm? " * 2000)
    result = mlm("run", "mlm-demo")
    assert result.exit_code == ExitCode.USAGE
    assert "tokens" in result.stderr


def test_a_model_that_makes_vectors_says_so(mlm, pipe, tmp_path: Path):
    model = write_tiny_model(tmp_path / "tiny.gguf", "bert")
    result = mlm("run", str(model), "--ctx", "256", "Hi")
    assert (result.exit_code, result.stdout) == (ExitCode.USAGE, "")
    assert "embedding model" in result.stderr and "/v1/embeddings" in result.stderr
