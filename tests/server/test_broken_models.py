"""A real `mlm serve` on models that cannot answer: it says so, and serves the others."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from fakes.mlm_serve import DEMO_MODEL, MlmServe, mlm_serve
from fakes.spoiled import spoil
from fakes.tiny_models import write_tiny_model

MESSAGES: Any = [{"role": "user", "content": "hello"}]

WORDLESS = {"none": ("llama", "none"), "unnamed": ("llama", None), "empty": ("bert", "wordpiece")}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlmServe]:
    folder = tmp_path_factory.mktemp("broken")
    sound = write_tiny_model(folder / "sound.gguf")
    models = [spoil(sound, folder / "spoiled.gguf", "output_norm.weight"), DEMO_MODEL]
    for name, (kind, tokenizer) in WORDLESS.items():
        models.append(write_tiny_model(folder / f"{name}.gguf", kind, tokenizer=tokenizer))
    limits = ["--threads", "1", "--ctx", "256"]
    with mlm_serve(folder / "home", *map(str, models), *limits) as server:
        server.wait_for("loaded")
        yield server


@pytest.fixture
def client(served: MlmServe) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(
        base_url=f"{served.url}/v1", api_key="none", max_retries=0, timeout=60
    ) as client:
        client.chat.completions.create(model="mlm-demo", messages=MESSAGES, max_tokens=1)
        yield client


def loads(client: openai.OpenAI, model: str) -> int:
    stats = client.get("../admin/stats", cast_to=object)
    (resident,) = (each for each in stats["resident"] if each["model"] == model)  # type: ignore[index]
    return int(resident["loads"])


def test_what_is_no_number_is_an_error_and_no_answer(client: openai.OpenAI):
    for ask in (
        lambda: client.chat.completions.create(model="spoiled", messages=MESSAGES),
        lambda: client.completions.create(model="spoiled", prompt="hello"),
    ):
        with pytest.raises(openai.InternalServerError, match="no numbers") as caught:
            ask()
        assert caught.value.status_code == 500
        assert (caught.value.code, caught.value.type) == ("engine_error", "server_error")
    assert loads(client, "spoiled") == 1  # by the same worker


def test_a_stream_of_no_numbers_does_not_end_as_if_it_were_done(client: openai.OpenAI):
    with pytest.raises(openai.APIError, match="no numbers") as caught:  # as status or as event
        list(client.chat.completions.create(model="spoiled", messages=MESSAGES, stream=True))
    assert (caught.value.code, caught.value.type) == ("engine_error", "server_error")


@pytest.mark.parametrize("model", WORDLESS)
def test_a_model_without_a_vocabulary_is_refused_before_llama_cpp_sees_it(
    client: openai.OpenAI, model: str
):
    with pytest.raises(openai.InternalServerError) as caught:
        if model == "empty":
            client.embeddings.create(model=model, input="hello")
        else:
            client.chat.completions.create(model=model, messages=MESSAGES)
    assert (caught.value.status_code, caught.value.code) == (503, "load_failed")
    assert f"{model}.gguf has no vocabulary" in caught.value.message
    assert "convert it again" in str(caught.value.body)
