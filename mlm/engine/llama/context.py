"""The KV cache and the computation over it."""

import ctypes
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from llama_cpp import llama_cpp as C

from mlm.engine.computer import Part
from mlm.engine.image import Image
from mlm.engine.llama.candidates import Candidates
from mlm.engine.llama.log import LoadError, LoadLog
from mlm.engine.llama.memory import Memory
from mlm.engine.llama.model import Model, load_model, model_params
from mlm.engine.messages import WorkerConfig

if TYPE_CHECKING:
    from mlm.engine.llama.vision import Eyes

Position = Callable[[int, int], int]  # of a sequence's token that has so many before it

_FLASH_ATTN = {
    "auto": C.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": C.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": C.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}

_TILE = 64  # GGML_FA_TILE_Q of ggml-cpu, which has tiles for these types of caches only
_TILED = ("f16", "f32")

POOLINGS = {
    "auto": C.LLAMA_POOLING_TYPE_UNSPECIFIED,
    "mean": C.LLAMA_POOLING_TYPE_MEAN,
    "cls": C.LLAMA_POOLING_TYPE_CLS,
    "last": C.LLAMA_POOLING_TYPE_LAST,
}


class Context:
    """The KV cache and the computation over it; one sequence per slot."""

    def __init__(
        self, model: Model, config: WorkerConfig, log: LoadLog, eyes: "Eyes | None" = None
    ) -> None:
        self.handle = make_context(model.handle, config, log)
        self.n_ctx = int(C.llama_n_ctx(self.handle))
        # A unified cache lets one sequence take it all; an equal share cannot run out beneath it.
        share = self.n_ctx // config.n_parallel
        self.n_ctx_slot = min(share, int(C.llama_n_ctx_seq(self.handle)))
        self.n_slots = config.n_parallel
        self.n_batch = int(C.llama_n_batch(self.handle))
        self.n_ubatch = int(C.llama_n_ubatch(self.handle))
        is_tiled = config.type_k == config.type_v and config.type_k in _TILED
        self._is_on_gpu = config.n_gpu_layers != 0
        is_tiled &= not self._is_on_gpu and config.flash_attn != "off"
        self.attention_tile = _TILE if is_tiled else 0
        self.memory = Memory(self.handle, model.handle, is_unified=config.kv_unified)
        self.eyes = eyes
        self._batch = Batch(self.n_batch)
        self._logits = ctypes.c_float * model.vocabulary.n_tokens
        self._rows: dict[int, np.ndarray[Any, Any]] = {}  # of logits, by their address
        self._candidates = Candidates(model.vocabulary.n_tokens)

    def decode(self, parts: Sequence[Part]) -> int:
        """Compute ``parts``, in ascending order of their ``seq_id``; return llama.cpp's code.

        0 is success, 1 means no room in the KV cache (nothing was changed), -1 invalid input
        (nothing was changed), less than that a failure with unknown state. A GPU has finished when
        this returns; otherwise reading the first logits would wait for it, and nobody could tell
        how long it took.
        """
        if parts[0].image is not None:
            return self._decode_image(parts[0], parts[0].image)
        code = int(C.llama_decode(self.handle, self._batch.fill(parts, self.memory.position)))
        if self._is_on_gpu:
            C.llama_synchronize(self.handle)
        return code

    def _decode_image(self, part: Part, image: Image) -> int:
        """Compute a part of an image, which is a batch of its own."""
        assert self.eyes is not None
        self.memory.note_image(part.seq_id, part.start, image)
        position = self.memory.position(part.seq_id, part.start)
        C.llama_set_causal_attn(self.handle, image.is_causal)
        code = int(C.llama_decode(self.handle, self.eyes.batch(part, position)))
        C.llama_synchronize(self.handle)
        C.llama_set_causal_attn(self.handle, True)
        return code

    def logits(self, row: int) -> np.ndarray[Any, Any]:
        """Return the logits of the batch's token ``row``, valid until the next decode."""
        address = ctypes.addressof(C.llama_get_logits_ith(self.handle, row).contents)
        logits = self._rows.get(address)
        if logits is None:
            memory: Any = self._logits.from_address(address)
            logits = self._rows[address] = np.frombuffer(memory, np.float32)
        return logits

    def candidates(self, row: int) -> Candidates:
        """Return all tokens with the logits of ``row``, for one choice: the next one refills them.

        llama.cpp would keep such a list for each request, 1.8 MB for a vocabulary of 150,000.

        Raises:
            ModelError: the highest is no number.
        """
        return self._candidates.fill(self.logits(row))


def make_context(model: object, config: WorkerConfig, log: LoadLog) -> Any:
    """Return the handle of a new context.

    Raises:
        LoadError: llama.cpp refuses.
    """
    handle = C.llama_init_from_model(model, _context_params(config))
    if not handle:
        raise LoadError(log.reason)
    return handle


def _context_params(config: WorkerConfig) -> Any:
    """Return what llama.cpp shall make a context with; a worker and a rehearsal use the same."""
    if config.n_batch < config.n_parallel:
        raise LoadError("n_batch must be at least the number of slots")
    params = C.llama_context_default_params()
    params.n_ctx = config.n_ctx
    params.n_batch = config.n_batch
    params.n_ubatch = config.n_ubatch
    params.n_seq_max = config.n_parallel
    # One row of logits per slot and step; the default reserves one per token of a ubatch,
    # which for a vocabulary of 150,000 is 300 MiB instead of 36.
    params.n_outputs_max = config.n_outputs_max or config.n_parallel
    params.n_threads = config.n_threads
    params.n_threads_batch = config.n_threads_batch
    params.flash_attn_type = _FLASH_ATTN[config.flash_attn]
    params.type_k = _cache_type(config.type_k)
    params.type_v = _cache_type(config.type_v)
    params.embeddings = config.embedding
    params.pooling_type = POOLINGS[config.pooling]
    # Inputs of unequal length would otherwise be torn apart, and each part pooled alone.
    params.kv_unified = config.kv_unified or config.embedding
    params.swa_full = config.swa_full
    return params


class Batch:
    """The arrays of a llama_batch, allocated once."""

    def __init__(self, size: int) -> None:
        numbers: Any = ctypes.c_int32 * size
        self._token, self._pos, self._seq_id = numbers(), numbers(), numbers()
        self._output: Any = (ctypes.c_int8 * size)()
        width, at = ctypes.sizeof(ctypes.c_int32), ctypes.POINTER(ctypes.c_int32)
        first = ctypes.addressof(self._seq_id)
        seq_ids = [ctypes.cast(first + i * width, at) for i in range(size)]
        self._batch = C.llama_batch(
            n_tokens=0,
            token=self._token,
            embd=None,
            pos=self._pos,
            n_seq_id=numbers(*[1] * size),
            seq_id=(at * size)(*seq_ids),
            logits=self._output,
        )

    def fill(
        self, parts: Sequence[Part], position: Position | None = None, *, all_outputs: bool = False
    ) -> object:
        """Return the llama_batch of ``parts``; with ``all_outputs`` every token has results.

        ``position`` says where in its sequence a token is; without it, so many are before it.
        """
        tokens: list[int] = []
        positions: list[int] = []
        seq_ids: list[int] = []
        outputs: list[bool] = []
        for part in parts:  # lists first: a slice of an array costs more than a step's few tokens
            n_tokens = len(part.tokens)
            tokens += part.tokens
            start = position(part.seq_id, part.start) if position else part.start
            positions += range(start, start + n_tokens)
            seq_ids += [part.seq_id] * n_tokens
            outputs += [all_outputs] * (n_tokens - 1) + [all_outputs or part.wants_logits]
        n_tokens = len(tokens)
        self._token[:n_tokens] = tokens
        self._pos[:n_tokens] = positions
        self._seq_id[:n_tokens] = seq_ids
        self._output[:n_tokens] = outputs
        self._batch.n_tokens = n_tokens
        return self._batch


def rehearse(path: str, config: WorkerConfig, log: LoadLog) -> None:
    """Let ``log`` hear what buffers a load would take, without taking them; for a process that
    ends then.

    Of the file only the header is read. llama.cpp still takes recurrent state for real.

    Raises:
        LoadError: llama.cpp refuses the model or the context.
    """
    params, _kept_alive = model_params(config)
    params.no_alloc, params.load_mode = True, C.LLAMA_LOAD_MODE_NONE  # mapping asserts here
    model = load_model(path, params, log)
    make_context(model, config, log)


def _cache_type(name: str) -> int:
    """Return ggml's number for a KV cache type: ``f16``, ``q8_0`` …"""
    number = getattr(C, f"GGML_TYPE_{name.upper()}", None)
    if number is None:
        raise LoadError(f"there is no KV cache type '{name}'")
    return int(number)
