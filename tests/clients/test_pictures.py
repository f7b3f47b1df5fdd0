"""OpenAI's own client shows pictures to a model whose projector lies beside it."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from fakes.mlm_serve import MlmServe, mlm_serve
from fakes.tiny_models import write_tiny_model
from fakes.tiny_projector import write_tiny_projector
from openai import OpenAI
from PIL import Image

from mlm.pictures import to_data_uri


def picture(color: str, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (60, 40), color).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def seeing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlmServe]:
    folder = tmp_path_factory.mktemp("seeing")
    for name in ("seer", "blind"):
        (folder / name).mkdir()
        write_tiny_model(folder / name / f"{name}.gguf", "gemma3")
    write_tiny_projector(folder / "seer" / "mmproj-F16.gguf", "gemma3")
    models = [str(folder / name / f"{name}.gguf") for name in ("seer", "blind")]
    with mlm_serve(folder / "home", *models, "--threads", "1", "--ctx", "512") as server:
        server.wait_for("loaded")
        yield server


@pytest.fixture(scope="module")
def client(seeing: MlmServe) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{seeing.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def show(client: OpenAI, *pictures: bytes, model: str = "seer", **params: Any) -> Any:
    content: list[Any] = [{"type": "text", "text": "What is it?"}]
    content += [{"type": "image_url", "image_url": {"url": to_data_uri(p)}} for p in pictures]
    return client.chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": content}],
        **{"temperature": 0, "max_tokens": 8, "logprobs": True} | params,
    )


def chances(answer: Any) -> list[float]:
    return [token.logprob for token in answer.choices[0].logprobs.content]


def test_the_list_of_models_tells_which_sees(client: OpenAI):
    told = {model.id: model.input_modalities for model in client.models.list()}
    assert told == {"seer": ["text", "image"], "blind": ["text"]}
    assert client.models.retrieve("seer").input_modalities == ["text", "image"]


def test_an_answer_depends_on_what_is_seen(client: OpenAI):
    red, white = (chances(show(client, picture(color))) for color in ("red", "white"))
    again = show(client, picture("red"), extra_headers={"Cache-Control": "no-store"})
    assert chances(again) == pytest.approx(red, abs=1e-3) != white


def test_pictures_are_tokens_of_the_prompt(client: OpenAI):
    shown = [show(client, *[picture("red")] * n) for n in range(3)]
    counts = [answer.usage.prompt_tokens for answer in shown]
    assert counts[0] + 30 < counts[1] < counts[2] - 30


def test_a_streamed_answer_is_the_same(client: OpenAI):
    whole = show(client, picture("blue", "JPEG"))
    chunks = show(client, picture("blue", "JPEG"), stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == whole.choices[0].message.content


def test_a_model_without_a_projector_says_so(client: OpenAI):
    with pytest.raises(openai.BadRequestError, match="'blind' takes no pictures") as refused:
        show(client, picture("red"), model="blind")
    assert refused.value.param == "messages[0].content[1]"


def test_a_broken_picture_is_refused_and_the_next_one_seen(client: OpenAI):
    with pytest.raises(openai.BadRequestError) as refused:
        show(client, picture("red")[:60])
    assert str(refused.value.param).startswith("messages")
    assert show(client, picture("green")).usage.completion_tokens > 0


def test_a_model_of_which_the_config_says_so_leaves_its_projector_out(tmp_path: Path):
    (tmp_path / "seer").mkdir()
    model = write_tiny_model(tmp_path / "seer" / "seer.gguf", "gemma3")
    write_tiny_projector(tmp_path / "seer" / "mmproj-F16.gguf", "gemma3")
    config = tmp_path / "seer.yaml"
    config.write_text(
        "n_ctx: 512\nn_parallel: 1\nn_batch: 512\nn_ubatch: 512\nn_gpu_layers: 0\nn_threads: 1\n"
        "vision: false\n"
    )
    with mlm_serve(tmp_path / "home", str(model), "--config", str(config)) as server:
        server.wait_for("loaded")
        with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            assert client.models.retrieve("seer").input_modalities == ["text"]
            with pytest.raises(openai.BadRequestError, match="takes no pictures"):
                show(client, picture("red"), model="seer")
