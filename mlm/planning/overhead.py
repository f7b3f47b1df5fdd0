"""What a loaded model takes besides weights and llama.cpp's buffers: processes and GPU runtimes."""

from mlm.planning.types import ModelShape, RuntimeConfig
from mlm.units import MIB

# Measured on Linux with CPython 3.11 and llama-cpp-python 0.3.36 by scripts/check_memory.py, after
# a prompt that fills a slot and the samplers that take most; vocabularies of 1,000 to 262,144
# tokens, 2 to 80 layers, contexts of 2,048 to 131,072 tokens.
_WORKER_BYTES = 56 * MIB  # Python, numpy and llama.cpp, their libraries included
_SANDBOX_BYTES = 16 * MIB  # the process for chat templates and grammars, what it shares left out
_BYTES_PER_TOKEN = 370  # of the vocabulary: text, score, merge and look-up tables
_CHOICE_BYTES_PER_TOKEN = 180  # the list of all tokens, and what a grammar makes of each
_SLOT_BYTES_PER_TOKEN = 24  # what top_p and DRY keep for a request
_BYTES_PER_LAYER = 64 * 1024  # nodes of the graph
_BYTES_PER_CELL = 64  # who is where in the KV cache
# A CUDA context took 107 MiB on an RTX 4060 Ti and 555 on an RTX PRO 6000, more the more
# multiprocessors a card has (github.com/ggml-org/llama.cpp/pull/23604); cuBLAS comes on top. The
# figures of the others are assumptions: no such device was at hand.
_RUNTIME_BYTES = {
    "cuda": 450 * MIB, "rocm": 400 * MIB, "vulkan": 150 * MIB, "sycl": 300 * MIB, "metal": 64 * MIB,
}  # fmt: skip


def process_bytes(shape: ModelShape, config: RuntimeConfig) -> int:
    """Return what a warm worker and its sandbox take of main memory."""
    grown = _BYTES_PER_TOKEN * shape.n_vocab + _BYTES_PER_LAYER * shape.n_layer
    whole = _WORKER_BYTES + grown + _BYTES_PER_CELL * config.n_ctx
    if shape.embeds:  # nothing is rendered, and nothing chosen
        return whole
    choice = _CHOICE_BYTES_PER_TOKEN + _SLOT_BYTES_PER_TOKEN * config.n_parallel
    return whole + _SANDBOX_BYTES + choice * shape.n_vocab


def runtime_bytes(kind: str) -> int:
    """Return what the runtime of an accelerator takes of its memory."""
    return _RUNTIME_BYTES[kind]
