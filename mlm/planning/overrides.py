"""What a person may insist on of a runtime config: a module that every command can afford."""

from dataclasses import dataclass
from typing import Literal

FlashAttention = Literal["auto", "on", "off"]
ResponseCachePolicy = Literal["deterministic", "all", "off"]
KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a person insists on, instead of what planning would choose; None leaves the choice."""

    n_ctx_slot: int | None = None  # tokens that one request may use
    n_parallel: int | None = None
    n_threads: int | None = None
    n_batch: int | None = None
    n_ubatch: int | None = None
    type_k: KvType | None = None
    type_v: KvType | None = None
    n_gpu_layers: int | Literal["all"] | None = None
    flash_attn: FlashAttention | None = None
    response_cache: ResponseCachePolicy | None = None
