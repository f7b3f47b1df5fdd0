"""OpenAI's own client: what its users see of a server that is not OpenAI's."""

import json
from collections.abc import Iterator
from typing import Any, Literal

import openai
import pytest
from fakes.mlm_serve import MlmServe
from openai import OpenAI
from pydantic import BaseModel

MODEL = "mlm-demo"
QUESTION: Any = [{"role": "user", "content": "What is mlm?"}]
TOOL: Any = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {
            "type": "object",
            "properties": {"word": {"enum": ["model", "cache"]}},
            "required": ["word"],
        },
    },
}


class Light(BaseModel):
    """What an answer is parsed into."""

    on: bool
    room: Literal["kitchen", "hall"]


@pytest.fixture(scope="module")
def client(server: MlmServe, key: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=60) as client:
        client.completions.create(model=MODEL, prompt="x", max_tokens=1)  # its processes are there
        yield client


def chat(client: OpenAI, **params: Any) -> Any:
    return client.chat.completions.create(
        model=MODEL, **{"messages": QUESTION, "temperature": 0, **params}
    )


def test_it_lists_the_models(client: OpenAI):
    assert [model.id for model in client.models.list()] == [MODEL, "bert"]
    assert client.models.retrieve(MODEL).owned_by == "mlm"


def test_it_streams_what_it_gets_whole(client: OpenAI):
    whole = chat(client)
    chunks = list(chat(client, stream=True, stream_options={"include_usage": True}))
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole.choices[0].message.content != ""
    assert chunks[-1].usage.total_tokens == whole.usage.total_tokens


def test_its_helper_for_streams_gathers_the_answer(client: OpenAI):
    with client.chat.completions.stream(model=MODEL, messages=QUESTION, temperature=0) as stream:
        for _ in stream:
            pass
        final = stream.get_final_completion()
    assert final.choices[0].message.content == chat(client).choices[0].message.content


def test_a_tool_is_called_and_its_result_taken(client: OpenAI):
    once: Any = {"tool_choice": "required", "parallel_tool_calls": False}
    (choice,) = chat(client, tools=[TOOL], **once).choices
    (call,) = choice.message.tool_calls
    assert choice.finish_reason == "tool_calls" and call.function.name == "look_up"
    assert json.loads(call.function.arguments)["word"] in ("model", "cache")
    result = {"role": "tool", "tool_call_id": call.id, "content": "a thing"}
    messages = [*QUESTION, choice.message.model_dump(exclude_none=True), result]
    assert chat(client, messages=messages, tools=[TOOL], max_tokens=4).choices[0].message


def test_an_answer_is_parsed_into_what_was_asked_for(client: OpenAI):
    answer = client.chat.completions.parse(
        model=MODEL, messages=QUESTION, response_format=Light, temperature=0
    )
    assert isinstance(answer.choices[0].message.parsed, Light)


def test_vectors_come_as_numbers(client: OpenAI):
    answer = client.embeddings.create(model="bert", input=["hello", "world"])
    assert [len(item.embedding) for item in answer.data] == [64, 64]


def test_a_model_that_is_not_there_is_not_found(client: OpenAI):
    with pytest.raises(openai.NotFoundError, match="mlm-demo") as caught:
        client.chat.completions.create(model="mlm-dem", messages=QUESTION)
    assert caught.value.code == "model_not_found"


def test_too_long_a_prompt_is_a_bad_request_with_its_code(client: OpenAI):
    messages: Any = [{"role": "user", "content": "What is mlm? " * 5000}]
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError) as caught:
            chat(client, messages=messages, stream=stream)
        assert caught.value.code == "context_length_exceeded"


def test_a_wrong_key_is_told_apart_from_everything_else(server: MlmServe):
    with OpenAI(base_url=f"{server.url}/v1", api_key="wrong-key", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError, match="API key"):
            stranger.models.list()
        with pytest.raises(openai.AuthenticationError):
            chat(stranger)
