"""The library `litellm`, which many programs use to speak to any server.

It runs in a process of its own: importing it takes seconds and warns of much.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from fakes.mlm_serve import MlmServe

STORY = """
import asyncio, json, sys
import litellm

url, key = sys.argv[1:]
question = [{"role": "user", "content": "What is mlm?"}]
there = {"api_base": url + "/v1", "api_key": key, "num_retries": 0}
ask = {"model": "openai/mlm-demo", "messages": question, "temperature": 0, **there}
told = {}

def error_of(**changes):
    try:
        litellm.completion(**{**ask, **changes})
    except Exception as error:
        return [type(error).__name__, str(error)]

whole = litellm.completion(**ask)
told["whole"] = whole.choices[0].message.content
told["tokens"] = whole.usage.total_tokens
chunks = litellm.completion(**ask, stream=True, stream_options={"include_usage": True})
chunks = list(chunks)
told["streamed"] = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)

async def ask_later():
    return (await litellm.acompletion(**ask)).choices[0].message.content

told["later"] = asyncio.run(ask_later())
parameters = {"type": "object", "properties": {"word": {"enum": ["a", "b"]}}, "required": ["word"]}
tool = {"type": "function", "function": {"name": "look_up", "parameters": parameters}}
called = litellm.completion(**ask, tools=[tool], tool_choice="required").choices[0].message
told["called"] = [called.tool_calls[0].function.name, called.tool_calls[0].function.arguments]
wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"const": "foo"}}}
told["json"] = litellm.completion(**ask, response_format=wanted).choices[0].message.content
vectors = litellm.embedding(model="openai/bert", input=["hello", "world"], **there)
told["vectors"] = [len(item["embedding"]) for item in vectors.data]
told["gone"] = error_of(model="openai/no-such-model")
told["long"] = error_of(messages=[{"role": "user", "content": "What is mlm? " * 5000}])
told["stranger"] = error_of(api_key="wrong-key")
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def told(server: MlmServe, key: str) -> dict[str, Any]:
    """What its user is told."""
    run: Callable[..., Any] = subprocess.run
    done = run(
        [sys.executable, "-c", STORY, server.url, key],
        env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
        capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def test_it_gets_the_same_streamed_later_and_at_once(told: dict[str, Any]):
    assert told["whole"] == told["streamed"] == told["later"] != ""
    assert told["tokens"] > 10


def test_tools_schemas_and_vectors_pass_through_it(told: dict[str, Any]):
    name, arguments = told["called"]
    assert name == "look_up" and json.loads(arguments)["word"] in ("a", "b")
    assert json.loads(told["json"]) == "foo"
    assert told["vectors"] == [64, 64]


def test_its_errors_are_those_that_its_users_catch(told: dict[str, Any]):
    assert told["gone"][0] == "NotFoundError" and "no-such-model" in told["gone"][1]
    assert told["long"][0] == "ContextWindowExceededError"
    assert told["stranger"][0] == "AuthenticationError"
