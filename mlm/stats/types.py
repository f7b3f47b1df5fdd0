"""What is remembered: of one request, of one load, of one prediction that was put to the test."""

import math
from dataclasses import dataclass
from typing import Literal

Quantity = Literal[
    # Bytes: llama.cpp's own buffers, the worker's resident set at its peak, memory of the GPUs.
    "weights", "repack", "kv_cache", "compute", "output", "rss", "device_memory",
    # Tokens per second of one request alone.
    "decode_tps", "prefill_tps",
]  # fmt: skip
SPEEDS: tuple[Quantity, ...] = ("decode_tps", "prefill_tps")
# Of a buffer: where it is. Of all else: where the layers are; "mixed" is partly on the CPU.
DeviceKind = Literal["cpu", "cuda", "rocm", "metal", "vulkan", "sycl", "mixed"]
Source = Literal["load", "bench", "serve"]


@dataclass(frozen=True, slots=True)
class RequestStats:
    """One finished request. Times are seconds; what did not happen is None."""

    finished_at: float  # Unix time
    model: str  # "" when it did not come as far as a model
    endpoint: str  # "chat", "completions", "embeddings", "rerank"
    ok: bool
    error: str | None  # the error code, None when ok; "cancelled": the client left
    cache: str  # "hit", "miss", "shared", "bypass"; "" without a model
    prompt_tokens: int
    cached_tokens: int  # of the prompt, taken from a KV cache
    completion_tokens: int
    queue_s: float | None
    ttft_s: float | None
    itl_s: tuple[float, ...]  # gaps between tokens; empty for a cache hit
    e2e_s: float
    status: int = 200  # of HTTP; 499: the client left before there was one
    tenant: str = ""  # the name of the key; never the key itself
    request_id: str = ""  # as the client knows it


@dataclass(frozen=True, slots=True)
class LoadStats:
    """One model load, and the memory that was predicted for it."""

    finished_at: float
    model: str
    ok: bool
    load_s: float
    predicted_bytes: int | None
    actual_bytes: int | None


def variant_name(model: str, quant: str | None) -> str:
    """Return a model's id with its quantization: ``qwen3-8b:Q4_K_M``, served as what it may be."""
    ending = f":{quant}"
    if quant is None:
        return model
    return model.removesuffix(ending).removesuffix(ending.lower()) + ending


@dataclass(frozen=True, slots=True)
class Observation:
    """One figure that was predicted, and what came of it on this machine.

    ``predicted`` is the figure before any correction that earlier observations suggested.
    """

    at: float  # Unix time
    machine: str  # fingerprint of the hardware
    engine: str  # "llama.cpp (llama-cpp-python 0.3.36)"
    model: str  # its id: never a path
    architecture: str
    quant: str | None
    device: DeviceKind
    quantity: Quantity
    predicted: float  # bytes or tokens per second, like ``actual``
    actual: float
    n_past: int | None  # of speeds: tokens in the context, on average
    attention_share: float | None  # of speeds: attention's part of the predicted time, 0 to 1
    n_threads: int | None
    source: Source

    @property
    def variant(self) -> str:
        """The model with its quantization: the same by whatever name it was served."""
        return variant_name(self.model, self.quant)

    @property
    def ratio(self) -> float:
        """Actual to predicted: above 1, more came than was predicted."""
        return self.actual / self.predicted

    @property
    def means_something(self) -> bool:
        """Whether both figures are numbers above 0, so that they have a ratio, and the share is
        one."""
        figures = (self.predicted, self.actual)
        is_share = 0 <= (self.attention_share or 0) <= 1
        return is_share and all(math.isfinite(figure) and figure > 0 for figure in figures)
