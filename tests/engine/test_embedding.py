"""A real worker with models that make vectors and scores: what it answers."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from fakes.plain_llama import PlainLlama
from fakes.real_worker import ask, events_of, working
from fakes.tiny_layers import RERANK_TEMPLATE
from fakes.vectors import PIECES, WHOLE, Embedded, distance, embed, unit

from mlm.engine.messages import Accepted, Embed, Failed, Finished, Vectors, WorkerConfig
from mlm.engine.process import Worker, WorkerFailed

TinyModel = Callable[[str], Path]
CONFIGS = {"bert": WHOLE, "nomic-bert": WHOLE, "qwen3-mean": WHOLE, "qwen3-embedding": PIECES}
WORDS = ["the", "system", "and", "you", "is", "of", "to", "hello", "world", "user", "assistant"]
TEXTS = [" ".join(WORDS[: 1 + n % 11]) + " x" * (n % 7) for n in range(40)]
# Of vectors of length 1. ggml looks up what bert makes of a number (GELU) in a table of 16 bits, so
# that a difference in the last bit can become one of 1e-4.
CLOSE = 1e-3


class Started:
    """A worker for the time of a ``with``."""

    def __init__(self, path: Path, config: WorkerConfig, **changes: object) -> None:
        self._path, self._config = path, msgspec.structs.replace(config, **changes)

    async def __aenter__(self) -> Worker:
        self._worker = await Worker.start(self._path, self._config)
        return self._worker

    async def __aexit__(self, *_: object) -> None:
        await self._worker.stop(grace_s=5)


@pytest.mark.parametrize("kind", CONFIGS)
def test_the_vectors_of_many_texts_are_those_of_each_alone(
    kind: str, tiny_model: TinyModel, plain: PlainLlama
):
    async def story() -> Embedded:
        async with Started(tiny_model(kind), CONFIGS[kind]) as worker:
            return await embed(worker, [*TEXTS, "hello " * 400])

    answer = asyncio.run(story())
    assert isinstance(answer.events[0], Accepted) and isinstance(answer.ending, Finished)
    alone = [unit(plain.embed(tiny_model(kind), text)) for text in [*TEXTS, "hello " * 400]]
    found = zip(answer.vectors, alone, strict=True)
    assert max(distance(one, other) for one, other in found) < CLOSE


def nearest(vector: list[float], among: list[list[float]]) -> int:
    return min(range(len(among)), key=lambda index: distance(vector, among[index]))


@pytest.mark.parametrize("kind", CONFIGS)
def test_many_clients_at_once_get_the_vectors_of_their_own_texts(kind: str, tiny_model: TinyModel):
    texts = [f"hello {word} {other}" for word in WORDS for other in WORDS]

    async def story() -> tuple[list[list[float]], list[Embedded]]:
        async with Started(tiny_model(kind), CONFIGS[kind]) as worker:
            alone = [(await embed(worker, [text])).vectors[0] for text in texts]
            slices = [texts[start : start + 1 + start % 9] for start in range(len(texts))]
            return alone, await asyncio.gather(*(embed(worker, each) for each in slices))

    alone, answers = asyncio.run(story())
    for start, answer in enumerate(answers):
        found = [nearest(vector, alone) for vector in answer.vectors]
        assert found == list(range(start, start + len(found)))


def test_two_thousand_inputs_are_one_request(tiny_model: TinyModel):
    async def story() -> Embedded:
        async with Started(tiny_model("bert"), WHOLE) as worker:
            return await embed(worker, [WORDS[n % 11] for n in range(2048)])

    answer = asyncio.run(story())
    assert sorted(answer.rows) == list(range(2048))
    first = answer.vectors[:11]
    assert all(distance(row, first[n % 11]) < CLOSE for n, row in enumerate(answer.vectors))
    frames = sum(isinstance(event, Vectors) for event in answer.events)
    assert 2048 / 32 <= frames < 2048 / 16


def test_tokens_are_taken_as_they_are(tiny_model: TinyModel, plain: PlainLlama):
    tokens = [7, 8, 9, 20, 21]

    async def story() -> Embedded:
        async with Started(tiny_model("qwen3-embedding"), PIECES) as worker:
            return await embed(worker, [tokens, ["hello", *tokens], "hello"])

    bare, mixed, text = asyncio.run(story()).vectors
    expected = unit(plain.embed(tiny_model("qwen3-embedding"), tokens))
    assert distance(bare, expected) < CLOSE
    assert min(distance(mixed, bare), distance(mixed, text)) > 10 * CLOSE


@pytest.mark.parametrize("kind", ["bert", "qwen3-embedding"])
def test_a_vector_that_is_cut_has_length_1_again(kind: str, tiny_model: TinyModel):
    async def story() -> tuple[Embedded, Embedded]:
        async with Started(tiny_model(kind), CONFIGS[kind]) as worker:
            cut = await embed(worker, ["hello"], dimensions=16, min_dimensions=8)
            return cut, await embed(worker, ["hello"])

    cut, whole = asyncio.run(story())
    assert distance(cut.vectors[0], unit(whole.vectors[0][:16])) < CLOSE


@pytest.mark.parametrize(
    ("fields", "code", "says"),
    [
        (
            {"inputs": ["hello", "hello " * 600]},
            "context_length_exceeded",
            "'input[1]' has 602 tok",
        ),
        ({"inputs": ["x" * 400_000]}, "context_length_exceeded", "size of 512 tokens"),
        ({"inputs": []}, "invalid_request_error", "'input' is empty"),
        ({"inputs": [[]]}, "invalid_request_error", "'input' is empty"),
        ({"inputs": [[152]]}, "invalid_request_error", "152 is no token"),
        ({"inputs": [[-1]]}, "invalid_request_error", "-1 is no token"),
        ({"inputs": ["hello"], "query": "hello"}, "invalid_request_error", "use /v1/embeddings"),
        ({"inputs": ["hello"], "dimensions": 16}, "invalid_request_error", "64 only"),
        (
            {"inputs": ["hello"], "dimensions": 7, "min_dimensions": 8},
            "invalid_request_error",
            "from 8 to 64",
        ),
        (
            {"inputs": ["hello"], "dimensions": 65, "min_dimensions": 8},
            "invalid_request_error",
            "from 8 to 64",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_and_others_go_on(
    bert: "Asking", fields: dict[str, object], code: str, says: str
):
    ending = bert(**fields).ending
    assert isinstance(ending, Failed) and ending.code == code and says in ending.message
    assert isinstance(bert(inputs=["hello"]).ending, Finished)


Asking = Callable[..., Embedded]


@pytest.fixture(scope="module")
def bert(tiny_model: TinyModel) -> Iterator[Asking]:
    """What a worker with bert answers; it lives as long as the tests of this file."""
    with asyncio.Runner() as runner:
        started = Started(tiny_model("bert"), WHOLE)
        worker = runner.run(started.__aenter__())
        yield lambda **fields: runner.run(embed(worker, **fields))
        runner.run(started.__aexit__())


def test_what_is_too_long_is_said_in_numbers(bert: Asking):
    ending = bert(inputs=["hello " * 511]).ending
    assert (ending.needed, ending.available, ending.param) == (513, 512, "input")
    assert isinstance(bert(inputs=["hello " * 510]).ending, Finished)


def test_without_words_there_is_still_a_vector(bert: Asking):
    assert len(bert(inputs=[""]).vectors[0]) == 64


def test_a_decoder_makes_nothing_of_nothing(tiny_model: TinyModel):
    async def story() -> Embedded:
        async with Started(tiny_model("qwen3-embedding"), PIECES) as worker:
            return await embed(worker, [[]])

    assert isinstance(asyncio.run(story()).ending, Failed)


def test_an_embedding_model_does_not_write_and_a_writer_does_not_embed(tiny_model: TinyModel):
    async def story() -> tuple[object, object]:
        async with Started(tiny_model("bert"), WHOLE) as worker:
            written = (await ask(worker, "hello")).ending
        async with working(tiny_model("llama")) as worker:
            return written, (await embed(worker, ["hello"])).ending

    for ending, why in zip(asyncio.run(story()), ("not text", "no vectors"), strict=True):
        assert isinstance(ending, Failed) and why in ending.message and ending.param == "model"


def test_a_file_that_does_not_say_how_to_pool_needs_its_config_to(
    tiny_model: TinyModel, plain: PlainLlama
):
    async def story(pooling: str) -> Embedded:
        async with Started(tiny_model("unpooled"), WHOLE, pooling=pooling) as worker:
            return await embed(worker, ["hello world"])

    silent = asyncio.run(story("auto")).ending
    assert isinstance(silent, Failed) and "pooling" in silent.message
    first = asyncio.run(story("cls")).vectors[0]
    assert distance(first, unit(plain.embed(tiny_model("bert"), "hello world"))) < CLOSE
    assert distance(first, asyncio.run(story("mean")).vectors[0]) > 10 * CLOSE


def test_a_config_that_would_tear_whole_inputs_apart_is_refused(tiny_model: TinyModel):
    async def story() -> None:
        async with Started(tiny_model("nomic-bert"), WHOLE, n_ubatch=128):
            pass

    with pytest.raises(WorkerFailed, match="n_ubatch must be n_batch"):
        asyncio.run(story())


@pytest.mark.parametrize("kind", ["bert", "qwen3-embedding"])
def test_who_leaves_takes_nothing_from_others(kind: str, tiny_model: TinyModel):
    async def leave_early(worker: Worker, number: int) -> None:
        asked = events_of(worker, Embed(10_000 + number, [f"hello {word}" for word in WORDS] * 20))
        async for event in asked:
            if isinstance(event, Vectors):
                break
        await asked.aclose()

    async def story() -> list[Embedded]:
        async with Started(tiny_model(kind), CONFIGS[kind]) as worker:
            leavers = [asyncio.create_task(leave_early(worker, n)) for n in range(8)]
            answers = await asyncio.gather(*(embed(worker, TEXTS) for _ in range(3)))
            await asyncio.gather(*leavers)
            answers.append(await embed(worker, TEXTS))
        return answers

    answers = asyncio.run(story())
    for answer in answers:
        assert isinstance(answer.ending, Finished) and len(answer.rows) == len(TEXTS)
        pairs = zip(answer.vectors, answers[-1].vectors, strict=True)
        assert max(distance(one, other) for one, other in pairs) < CLOSE


@pytest.mark.parametrize("kind", ["reranker", "qwen3-reranker"])
def test_scores_are_those_of_each_document_alone(
    kind: str, tiny_model: TinyModel, plain: PlainLlama
):
    config = WHOLE if kind == "reranker" else PIECES
    documents = TEXTS[:20]

    async def story() -> tuple[Embedded, Embedded]:
        async with Started(tiny_model(kind), config) as worker:
            scores = await embed(worker, documents, query="hello you")
            return scores, await embed(worker, ["hello"])

    scores, refused = asyncio.run(story())
    assert isinstance(refused.ending, Failed) and "/v1/rerank" in refused.ending.message
    for document, (score,) in zip(documents, scores.vectors, strict=True):
        shown = show(kind, "hello you", document)
        first, *_ = plain.embed(tiny_model(kind), shown, is_bare=True)
        assert score == pytest.approx(first, abs=1e-3)
    assert len({round(score, 6) for (score,) in scores.vectors}) > 10


def show(kind: str, query: str, document: str) -> str:
    """Return as text what a reranker is shown; its special tokens are spelled out."""
    if kind == "reranker":
        return f"[CLS]{query}[SEP]{document}"
    return RERANK_TEMPLATE.format(query=query, document=document)
