"""llama.cpp behind a few small classes. The only file that imports llama_cpp.

Only the low-level API is used. llama.cpp aborts the whole process on a bad argument, so every
class here checks what could trip it, and the file is imported in worker processes only. A
`Context` and its samplers belong to one thread; a `Vocabulary` may be read by any.
"""

import ctypes
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np
from llama_cpp import llama_cpp as C

from mlm.engine.amx import refused_if_miscompiled
from mlm.engine.ggml import Registry
from mlm.engine.messages import Buffer, BufferKind, WorkerConfig
from mlm.engine.sampling import Stage
from mlm.engine.scheduler import Part

ENGINE = f"llama.cpp (llama-cpp-python {llama_cpp.__version__})"
VERSION = str(llama_cpp.__version__)
LIBRARIES = Path(str(llama_cpp.__file__)).parent / "lib"
_FLASH_ATTN = {
    "auto": C.LLAMA_FLASH_ATTN_TYPE_AUTO,
    "on": C.LLAMA_FLASH_ATTN_TYPE_ENABLED,
    "off": C.LLAMA_FLASH_ATTN_TYPE_DISABLED,
}
_LOAD_MODES = {  # by (use_mmap, use_mlock)
    (False, False): C.LLAMA_LOAD_MODE_NONE,
    (True, False): C.LLAMA_LOAD_MODE_MMAP,
    (False, True): C.LLAMA_LOAD_MODE_MLOCK,
    (True, True): C.LLAMA_LOAD_MODE_MMAP_MLOCK,
}
# llama.cpp's words for what it keeps in a buffer; and the buffers of weights in another layout.
_BUFFERS: dict[str, BufferKind] = {
    "model": "weights", "KV": "kv_cache", "RS": "kv_cache", "compute": "compute",
    "output": "output",
}  # fmt: skip
_REPACKED = ("CPU_REPACK", "AMX")
_TOKEN_DATA = np.dtype([("id", "<i4"), ("logit", "<f4"), ("p", "<f4")])  # llama_token_data
_log_callbacks: list[object] = []  # llama.cpp calls the last one for as long as the process lives
_LEVEL_WARN, _LEVEL_ERROR, _LEVEL_CONT = 3, 4, 5  # enum ggml_log_level


class LoadError(Exception):
    """llama.cpp refused a model or a context; the text is its own last complaint."""


def system_info() -> str:
    """Return what llama.cpp says of its build and this CPU."""
    return str(C.llama_print_system_info().decode("utf-8", "replace"))


def can_offload() -> bool:
    """Return whether the build has a back end for GPUs."""
    return bool(C.llama_supports_gpu_offload())


class LoadLog:
    """What llama.cpp says while it loads: how much memory it took, and why it gave up.

    Warnings and errors also go to stderr, which is the worker's log file.
    """

    _SIZE = re.compile(r"(\S+)\s+(model|KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB")
    _CACHE = re.compile(
        r"(?:llama_kv_cache|llama_memory_recurrent|llama_dsv4_comp_state): "
        r".*(?<!buffer )size\s*=\s*([\d.]+) MiB"
    )

    def __init__(self) -> None:
        self._sizes: dict[tuple[str, BufferKind], int] = {}  # by llama.cpp's name of the place
        self.cache_bytes = 0  # KV cache and recurrent state; also when they are not really made
        self._complaints: deque[str] = deque(maxlen=8)
        self._level = 0
        callback = C.llama_log_callback(self._receive)
        _log_callbacks.append(callback)
        C.llama_log_set(callback, None)

    @property
    def buffers(self) -> list[Buffer]:
        """The memory that was taken so far."""
        return [Buffer(place, kind, size) for (place, kind), size in self._sizes.items()]

    @property
    def reason(self) -> str:
        """The first of the last complaints: later ones only repeat that loading failed."""
        return self._complaints[0] if self._complaints else "llama.cpp gives no reason"

    def _receive(self, level: int, raw: bytes, _: object) -> None:
        text = raw.decode("utf-8", "replace")
        self._level = self._level if level == _LEVEL_CONT else level
        if found := self._SIZE.search(text):
            size = int(float(found[3]) * 1024**2)
            kind = "repack" if found[1] in _REPACKED else _BUFFERS[found[2]]
            self._sizes[found[1], kind] = self._sizes.get((found[1], kind), 0) + size
        elif found := self._CACHE.search(text):
            self.cache_bytes += int(float(found[1]) * 1024**2)
        if self._level in (_LEVEL_WARN, _LEVEL_ERROR):
            sys.stderr.write(text)
            sys.stderr.flush()
        if self._level == _LEVEL_ERROR and text.strip():
            self._complaints.append(text.strip())


class Model:
    """The weights of one file, and its vocabulary."""

    def __init__(
        self, path: str, config: WorkerConfig, on_progress: Callable[[float], None], log: LoadLog
    ) -> None:
        def progress(fraction: float, _: object) -> bool:
            on_progress(fraction)
            return True

        params, self._kept_alive = _model_params(config)
        params.progress_callback = C.llama_progress_callback(progress)
        self.handle = _load_model(path, params, log)
        self.vocabulary = Vocabulary(C.llama_model_get_vocab(self.handle))
        self.n_ctx_train = int(C.llama_model_n_ctx_train(self.handle))
        self.n_params = int(C.llama_model_n_params(self.handle))
        template = C.llama_model_chat_template(self.handle, None)
        self.chat_template = template.decode("utf-8", "replace") if template else None


class _Override(ctypes.Structure):
    """llama_model_tensor_buft_override: where to put the tensors whose names match."""

    _fields_ = [("pattern", ctypes.c_char_p), ("buft", ctypes.c_void_p)]


def _model_params(config: WorkerConfig) -> tuple[Any, object]:
    """Return how llama.cpp shall load a model, and what must live as long as that."""
    params = C.llama_model_default_params()
    params.n_gpu_layers = config.n_gpu_layers
    params.load_mode = _LOAD_MODES[config.use_mmap, config.use_mlock]
    if not config.n_gpu_layers:
        # Otherwise each GPU that is there takes a context, and buffers to multiply large batches.
        params.split_mode, params.main_gpu = C.LLAMA_SPLIT_MODE_NONE, -1
    if not config.n_cpu_moe:
        return params, None
    layers = "|".join(map(str, range(config.n_cpu_moe)))
    pattern = rf"blk\.({layers})\.ffn_(up|down|gate|gate_up)_(ch|)exps"  # as --n-cpu-moe has it
    memory = Registry(LIBRARIES).cpu_buffer_type()
    overrides = (_Override * 2)(_Override(pattern.encode(), memory), _Override(None, None))
    params.tensor_buft_overrides = ctypes.cast(overrides, ctypes.c_void_p)
    return params, overrides


def _load_model(path: str, params: Any, log: LoadLog) -> Any:
    C.llama_backend_init()
    with refused_if_miscompiled(system_info(), LIBRARIES):
        handle = C.llama_model_load_from_file(os.fsencode(path), params)
    if not handle:
        raise LoadError(log.reason)
    if C.llama_model_has_encoder(handle) and C.llama_model_has_decoder(handle):
        raise LoadError("encoder-decoder models are not supported")
    if C.llama_model_is_diffusion(handle):
        raise LoadError("diffusion models are not supported")
    return handle


def rehearse(path: str, config: WorkerConfig, log: LoadLog) -> None:
    """Let ``log`` hear what buffers a load would take, without taking them; for a process that
    ends then.

    Of the file only the header is read. llama.cpp still takes recurrent state for real.

    Raises:
        LoadError: llama.cpp refuses the model or the context.
    """
    params, _kept_alive = _model_params(config)
    params.no_alloc, params.load_mode = True, C.LLAMA_LOAD_MODE_NONE  # mapping asserts here
    model = _load_model(path, params, log)
    if not C.llama_init_from_model(model, _context_params(config)):
        raise LoadError(log.reason)


class Vocabulary:
    """Text to tokens and back."""

    def __init__(self, handle: object) -> None:
        self.handle = handle
        self.n_tokens = int(C.llama_vocab_n_tokens(handle))
        self.adds_bos = bool(C.llama_vocab_get_add_bos(handle))
        self.bos_text = self._special_text(C.llama_vocab_bos(handle))
        self.eos_text = self._special_text(C.llama_vocab_eos(handle))
        tokens = range(self.n_tokens)
        self.end_tokens = frozenset(t for t in tokens if C.llama_vocab_is_eog(handle, t))
        self.suppressed_tokens = self._read_suppressed()
        self._pieces: dict[int, bytes] = {}

    def tokenize(self, text: str, *, add_special: bool = True) -> list[int]:
        """Return the tokens of ``text``; the spelling of a special token becomes that token."""
        raw = text.encode("utf-8")
        room = len(raw) + 8
        for _ in range(2):
            buffer = (C.llama_token * room)()
            count = C.llama_tokenize(self.handle, raw, len(raw), buffer, room, add_special, True)
            if count >= 0:
                return list(buffer[:count])
            room = -count
        raise ValueError("the text cannot be tokenised")

    def spelling(self, token: int) -> bytes:
        """Return the bytes of ``token``, those of a control token included."""
        return self._spell(token, special=True)

    def markers(self, texts: Iterable[str]) -> dict[int, bytes]:
        """Return the spelling of those of ``texts`` that are single tokens, by token."""
        found = ((self.tokenize(text, add_special=False), text) for text in texts)
        return {tokens[0]: text.encode() for tokens, text in found if len(tokens) == 1}

    def piece(self, token: int) -> bytes:
        """Return the bytes that ``token`` adds to the text; control tokens add none."""
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = self._spell(token, special=False)
        return piece

    def longest_piece_bytes(self) -> int:
        """Return the length of the longest token, in bytes."""
        return max(len(C.llama_vocab_get_text(self.handle, t)) for t in range(self.n_tokens))

    def has_token(self, text: str) -> bool:
        """Return whether ``text`` is a single token of this vocabulary."""
        return len(self.tokenize(text, add_special=False)) == 1

    def _spell(self, token: int, *, special: bool) -> bytes:
        room = 64
        for _ in range(2):
            buffer = ctypes.create_string_buffer(room)
            count = C.llama_token_to_piece(self.handle, token, buffer, room, 0, special)
            if count >= 0:
                return buffer.raw[:count]
            room = -count
        return b""

    def _special_text(self, token: int) -> str:
        return "" if token < 0 else self._spell(token, special=True).decode("utf-8", "replace")

    def _read_suppressed(self) -> tuple[int, ...]:
        count = ctypes.c_int32(0)
        tokens = C.llama_vocab_get_suppress_tokens(self.handle, ctypes.byref(count))
        return tuple(tokens[: count.value]) if tokens else ()


class Context:
    """The KV cache and the computation over it; one sequence per slot."""

    def __init__(self, model: Model, config: WorkerConfig, log: LoadLog) -> None:
        params = _context_params(config)
        self.handle = C.llama_init_from_model(model.handle, params)
        if not self.handle:
            raise LoadError(log.reason)
        self.n_ctx = int(C.llama_n_ctx(self.handle))
        # A unified cache lets one sequence take it all; an equal share cannot run out beneath it.
        share = self.n_ctx // config.n_parallel
        self.n_ctx_slot = min(share, int(C.llama_n_ctx_seq(self.handle)))
        self.n_slots = config.n_parallel
        self.generates = not config.embedding
        self.n_batch = int(C.llama_n_batch(self.handle))
        self.n_ubatch = int(C.llama_n_ubatch(self.handle))
        self._n_swa = 0 if config.swa_full else int(C.llama_model_n_swa(model.handle))
        self._memory = C.llama_get_memory(self.handle)
        self._batch = _Batch(self.n_batch)
        self._vocabulary = model.vocabulary

    def decode(self, parts: Sequence[Part]) -> int:
        """Compute ``parts``, in ascending order of their ``seq_id``; return llama.cpp's code.

        0 is success, 1 means no room in the KV cache (nothing was changed), -1 invalid input
        (nothing was changed), less than that a failure with unknown state.
        """
        return int(C.llama_decode(self.handle, self._batch.fill(parts)))

    def forget(self, seq_id: int, keep: int) -> bool:
        """Drop a sequence's positions from ``keep`` on; False when that cannot be done.

        Recurrent state cannot be rolled back, and of a sliding window only the last part exists:
        then the caller starts the sequence again with ``keep=0``, which always works.
        """
        if keep > 0 and self._n_swa:
            oldest = C.llama_memory_seq_pos_min(self._memory, seq_id)
            if oldest > max(0, keep - self._n_swa):
                return False
        return bool(C.llama_memory_seq_rm(self._memory, seq_id, keep if keep > 0 else -1, -1))

    def logits(self, row: int) -> np.ndarray[Any, Any]:
        """Return the logits of the batch's token ``row``, valid until the next decode."""
        pointer = C.llama_get_logits_ith(self.handle, row)
        return np.ctypeslib.as_array(pointer, shape=(self._vocabulary.n_tokens,))


def _context_params(config: WorkerConfig) -> Any:
    """Return what llama.cpp shall make a context with; a worker and a rehearsal use the same."""
    if config.n_batch < config.n_parallel:
        raise LoadError("n_batch must be at least the number of slots")
    params = C.llama_context_default_params()
    params.n_ctx = config.n_ctx
    params.n_batch = config.n_batch
    params.n_ubatch = config.n_batch if config.embedding else config.n_ubatch
    params.n_seq_max = config.n_parallel
    # One row of logits per slot and step; the default reserves one per token of a ubatch,
    # which for a vocabulary of 150,000 is 300 MiB instead of 36.
    params.n_outputs_max = 0 if config.embedding else config.n_parallel
    params.n_threads = config.n_threads
    params.n_threads_batch = config.n_threads_batch
    params.flash_attn_type = _FLASH_ATTN[config.flash_attn]
    params.type_k = _cache_type(config.type_k)
    params.type_v = _cache_type(config.type_v)
    params.embeddings = config.embedding
    params.kv_unified = config.kv_unified
    params.swa_full = config.swa_full
    return params


class _Batch:
    """The arrays of a llama_batch, allocated once."""

    def __init__(self, size: int) -> None:
        self._token = np.zeros(size, np.int32)
        self._pos = np.zeros(size, np.int32)
        self._n_seq_id = np.ones(size, np.int32)
        self._seq_id = np.zeros(size, np.int32)
        addresses = self._seq_id.ctypes.data + 4 * np.arange(size, dtype=np.uintp)
        self._seq_id_addresses = addresses.astype(np.uintp)
        self._output = np.zeros(size, np.int8)
        int32_p, int8_p = ctypes.POINTER(ctypes.c_int32), ctypes.POINTER(ctypes.c_int8)
        self._batch = C.llama_batch(
            n_tokens=0,
            token=self._token.ctypes.data_as(int32_p),
            embd=None,
            pos=self._pos.ctypes.data_as(int32_p),
            n_seq_id=self._n_seq_id.ctypes.data_as(int32_p),
            seq_id=self._seq_id_addresses.ctypes.data_as(ctypes.POINTER(int32_p)),
            logits=self._output.ctypes.data_as(int8_p),
        )

    def fill(self, parts: Sequence[Part]) -> object:
        start = 0
        for part in parts:
            end = start + len(part.tokens)
            self._token[start:end] = part.tokens
            self._pos[start:end] = range(part.start, part.start + len(part.tokens))
            self._seq_id[start:end] = part.seq_id
            self._output[start:end] = 0
            self._output[end - 1] = part.wants_logits
            start = end
        self._batch.n_tokens = start
        return self._batch


class SamplerChain:
    """Samplers in the order of ``stages``; the last one chooses the token."""

    def __init__(self, vocabulary: Vocabulary, stages: Iterable[Stage]) -> None:
        self._handle = C.llama_sampler_chain_init(C.llama_sampler_chain_default_params())
        for stage in stages:
            C.llama_sampler_chain_add(self._handle, _init_sampler(vocabulary, stage))

    def sample(self, context: Context, row: int) -> int:
        """Choose a token from the logits of ``row`` and remember it."""
        return int(C.llama_sampler_sample(self._handle, context.handle, row))

    def choose(self, candidates: "Candidates") -> int:
        """Choose a token from ``candidates`` without remembering it."""
        C.llama_sampler_apply(self._handle, ctypes.byref(candidates.array))
        return int(candidates.array.data[candidates.array.selected].id)

    def accept(self, token: int) -> None:
        """Remember a token, for the samplers that look back."""
        C.llama_sampler_accept(self._handle, token)

    def drop_first(self) -> None:
        """Take the first sampler out of the chain."""
        C.llama_sampler_free(C.llama_sampler_chain_remove(self._handle, 0))

    def close(self) -> None:
        """Free the chain and its samplers."""
        C.llama_sampler_free(self._handle)


class Grammar:
    """A compiled GBNF grammar and how far a text has come in it."""

    def __init__(
        self, vocabulary: Vocabulary | None, text: str, *, root: str = "root", trigger: str = ""
    ) -> None:
        """Without a vocabulary the grammar is only checked; it must not be used then.

        With ``trigger``, a regular expression, the text that the grammar allows begins with what
        matches it; the first tokens to be accepted may hold something before that.

        Raises:
            ValueError: llama.cpp does not accept the grammar.
        """
        if "\0" in text:
            raise ValueError("the grammar holds a NUL, where llama.cpp would stop reading")
        handle = vocabulary.handle if vocabulary else None
        source = text.encode("utf-8")
        if trigger:
            patterns = (ctypes.c_char_p * 1)(trigger.encode("utf-8"))
            self._handle = C.llama_sampler_init_grammar_lazy_patterns(
                handle, source, root.encode(), patterns, 1, None, 0
            )
        else:
            self._handle = C.llama_sampler_init_grammar(handle, source, root.encode())
        if not self._handle:
            raise ValueError("the grammar is not valid GBNF, or has no rule 'root'")

    def mask(self, candidates: "Candidates") -> None:
        """Rule out every candidate that the grammar forbids next."""
        C.llama_sampler_apply(self._handle, ctypes.byref(candidates.array))

    def allows(self, token: int) -> bool:
        """Return whether ``token`` may come next."""
        one = C.llama_token_data(token, 1.0, 0.0)
        array = C.llama_token_data_array(ctypes.pointer(one), 1, -1, False)
        C.llama_sampler_apply(self._handle, ctypes.byref(array))
        return float(one.logit) != -np.inf

    def accept(self, token: int) -> None:
        """Step over ``token``, which must be allowed: llama.cpp aborts otherwise."""
        C.llama_sampler_accept(self._handle, token)

    def close(self) -> None:
        """Free the grammar."""
        C.llama_sampler_free(self._handle)


class Candidates:
    """All tokens with their logits, in the form that samplers work on."""

    def __init__(self, logits: np.ndarray[Any, Any]) -> None:
        self._rows = np.zeros(len(logits), _TOKEN_DATA)
        self._rows["id"] = np.arange(len(logits), dtype=np.int32)
        self._rows["logit"] = logits
        data = self._rows.ctypes.data_as(ctypes.POINTER(C.llama_token_data))
        self.array = C.llama_token_data_array(data, len(logits), -1, False)

    def is_exhausted(self) -> bool:
        """Return whether every candidate has been ruled out."""
        return bool(np.isneginf(self._rows["logit"]).all())


def _cache_type(name: str) -> int:
    """Return ggml's number for a KV cache type: ``f16``, ``q8_0`` …"""
    number = getattr(C, f"GGML_TYPE_{name.upper()}", None)
    if number is None:
        raise LoadError(f"there is no KV cache type '{name}'")
    return int(number)


def _init_sampler(vocabulary: Vocabulary, stage: Stage) -> object:
    """Return one sampler of llama.cpp; ``stage`` is its name there and its arguments."""
    name, arguments = stage
    if name == "logit_bias":
        (biases,) = arguments
        array = (C.llama_logit_bias * len(biases))(*biases)
        return C.llama_sampler_init_logit_bias(vocabulary.n_tokens, len(biases), array)
    if name == "dry":
        *numbers, breakers = arguments
        spelled = (ctypes.c_char_p * len(breakers))(*(text.encode() for text in breakers))
        return C.llama_sampler_init_dry(vocabulary.handle, *numbers, spelled, len(breakers))
    if name in ("penalties", "mirostat"):
        arguments = (vocabulary.n_tokens, *arguments)
    return getattr(C, f"llama_sampler_init_{name}")(*arguments)
