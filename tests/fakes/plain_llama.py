"""llama.cpp as plainly as it can be used: one sequence, one text at a time, nothing kept.

Whatever the engine does with slots, prefixes and batches, its answers must equal these. Runs as a
process of its own and imports nothing of mlm.
"""

import ctypes
import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

GGML_F32 = 0
MARK = "<__media__>"  # libmtmd's default for where a picture is
Picture = tuple[int, int, bytes]  # width, height, dots of three bytes
LLAMA_POOLING_TYPE_RANK = 4


@dataclass(frozen=True)
class Continuation:
    """How llama.cpp goes on, always with the likeliest token."""

    text: str
    tokens: list[int]
    logprobs: list[float]
    margin: float  # the closest call: logit of a chosen token minus that of the runner-up


class PlainLlama:
    """The process, and questions to it. What was asked before is remembered."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.complete = cache(self._complete)

    def _complete(
        self, model: Path, prompt: str, n_tokens: int, allowed: tuple[int, ...] = ()
    ) -> Continuation:
        """Return the likeliest continuation; with ``allowed``, of these tokens only."""
        return Continuation(**self._ask(model, prompt, n_tokens=n_tokens, allowed=allowed))

    def see(
        self,
        files: tuple[Path, Path],
        prompt: str,
        pictures: Sequence[Picture],
        n_tokens: int,
        allowed: Collection[int],
    ) -> Continuation:
        """Return the likeliest continuation of a text with pictures, each where `MARK` is.

        ``files`` are a model and its projector.
        """
        model, mmproj = map(str, files)
        dots = [(width, height, b64encode(rgb).decode()) for width, height, rgb in pictures]
        asked = {"seen": [mmproj, dots], "n_tokens": n_tokens, "allowed": list(allowed)}
        return Continuation(**self._ask(Path(model), prompt, **asked))

    def score(self, model: Path, prompt: str, tokens: list[int]) -> list[float]:
        """Return the log-probability of each of ``tokens`` after the prompt and those before it."""
        return list(self._ask(model, prompt, forced=tokens)["logprobs"])

    def embed(self, model: Path, text: str | list[int], *, is_bare: bool = False) -> list[float]:
        """Return the vector or the scores of a text, or of tokens, as they come: of any length.

        A bare text has its special tokens spelled out, and gets no others.
        """
        return list(self._ask(model, text, embeds=True, is_bare=is_bare)["vector"])

    def _ask(self, model: Path, prompt: str | list[int], **more: Any) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        question = {"model": str(model), "prompt": prompt, **more}
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"plain llama.cpp has died: {self._process.wait()}"
        return dict(json.loads(line))


@contextmanager
def plain_llama() -> Iterator[PlainLlama]:
    """Run the process until the block ends."""
    process = subprocess.Popen(
        [sys.executable, __file__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"GGML_NO_BACKTRACE": "1"},
    )
    with process:
        yield PlainLlama(process)


class _Model:
    """One file, loaded, with a context for one sequence of 32-bit keys and values."""

    def __init__(self, path: str, embeds: bool = False, n_ctx: int = 4096) -> None:
        from llama_cpp import llama_cpp

        self._api, self.embeds = llama_cpp, embeds
        params = llama_cpp.llama_model_default_params()
        params.n_gpu_layers = 0
        self._handle = llama_cpp.llama_model_load_from_file(os.fsencode(path), params)
        self._vocabulary = llama_cpp.llama_model_get_vocab(self._handle)
        self.n_tokens = llama_cpp.llama_vocab_n_tokens(self._vocabulary)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = settings.n_batch = settings.n_ubatch = n_ctx
        settings.n_seq_max = settings.n_threads = settings.n_threads_batch = 1
        settings.type_k = settings.type_v = GGML_F32
        settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        settings.swa_full = True
        settings.embeddings = embeds
        self._context = llama_cpp.llama_init_from_model(self._handle, settings)

    def logits_after_seeing(
        self, text: str, mmproj: str, pictures: Sequence[tuple[int, int, str]]
    ) -> Any:
        """Compute a text with pictures and return the logits of its last token."""
        import numpy as np
        from llama_cpp import mtmd_cpp

        params = mtmd_cpp.mtmd_context_params_default()
        params.use_gpu, params.n_threads = False, 1
        eyes = mtmd_cpp.mtmd_init_from_file(os.fsencode(mmproj), self._handle, params)
        bitmaps = (ctypes.c_void_p * len(pictures))()
        for number, (width, height, dots) in enumerate(pictures):
            raw = b64decode(dots)
            array = (ctypes.c_uint8 * len(raw)).from_buffer_copy(raw)
            bitmaps[number] = mtmd_cpp.mtmd_bitmap_init(width, height, array)
        raw_text = text.encode()
        given = mtmd_cpp.mtmd_input_text(raw_text, len(raw_text), True, True)
        chunks = mtmd_cpp.mtmd_input_chunks_init()
        code = mtmd_cpp.mtmd_tokenize(eyes, chunks, ctypes.byref(given), bitmaps, len(pictures))
        assert code == 0, code
        end = ctypes.c_int32()
        code = mtmd_cpp.mtmd_helper_eval_chunks(
            eyes, self._context, chunks, 0, 0, 4096, True, ctypes.byref(end)
        )
        assert code == 0, code
        mtmd_cpp.mtmd_input_chunks_free(chunks)
        for bitmap in bitmaps:
            mtmd_cpp.mtmd_bitmap_free(bitmap)
        mtmd_cpp.mtmd_free(eyes)
        pointer = self._api.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(pointer, shape=(self.n_tokens,)).astype(np.float64)

    def tokenize(self, text: str, *, is_bare: bool = False) -> list[int]:
        raw = text.encode()
        room = len(raw) + 8
        buffer = (self._api.llama_token * room)()
        adds = not is_bare
        count = self._api.llama_tokenize(self._vocabulary, raw, len(raw), buffer, room, adds, True)
        return list(buffer[:count])

    def forget(self) -> None:
        if memory := self._api.llama_get_memory(self._context):
            self._api.llama_memory_clear(memory, True)

    def vector_of(self, tokens: list[int]) -> list[float]:
        """Compute ``tokens`` alone and return what is drawn from them."""
        self.forget()
        self._compute(tokens)
        is_rank = self._api.llama_pooling_type(self._context) == LLAMA_POOLING_TYPE_RANK
        size = self._api.llama_model_n_cls_out if is_rank else self._api.llama_model_n_embd_out
        return self._api.llama_get_embeddings_seq(self._context, 0)[: size(self._handle)]

    def logits_after(self, tokens: list[int]) -> Any:
        """Compute ``tokens``, which follow those before, and return the logits of the last."""
        import numpy as np

        self._compute(tokens)
        pointer = self._api.llama_get_logits_ith(self._context, -1)
        return np.ctypeslib.as_array(pointer, shape=(self.n_tokens,)).astype(np.float64)

    def _compute(self, tokens: list[int]) -> None:
        array = (self._api.llama_token * len(tokens))(*tokens)
        batch = self._api.llama_batch_get_one(array, len(tokens))
        assert self._api.llama_decode(self._context, batch) == 0

    def bytes_of(self, token: int) -> bytes:
        buffer = ctypes.create_string_buffer(256)
        count = self._api.llama_token_to_piece(self._vocabulary, token, buffer, 256, 0, False)
        return buffer.raw[: max(count, 0)]


def _answer(
    model: _Model,
    prompt: str,
    n_tokens: int = 0,
    allowed: Collection[int] = (),
    forced: Collection[int] = (),
    seen: tuple[str, list[tuple[int, int, str]]] | None = None,
) -> dict[str, Any]:
    import numpy as np

    model.forget()
    candidates = np.array(sorted(allowed) or range(model.n_tokens))
    tokens: list[int] = []
    logprobs, margin = [], np.inf
    if seen is not None:
        logits = model.logits_after_seeing(prompt, *seen)
    else:
        logits = model.logits_after(model.tokenize(prompt))
    for wanted in forced or [None] * n_tokens:
        ranking = candidates[np.argsort(-logits[candidates])]
        token = int(ranking[0]) if wanted is None else wanted
        margin = min(margin, logits[ranking[0]] - logits[ranking[1]])
        highest = logits.max()
        logprobs.append(logits[token] - highest - np.log(np.exp(logits - highest).sum()))
        tokens.append(token)
        logits = model.logits_after([token])
    text = b"".join(model.bytes_of(token) for token in tokens).decode("utf-8", "replace")
    return {"text": text, "tokens": tokens, "logprobs": logprobs, "margin": float(margin)}


def _serve() -> None:
    load = cache(_Model)
    for line in sys.stdin:
        question = json.loads(line)
        model = load(question.pop("model"), question.pop("embeds", False))
        if model.embeds:
            text = question["prompt"]
            if isinstance(text, str):
                text = model.tokenize(text, is_bare=question["is_bare"])
            answer: dict[str, Any] = {"vector": model.vector_of(text)}
        else:
            answer = _answer(model, **question)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
