"""Copies that ggml's scheduler keeps on accelerators, part of their compute buffers.

The rules are those of ``ggml/src/ggml-backend.cpp`` and ``src/llama-context.cpp`` in the llama.cpp
inside llama-cpp-python 0.3.36; that the sizes are these has not been measured.
"""

from collections.abc import Sequence

from mlm.planning.buffers import mask_bytes
from mlm.planning.placement import Part
from mlm.planning.types import ModelShape, RuntimeConfig

_PIPELINES = ("cuda", "rocm")  # back ends with asynchronous copies and events
_MAX_COPIES = 4  # of every input: GGML_SCHED_MAX_COPIES
_OFFLOADED_BATCH = 32  # tokens from which a multiplication with weights in main memory moves there
_INPUT_BYTES = 32  # per token: its number, position, places in the cache


def copied_bytes(shape: ModelShape, config: RuntimeConfig, parts: Sequence[Part]) -> list[int]:
    """Return what each accelerator of ``parts`` holds; the first part is the CPU's.

    Of the weights in main memory, the first accelerator holds the one it multiplies with just
    now. Where several work on batches one after the other, each holds the inputs of several.
    """
    cpu, *accelerators = parts
    kinds = {part.device.accelerator.kind for part in accelerators if part.device.accelerator}
    tokens = min(config.n_ubatch, config.n_batch)
    each = 0
    is_pipeline = len(accelerators) > 1 and config.n_gpu_layers > shape.n_layer
    if is_pipeline and not config.n_cpu_moe and kinds <= set(_PIPELINES):
        inputs = mask_bytes(shape, config) + tokens * (4 * shape.n_embd + _INPUT_BYTES)
        each = (_MAX_COPIES - 1) * inputs
    sizes = [each] * len(accelerators)
    if sizes and tokens >= _OFFLOADED_BATCH and "metal" not in kinds:
        multiplied = (w for weights, _ in cpu.weights() for w in weights)
        large = (w.n_bytes for w in multiplied if w.role in ("matrix", "experts"))
        sizes[0] += max(large, default=0)
    return sizes
