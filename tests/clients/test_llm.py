"""The command `llm`, set up as its manual says for servers that speak OpenAI's API."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.mlm_serve import MlmServe

Llm = Callable[..., subprocess.CompletedProcess[str]]
MODELS = """
- model_id: demo
  model_name: mlm-demo
  api_base: "{url}/v1"
  api_key_name: mlm
  supports_tools: true
  supports_schema: true
- model_id: gone
  model_name: no-such-model
  api_base: "{url}/v1"
  api_key_name: mlm
"""


@pytest.fixture
def llm(tmp_path: Path, server: MlmServe, key: str) -> Llm:
    """Run a command of llm; it knows two models of the server."""
    (tmp_path / "extra-openai-models.yaml").write_text(MODELS.format(url=server.url))
    (tmp_path / "keys.json").write_text(json.dumps({"mlm": key}))

    def run(*words: str, **keys: str) -> subprocess.CompletedProcess[str]:
        if keys:
            (tmp_path / "keys.json").write_text(json.dumps(keys))
        return subprocess.run(
            [sys.executable, "-m", "llm", *words],
            env=os.environ | {"LLM_USER_PATH": str(tmp_path), "LLM_LOAD_PLUGINS": ""},
            capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    return run


def test_it_prints_the_same_streamed_and_not(llm: Llm):
    words = ("-m", "demo", "-o", "temperature", "0", "What is mlm?")
    streamed, whole = llm(*words), llm(*words, "--no-stream")
    assert streamed.returncode == whole.returncode == 0, streamed.stderr
    assert streamed.stdout == whole.stdout and "model" in whole.stdout


def test_it_goes_on_with_a_conversation(llm: Llm):
    assert llm("-m", "demo", "What is mlm?").returncode == 0
    went_on = llm("-c", "Is it free?")
    assert went_on.returncode == 0 and went_on.stdout.strip(), went_on.stderr


def test_a_schema_is_kept_to(llm: Llm):
    answer = llm("-m", "demo", "--schema", "on bool", "-o", "max_tokens", "100", "Is it on?")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout).keys() == {"on"}


def test_tools_may_be_offered(llm: Llm):
    function = "def look_up(word: str) -> str:\n    return 'a thing'"
    answer = llm("-m", "demo", "--functions", function, "-o", "max_tokens", "60", "What is mlm?")
    assert answer.returncode == 0, answer.stderr


def test_its_users_read_why_it_did_not_work(llm: Llm):
    gone = llm("-m", "gone", "What is mlm?")
    assert gone.returncode == 1 and "there is no model 'no-such-model' here" in gone.stderr
    long = llm("-m", "demo", "What is mlm? " * 5000)
    assert long.returncode == 1 and "tokens" in long.stderr
    stranger = llm("-m", "demo", "What is mlm?", mlm="wrong-key")
    assert stranger.returncode == 1 and "API key" in stranger.stderr
