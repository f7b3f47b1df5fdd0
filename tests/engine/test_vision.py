"""Models that see: whatever goes on around a picture, the answer is llama.cpp's own."""

import asyncio
import io
import random
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fakes.plain_llama import MARK, PlainLlama
from fakes.real_worker import CONFIG, Answer, ask, events_of, request
from fakes.tiny_models import LETTERS, write_tiny_model
from fakes.tiny_projector import write_tiny_projector
from msgspec.structs import replace
from PIL import Image

from mlm.engine.messages import Failed, Finished, Tokenize
from mlm.engine.process import Worker, WorkerFailed, new_request_id
from mlm.engine.spawn import Launch

N_TOKENS = 8
EXACT = replace(
    CONFIG, n_ctx=4 * 2048, n_ubatch=64, type_k="f32", type_v="f32", flash_attn="off",
    prefix_cache=2**24,
)  # fmt: skip
ONLY_LETTERS = dict.fromkeys(LETTERS.values(), 100.0)
TEXT_OF = {"idefics3": "llama"}  # the kind of model behind a projector
AROUND = {"idefics3": ("<fake_token_around_image>", "<global-img>", "\n\n", "\n")}


@dataclass
class Photo:
    """A picture of noise, as a file and as dots."""

    width: int
    height: int
    seed: int

    @property
    def rgb(self) -> bytes:
        return random.Random(self.seed).randbytes(3 * self.width * self.height)

    @property
    def part(self) -> dict[str, object]:
        file = io.BytesIO()
        Image.frombytes("RGB", (self.width, self.height), self.rgb).save(file, "PNG")
        return {"type": "image", "data": file.getvalue()}


Content = list[str | Photo]
CAT, DOG, WIDE = Photo(60, 60, 1), Photo(60, 60, 2), Photo(200, 100, 3)


def chat(*contents: Content | str) -> list[dict[str, object]]:
    """Return messages: questions with pictures, and answers, in turn."""
    messages: list[dict[str, object]] = []
    for number, content in enumerate(contents):
        if isinstance(content, list):
            parts = [
                piece.part if isinstance(piece, Photo) else {"type": "text", "text": piece}
                for piece in content
            ]
            messages.append({"role": "user", "content": parts})
        else:
            messages.append({"role": ("user", "assistant")[number % 2], "content": content})
    return messages


@dataclass
class Gallery:
    """A worker with a model that sees, and llama.cpp alone to compare it with."""

    files: tuple[Path, Path]
    worker: Worker
    plain: PlainLlama
    runner: asyncio.Runner
    keeps_beginnings: bool  # not with a window: who comes late finds only its end

    def run(self, story: Coroutine[Any, Any, Any]) -> Any:
        return self.runner.run(story)

    async def ask(self, *contents: Content | str, **more: Any) -> Answer:
        fields = {"max_tokens": N_TOKENS, "logit_bias": ONLY_LETTERS, "ignore_eos": True} | more
        return await ask(self.worker, messages=chat(*contents), **fields)

    def expected(self, *contents: Content | str) -> str:
        """Return what llama.cpp alone says."""
        text, photos = "", []
        for number, content in enumerate(contents):
            pieces = content if isinstance(content, list) else [content]
            photos += [piece for piece in pieces if isinstance(piece, Photo)]
            said = "".join(MARK if isinstance(piece, Photo) else piece for piece in pieces)
            text += f"<|im_start|>{('user', 'assistant')[number % 2]}\n{said}<|im_end|>\n"
        pictures = [(photo.width, photo.height, photo.rgb) for photo in photos]
        text += "<|im_start|>assistant"
        answer = self.plain.see(self.files, text, pictures, N_TOKENS, LETTERS.values())
        assert answer.margin > 1e-4, "too close a call: take another picture"
        return answer.text


@pytest.fixture(
    scope="module",
    params=[("gemma3", {}), ("idefics3", {}), ("qwen2vl", {}), ("qwen2vl", {"kv_unified": True})],
    ids=lambda param: "-".join((param[0], *param[1])),
)
def gallery(
    request: pytest.FixtureRequest, plain: PlainLlama, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gallery]:
    kind, changes = request.param
    folder = tmp_path_factory.mktemp(kind)
    mmproj = write_tiny_projector(folder / "mmproj.gguf", kind)
    model = write_tiny_model(
        folder / "model.gguf", TEXT_OF.get(kind, kind), control_tokens=AROUND.get(kind, ())
    )
    with asyncio.Runner() as runner:
        worker = runner.run(Worker.start(model, replace(EXACT, **changes), mmproj=mmproj))
        try:
            runner.run(ask(worker, messages=chat("hello"), max_tokens=1))
            yield Gallery((model, mmproj), worker, plain, runner, kind != "gemma3")
        finally:
            runner.run(worker.stop(grace_s=5))


def test_it_sees_what_llama_cpp_sees(gallery: Gallery):
    chats: list[list[Content]] = [[[CAT, "hello"]], [["hello", WIDE, "world"]], [[CAT, DOG, "you"]]]

    async def story():
        return [await gallery.ask(*contents) for contents in chats]

    answers = gallery.run(story())
    assert [a.text for a in answers] == [gallery.expected(*contents) for contents in chats]
    assert answers[0].text != gallery.run(gallery.ask([DOG, "hello"])).text, "pictures matter"


def test_beside_others_it_sees_the_same(gallery: Gallery):
    chats: list[list[Content]] = [
        [[CAT, "of the world"]],
        [["hello and hello and hello"]],
        [["of", DOG, "and", CAT, "of"]],
        [[WIDE, "is"]],
        [["is", CAT]],
        [["the world is of you and the world"]],
    ]

    async def story():
        return await asyncio.gather(*(gallery.ask(*contents) for contents in chats))

    texts = [answer.text for answer in gallery.run(story())]
    assert texts == [gallery.expected(*contents) for contents in chats]


def test_a_picture_is_read_once_in_a_chat_about_it(gallery: Gallery):
    async def story():
        first = await gallery.ask([DOG, "to the world"])
        return first, await gallery.ask([DOG, "to the world"], first.text, ["and you"])

    first, second = gallery.run(story())
    assert second.text == gallery.expected([DOG, "to the world"], first.text, ["and you"])
    assert second.ending.cached_tokens >= first.ending.prompt_tokens


def test_more_chats_about_pictures_than_slots_all_keep_their_thread(gallery: Gallery):
    shown: list[Content] = [
        [Photo(90, 60, n), "hello and hello of the world"] for n in range(40, 46)
    ]

    async def story():
        first = await asyncio.gather(*(gallery.ask(content) for content in shown))
        chats = [(content, a.text, ["you"]) for content, a in zip(shown, first, strict=True)]
        return chats, await asyncio.gather(*(gallery.ask(*contents) for contents in chats))

    chats, answers = gallery.run(story())
    assert [a.text for a in answers] == [gallery.expected(*contents) for contents in chats]
    if gallery.keeps_beginnings:
        assert min(answer.ending.cached_tokens for answer in answers) > 32


def test_many_who_ask_about_one_picture_share_it(gallery: Gallery):
    shown: Content = ["hello and hello of the world", Photo(90, 60, 5)]
    words = ("the", "and", "you", "is", "of", "to")

    async def story():
        return await asyncio.gather(*(gallery.ask([*shown, word]) for word in words))

    answers = gallery.run(story())
    assert [a.text for a in answers] == [gallery.expected([*shown, word]) for word in words]
    if gallery.keeps_beginnings:
        assert sum(answer.ending.cached_tokens > 32 for answer in answers) == len(words) - 1


def test_another_picture_shares_only_what_comes_before_it(gallery: Gallery):
    one, other = Photo(60, 60, 6), Photo(60, 60, 7)

    async def story():
        return await gallery.ask([one, "hello"]), await gallery.ask([other, "hello"])

    answers = gallery.run(story())
    assert [a.text for a in answers] == [gallery.expected([p, "hello"]) for p in (one, other)]


def test_a_deterministic_answer_about_a_picture_is_the_same_beside_others(gallery: Gallery):
    async def sample() -> Answer:
        return await gallery.ask(
            [WIDE, "hello"], deterministic=True, temperature=2.0, seed=5, logprobs=0
        )

    async def story():
        alone = await sample()
        others = asyncio.gather(*(gallery.ask([Photo(60, 60, n), "to"]) for n in range(20, 24)))
        beside = await sample()
        await others
        return alone, beside

    alone, beside = gallery.run(story())
    if isinstance(alone.ending, Failed):
        assert alone.ending.param == "deterministic"  # with a unified cache
    else:
        assert alone.events[1:-1] == [
            replace(event, request_id=alone.events[0].request_id) for event in beside.events[1:-1]
        ]


def test_what_it_would_cost_is_known_before(gallery: Gallery):
    question = Tokenize(new_request_id(), messages=chat([CAT, "hello"]), spell=True)

    async def story():
        (tokens,) = await gallery.worker.collect(question)
        return tokens, await gallery.ask([CAT, "hello"])

    tokens, answer = gallery.run(story())
    assert len(tokens.tokens) == len(tokens.spellings) == answer.ending.prompt_tokens
    assert -1 in tokens.tokens


def failed(answer: Answer) -> Failed:
    assert isinstance(answer.ending, Failed), answer
    return answer.ending


def test_what_cannot_be_shown_is_refused_and_nobody_else_notices(gallery: Gallery):
    broken = {"type": "image", "data": CAT.part["data"][:500]}
    narrow = Photo(2000, 4, 8).part

    async def story():
        chats = [[{"role": "user", "content": [part]}] for part in (broken, narrow)]
        refused = [failed(await ask(gallery.worker, messages=chat)) for chat in chats]
        return refused, await gallery.ask([CAT, "hello"])

    refused, answer = gallery.run(story())
    assert [ending.code for ending in refused] == ["invalid_request_error"] * 2
    assert "cannot be read" in refused[0].message
    assert "too narrow" in refused[1].message
    assert answer.text == gallery.expected([CAT, "hello"])


def test_pictures_that_fill_the_context_are_refused_with_what_they_need(gallery: Gallery):
    content: Content = [Photo(900, 600, n) for n in range(10)]
    refused = failed(gallery.run(gallery.ask([*content, "the " * 1900])))
    assert refused.code == "context_length_exceeded"
    assert refused.needed > refused.available == 2048


def test_one_who_leaves_while_a_picture_is_encoded_leaves_nothing(gallery: Gallery):
    photo = Photo(700, 700, 9)

    async def story():
        stream = events_of(gallery.worker, request(messages=chat([photo, "hello"])))
        async for _ in stream:
            break
        await stream.aclose()
        return await gallery.ask([photo, "hello"])

    assert gallery.run(story()).text == gallery.expected([photo, "hello"])


@contextmanager
def loading(model: Path, **more: Any) -> Iterator[tuple[Worker, asyncio.Runner]]:
    with asyncio.Runner() as runner:
        worker = runner.run(Worker.start(model, EXACT, **more))
        try:
            yield worker, runner
        finally:
            runner.run(worker.stop(grace_s=5))


def test_a_model_without_a_projector_takes_no_pictures(tiny_model):
    with loading(tiny_model("llama")) as (worker, runner):
        refused = failed(runner.run(ask(worker, messages=chat([CAT, "hello"]))))
    assert refused.message == "this model takes no pictures"


@pytest.mark.parametrize(
    ("kind", "size", "why"),
    [
        ("no projector", None, "Failed to load CLIP model from other.gguf"),
        ("gemma3", 5000, "tensor"),
        ("gemma3", 100, ": the file is cut off"),
    ],
)
def test_what_is_no_sound_projector_is_refused(
    kind: str, size: int | None, why: str, tiny_model, tmp_path: Path
):
    mmproj = tmp_path / "other.gguf"
    if size is None:
        mmproj = write_tiny_model(mmproj)
    else:
        write_tiny_projector(mmproj, kind)
        mmproj.write_bytes(mmproj.read_bytes()[:size])
    pattern = rf"tiny-llama\.gguf cannot be loaded: its projector other\.gguf.*{why}"
    with pytest.raises(WorkerFailed, match=pattern), loading(tiny_model("llama"), mmproj=mmproj):
        raise AssertionError("it is no projector")


def test_a_projector_that_wants_unknown_tokens_is_no_danger(tiny_model, tmp_path: Path):
    mmproj = write_tiny_projector(tmp_path / "mmproj.gguf", "idefics3")
    with loading(tiny_model("llama"), mmproj=mmproj) as (worker, runner):
        refused = failed(runner.run(ask(worker, messages=chat([WIDE, "hello"]))))
    assert "tokens around a picture that this model does not have" in refused.message


def test_a_picture_that_must_enter_in_one_go_needs_room_for_that(tmp_path: Path, tiny_model):
    mmproj = write_tiny_projector(tmp_path / "mmproj.gguf", "gemma3")
    with asyncio.Runner() as runner:
        worker = runner.run(
            Worker.start(tiny_model("gemma3"), replace(EXACT, n_batch=4, n_ubatch=2), mmproj=mmproj)
        )
        try:
            refused = failed(runner.run(ask(worker, messages=chat([CAT, "hello"]))))
        finally:
            runner.run(worker.stop(grace_s=5))
    assert "4 tokens of a picture in one go, and n_ubatch" in refused.message


BLIND_BUILD = """
import os
os.environ["MTMD_CPP_LIB"] = os.devnull  # where llama-cpp-python looks for the library
from mlm.engine.worker import main
main()
"""


def test_a_build_without_vision_still_writes_text(tmp_path: Path, tiny_model):
    mmproj = write_tiny_projector(tmp_path / "mmproj.gguf", "gemma3")
    launch = Launch((sys.executable, "-c", BLIND_BUILD))
    with loading(tiny_model("gemma3"), mmproj=mmproj, launch=launch) as (worker, runner):
        answer = runner.run(ask(worker, "hello", max_tokens=2))
        refused = failed(runner.run(ask(worker, messages=chat([CAT, "hello"]))))
    assert isinstance(answer.ending, Finished)
    assert refused.message == "this build of llama.cpp takes no pictures: mlm engine install"
